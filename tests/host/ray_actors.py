"""Raylight's own nodes with two actors on CPUs, and what each of them was independently seen to run.

The latter two of INSTALL go in with --no-deps; the pack lies in ~/comfy/packs, or in WANATTN_PACKS.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from .packs import folder
from .server import free_port

PACK = "raylight"
INSTALL = "pip install 'ray>=2.48' xfuser==0.4.5 yunchang"
CLONE = "git clone https://github.com/komikndr/raylight"
NEEDED = ("ray", "xfuser", "yunchang")
PATH = Path(__file__).parent / "ranks"
LATENT = (1, 16, 5, 8, 8)  # 80 tokens
TEXT = (1, 512, 4096)
STEPS = 2
LISTED = ("DPKSamplerAdvanced", "UnifiedParallelSampler")


def skip_without_raylight() -> None:
    if not (folder() / PACK / "src" / "raylight" / "nodes.py").is_file():
        pytest.skip(f"Raylight's pack is not in {folder().name}, needs {CLONE} there")
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        pytest.skip(f"the host's Python has no {', '.join(missing)}, needs {INSTALL}")


class Raylight:
    """Two actors with one model, divided as `degrees` say: Ulysses, ring, CFG and data; three zeros are Raylight's own
    data parallelism, without xDiT. `sampler` is the one of Raylight's nodes that takes such actors."""

    def __init__(
        self, host: Path, checkpoint: Path, degrees: tuple[int, int, int, int], sampler: str
    ) -> None:
        source = str(folder() / PACK / "src")
        sys.path[:0] = [entry for entry in (source, str(PATH)) if entry not in sys.path]
        import cpu_ranks

        self._pretence = cpu_ranks.pretend()
        import folder_paths
        import raylight.nodes as nodes

        folder_paths.add_model_folder_path("diffusion_models", str(checkpoint.parent))
        self.nodes = nodes
        self._sampler = sampler
        self._before = cpu_ranks.settle(host, Path(source))
        os.environ["MASTER_PORT"] = str(free_port())
        flags = (False, False, False, False)
        start = nodes.RayInitializer().spawn_actor
        ready = start("local", "t", 2, *degrees, *flags, "TORCH_MATH", True, False, "", 0.2)[0]
        self.actors = nodes.RayUNETLoader().load_ray_unet(ready, checkpoint.name, "default")[0]

    def sample(self, actors: dict, seed: int = 1) -> tuple[torch.Tensor, dict]:
        """The latents of all ranks that give one, after one another."""
        generator = torch.Generator().manual_seed(seed)
        conds = [[[torch.randn(TEXT, generator=generator), {}]] for _ in range(2)]
        latent = {"samples": torch.zeros(LATENT)}
        noise = list(range(seed, seed + 8)) if self._sampler in LISTED else seed
        given = (actors, "enable", STEPS, 4.0, "euler", "simple", *conds, latent, 0, 10000)
        names = ("ray_actors", "add_noise", "steps", "cfg", "sampler_name", "scheduler")
        names += ("positive", "negative", "latent_image", "start_at_step", "end_at_step")
        named = dict(zip(names, given, strict=True))
        named |= {"return_with_leftover_noise": "disable", "denoise": 1.0}
        if self._sampler in LISTED:  # such a node takes lists, as the host gives them
            named = {name: [value] for name, value in named.items()} | {"noise_list": noise}
        else:
            named["noise_seed"] = noise
        out, after = self.nodes.NODE_CLASS_MAPPINGS[self._sampler]().ray_sample(**named)
        outs = out if isinstance(out, list) else [out]
        return torch.cat([each["samples"] for each in outs]), after

    def ask(self, function, *given) -> list:
        """What a function of a model gives in each actor."""
        import ray

        handles = self.actors["workers"]
        return ray.get(
            [h.model_function_runner_get_values.remote(function, *given) for h in handles]
        )

    def count(self) -> None:
        import traced

        self.ask(traced.start)

    def counts(self) -> list[Counter]:
        """Calls since `count` by role, block, step and kernel, for each rank, as a CSV file has them."""
        import traced

        return [Counter(map(placed, calls)) for calls in self.ask(traced.stop)]

    def left_over(self) -> list[list[str]]:
        """What of the pack each actor's model has on it."""

        def known(model):
            keys = [*model.attachments, *model.model_options.get("transformer_options", {})]
            keys += [key for kind in model.wrappers.values() for key, put in kind.items() if put]
            return [key for key in keys if "wanattn" in str(key) or "override" in str(key)]

        return self.ask(known)

    def close(self) -> None:
        import ray

        ray.shutdown()
        self.nodes._RAY_RUNTIME_ENV_LOCAL.clear()
        self.nodes._RAY_RUNTIME_ENV_LOCAL.update(self._before)
        self._pretence.close()


def placed(call: tuple[str, int, str]) -> tuple[str, str, str, str]:
    module, step, kernel = call
    _, block, attention, *_ = module.split(".")
    return "self" if attention == "self_attn" else "text", block, str(step), kernel
