"""WanVideoWrapper as it is, with a tiny model of its own class: loaded by its loader and sampled by its sampler, on the CPU."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import save_file
from wanattn.tests.host import packs, wrapper_counting, wrapper_kernels

NAME = "ComfyUI-WanVideoWrapper"
TINY = {"dim": 288, "ffn_dim": 96, "in_dim": 16, "out_dim": 16, "num_heads": 12, "num_layers": 30}
BLOCKS, CALLS = 30, 60  # the loader knows no smaller model; calls of one forward
STEPS = 2
NEEDED = (
    "ftfy",
    "accelerate",
    "einops",
    "diffusers",
    "peft",
    "sentencepiece",
    "pyloudnorm",
    "gguf",
)
CLONE = "git clone https://github.com/kijai/ComfyUI-WanVideoWrapper"
FILE = "wanattn_tiny.safetensors"


def loaded() -> ModuleType:
    """The pack; skips the test where it is not there, or where what it imports is not."""
    if not (packs.folder() / NAME / "__init__.py").is_file():
        pytest.skip(f"{NAME} is not in {packs.folder().name}, needs {CLONE} there")
    site = str(packs.folder() / ".site")
    with patch.object(sys, "path", [*sys.path, site]):
        missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        needs = f"needs pip install {' '.join(missing)}"
        pytest.skip(
            f"{NAME} imports {', '.join(missing)}, which the host's Python has not: {needs}"
        )
    with wrapper_kernels.standing_in():
        return packs.load(NAME)


def part(pack: ModuleType, name: str) -> ModuleType:
    return sys.modules[f"{pack.__name__}.{name}"]


def loading(pack: ModuleType) -> ModuleType:
    """Where its nodes are: one file in older versions, several in newer ones."""
    found = sys.modules.get(f"{pack.__name__}.nodes_model_loading")
    return found or part(pack, "nodes")


def modern(pack: ModuleType) -> bool:
    return f"{pack.__name__}.nodes_sampler" in sys.modules


def save_tiny(pack: ModuleType, folder: Path, extra: dict | None = None) -> Path:
    kind = part(pack, "wanvideo.modules.model").WanModel
    known = {"model_type": "t2v", "text_len": 512, **TINY, **TINY_NEW, **(extra or {})}
    accepted = inspect.signature(kind.__init__).parameters
    torch.manual_seed(1)
    model = kind(**{name: value for name, value in known.items() if name in accepted})
    weights = {n: _random(n, w) for n, w in model.state_dict().items()}
    path = folder / FILE
    save_file(weights, path)
    return path


def _random(name: str, like: torch.Tensor) -> torch.Tensor:
    shape = list(like.shape)
    if name.endswith(("cross_attn.k.weight", "cross_attn.v.weight")):
        shape[1] = TINY[
            "dim"
        ]  # newer versions build it with another size and take that of the file
    centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    return (torch.randn(shape) * 0.05 + centre).to(torch.bfloat16)


TINY_NEW = {"in_features": TINY["dim"], "out_features": TINY["dim"], "ffn2_dim": TINY["ffn_dim"]}


def load(pack: ModuleType, path: Path, mode: str = "sdpa", **more):
    """A WANVIDEOMODEL, by the pack's own loader."""
    import folder_paths

    module = loading(pack)
    if mode not in modes(pack):
        raise LookupError(mode)
    given = {"model": path.name, "base_precision": "bf16", "load_device": "main_device"}
    given |= {"quantization": "disabled", "attention_mode": mode, **more}
    found = patch.object(folder_paths, "get_full_path_or_raise", lambda kind, name: str(path))
    with found, wrapper_kernels.standing_in():
        return module.WanVideoModelLoader().loadmodel(**given)[0]


def modes(pack: ModuleType) -> list[str]:
    known = getattr(loading(pack), "attention_modes", None)
    return known or ["sdpa", "flash_attn_2", "flash_attn_3", "sageattn"]


def sample(pack: ModuleType, model, steps: int = STEPS, cfg: float = 2.0, prompt="prompt", **more):
    """The latent after sampling, by the pack's own sampler."""
    from comfy_execution.utils import CurrentNodeContext

    nodes = pack.NODE_CLASS_MAPPINGS
    embeds = nodes["WanVideoEmptyEmbeds"]().process(num_frames=5, width=64, height=64)[0]
    embeds = more.pop("image_embeds", embeds)
    given = {"model": model, "image_embeds": embeds, "text_embeds": texts(), "shift": 5.0}
    given |= {"steps": steps, "cfg": cfg, "seed": 3, "scheduler": "euler", "riflex_freq_index": 0}
    with CurrentNodeContext(prompt, "sampler", 0), torch.inference_mode(), _on_the_cpu():
        return nodes["WanVideoSampler"]().process(**given, **more)[0]["samples"]


def with_nodes(workbench):
    """The workbench, which has our nodes for the wrapper too then."""
    from wanattn.nodes.extension import WRAPPER

    workbench.nodes |= {node.GET_SCHEMA().node_id: node for node in WRAPPER}
    return workbench


def watched(nodes, model, at="20"):
    return nodes.run("WanAttnWrapperDiagnostics", at, model=model)[0]


def backed(nodes, model, backend="math", at="10", **more):
    given = {"model": model, "backend": backend, "on_refusal": "next best", **more}
    return nodes.run("WanAttnWrapperBackend", at, **given)[0]


def texts() -> dict[str, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(7)
    positive, negative = (torch.randn(20, 4096, generator=generator) for _ in range(2))
    return {"prompt_embeds": [positive], "negative_prompt_embeds": [negative]}


@contextmanager
def _on_the_cpu() -> Iterator[None]:
    """What the wrapper asks of CUDA without asking whether it is there."""
    import comfy.model_management as mm

    with ExitStack() as stack:
        plain = torch.autocast

        def autocast(device_type="cpu", dtype=None, enabled=True, **more):
            if dtype == torch.float32:
                return _wide(plain)
            return plain("cpu", dtype=torch.bfloat16, enabled=enabled, **more)

        stack.enter_context(patch.object(mm, "get_autocast_device", lambda device: "cpu"))
        stack.enter_context(patch.object(torch, "autocast", autocast))
        stack.enter_context(patch.object(torch.nn.functional, "layer_norm", _normed))
        for name in ("reset_peak_memory_stats", "max_memory_allocated", "max_memory_reserved"):
            stack.enter_context(patch.object(torch.cuda, name, lambda *given: 0))
        yield


PLAIN_NORM = torch.nn.functional.layer_norm


def _normed(x, shape, weight=None, bias=None, eps=1e-5):
    """With parameters of any dtype, as CUDA's autocast has it."""
    same = weight is None or weight.dtype == x.dtype
    weight, bias = (w if same or w is None else w.to(x.dtype) for w in (weight, bias))
    return PLAIN_NORM(x, shape, weight, bias, eps)


@contextmanager
def _wide(autocast) -> Iterator[None]:
    """Autocast to float32, which CUDA has and a CPU has not."""
    plain = torch.nn.functional.linear

    def linear(x, weight, bias=None):
        return plain(x.float(), weight.float(), None if bias is None else bias.float())

    with autocast("cpu", enabled=False), patch.object(torch.nn.functional, "linear", linear):
        yield


class WrapperCounting(wrapper_counting.WrapperCounting):
    """With the prompts of `texts`, and the calls of the stand-ins."""

    def __init__(self, model) -> None:
        super().__init__(model, texts()["prompt_embeds"][0])

    def __enter__(self) -> WrapperCounting:
        super().__enter__()
        wrapper_kernels.TOLD.counting = self
        return self

    def __exit__(self, *error) -> None:
        wrapper_kernels.TOLD.counting = None
        super().__exit__(*error)
