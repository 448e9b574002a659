"""Raylight on two GPUs: what every rank is told to have run against its profiler, and `auto` against Raylight's default.

    python tools/figures/raylight.py truth --comfyui ~/comfy/ComfyUI --raylight ~/comfy/packs/raylight --mode usp
    python tools/figures/raylight.py speed --comfyui ~/comfy/ComfyUI --raylight ~/comfy/packs/raylight --mode cfg

The model is Wan 2.2 14B with random weights and fewer blocks. `truth` compares attention call by attention call: the order
of the operators that a profiler in each actor saw, with the order of the calls in the report. `speed` has the two in turns.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from pack import load_host
from safetensors.torch import save_file

MODES = {"usp": (2, 1, 1), "cfg": (1, 1, 2), "ring": (1, 2, 1)}
WISHES = ("host", "flash", "efficient", "cudnn", "math", "auto", "rules")
RULES = (("text", "", "1", "efficient"), ("self", "0,2", "", "math"))
WIDE = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40}
NARROW = {"dim": 256, "ffn_dim": 512, "num_heads": 2}
SHORT = (2, 6)  # steps, whose difference is free of what a sampler does once
OPERATORS = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_attention_math": "math",
}
OWN = "raylight.TORCH_"  # Raylight's own ways of calling torch, as they are told where a call is left to them
HOSTS = ("pytorch", "attention_pytorch")
OTHERS = {"fa3": "fa3", "flash_attn_3": "fa3"}  # in the names of other packages' operators


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("truth", "speed"))
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--raylight", type=Path, default=Path.home() / "comfy/packs/raylight")
    parser.add_argument("--mode", choices=MODES, default="usp")
    parser.add_argument("--wishes", default=",".join(WISHES))
    parser.add_argument("--sizes", default="480x832")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cfg", type=float, default=4.0)
    parser.add_argument("--cpu", action="store_true", help="two CPU ranks, to try this script")
    options = parser.parse_args()
    load_host(options.comfyui, options.cpu)
    ranks = Ranks(options)
    print(f"{options.mode}, {options.layers} blocks, ranks: {', '.join(ranks.cards())}", flush=True)
    if options.what == "truth":
        sys.exit(truth(ranks, options.wishes.split(",")))
    for size in options.sizes.split(","):
        speed(ranks, size, options)


class Ranks:
    """Raylight's own nodes with two actors, as its default starts them."""

    def __init__(self, options) -> None:
        sys.path.insert(0, str(options.raylight / "src"))
        if options.cpu:
            sys.path.insert(0, str(Path(__file__).parents[2] / "tests/host/ranks"))
            import cpu_ranks

            cpu_ranks.pretend()
        import folder_paths
        import raylight.nodes as nodes

        if options.cpu:
            own = nodes._RAY_RUNTIME_ENV_LOCAL
            own["env_vars"]["PYTHONPATH"] = ":".join([str(options.comfyui), *sys.path[:2]])
            own["worker_process_setup_hook"] = "cpu_ranks.pretend"
        folder = Path(tempfile.gettempdir(), "wanattn_raylight")
        folder.mkdir(exist_ok=True)
        folder_paths.add_model_folder_path("diffusion_models", str(folder))
        user = Path(tempfile.mkdtemp())
        folder_paths.set_user_directory(str(user))  # `auto` measures anew
        path = checkpoint(folder, options.layers, options.cpu)
        self._nodes = nodes
        degrees, kernel = MODES[options.mode], "TORCH_MATH" if options.cpu else "TORCH_FLASH"
        flags = (False, False, False, False)
        start = nodes.RayInitializer().spawn_actor
        ready = start("local", "w", 2, *degrees, 1, *flags, kernel, True, False, "", 2.0)[0]
        self.actors = nodes.RayUNETLoader().load_ray_unet(ready, path.name, "default")[0]

    def sample(self, actors: dict, latent: tuple[int, ...], steps: int, cfg: float) -> tuple:
        """The latent and the seconds of one sampler call."""
        generator = torch.Generator().manual_seed(0)
        texts = [[[torch.randn(1, 512, 4096, generator=generator), {}]] for _ in range(2)]
        told = ("enable", 1, steps, cfg, "euler", "simple", *texts)
        empty = {"samples": torch.zeros(1, 16, *latent)}
        begun = time.perf_counter()
        sampler = self._nodes.XFuserKSamplerAdvanced().ray_sample
        out, _ = sampler(actors, *told, empty, 0, 10000, "disable")
        return out["samples"], time.perf_counter() - begun

    def ask(self, function, *given) -> list:
        import ray

        return ray.get(
            [
                handle.model_function_runner_get_values.remote(function, *given)
                for handle in self.actors["workers"]
            ]
        )

    def cards(self) -> list[str]:
        return self.ask(_by_value("card"))

    def under(self, wish: str) -> dict:
        """The actors behind Attention Backend (Raylight)."""
        from wanattn.attention.choose.policy import Policy
        from wanattn.attention.choose.rules import Rule
        from wanattn.nodes.raylight.actors import Settings, with_settings

        rules = tuple(Rule.parse(*rule) for rule in RULES) if wish == "rules" else ()
        policy = Policy("flash" if wish == "rules" else wish)
        return with_settings(self.actors, "1", Settings(policy, rules))


def checkpoint(folder: Path, layers: int, small: bool) -> Path:
    """Random weights, once a machine."""
    path = folder / f"wan_{layers}{'_small' if small else ''}.safetensors"
    if path.is_file():
        return path
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    kind = {"num_layers": layers, **(NARROW if small else WIDE)}
    device = "cpu" if small else "cuda"
    build = {"operations": comfy.ops.disable_weight_init, "device": device}
    model = WanModel(**kind, **build, dtype=torch.bfloat16)
    save_file({n: weight(n, w).cpu() for n, w in model.state_dict().items()}, path)
    del model
    torch.cuda.empty_cache()
    return path


def weight(name: str, like: torch.Tensor) -> torch.Tensor:
    # Norms stay near one, so that the signal neither dies nor explodes on its way through.
    centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    return torch.randn_like(like, dtype=torch.float32).mul_(0.02).add_(centre).to(like.dtype)


def truth(ranks: Ranks, wishes: list[str]) -> int:
    """The number of wishes in which a rank was told otherwise than it ran."""
    from wanattn.nodes.raylight.actors import session_of
    from wanattn.nodes.raylight.report import gathered

    wrong = 0
    for wish in wishes:
        actors = ranks.under(wish)
        ranks.sample(actors, (5, 32, 32), 2, 4.0)  # `auto` measures in the first one
        ranks.ask(_by_value("start"))
        ranks.sample(actors, (5, 32, 32), 2, 4.0)
        seen = [named(events) for events in ranks.ask(_by_value("stop"))]
        payload, table = gathered(session_of(actors), "1")
        told = told_of(table)
        right = [same(told[rank], seen[rank]) for rank in range(2)]
        wrong += not all(right)
        for rank, facts in enumerate(payload["devices"]):
            count = {name: seen[rank].count(name) for name in dict.fromkeys(seen[rank])}
            print(f"{wish} | rank {rank} | {facts['mode']} | {len(told[rank])} calls told | "
                  f"profiler {count} | {'same order' if right[rank] else 'DIFFERENT'}", flush=True)  # fmt: skip
            if not right[rank]:
                print(f"  told {told[rank][:12]} seen {seen[rank][:12]}", flush=True)
    return wrong


def same(told: list[str], seen: list[str]) -> bool:
    """Call by call; one that was left to ComfyUI's function is told by its name, and only counted."""
    pairs = zip(told, seen, strict=False)
    alike = all(name == kernel or name in HOSTS for name, kernel in pairs)
    return alike and 0 < len(told) == len(seen)


def told_of(table: str) -> list[list[str]]:
    """What the report says that each rank ran in the newest sampler call, in order."""
    told: list[list[str]] = [[], []]
    for line in csv.DictReader(io.StringIO(table)):
        told[int(line["rank"])].append(line["active"].removeprefix(OWN).lower())
    return told


def named(events: list[str]) -> list[str]:
    """The backends of those operators that are attention."""
    found = []
    for event in events:
        name = OPERATORS.get(event)
        name = name or next((n for part, n in OTHERS.items() if part in event.lower()), None)
        found += [name] if name else []
    return found


def _by_value(what: str):
    """A function that an actor is sent whole: it cannot import this file."""

    def start(model):
        import torch.profiler as profiler

        model.figures = profiler.profile(
            activities=[profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.CUDA]
        )
        model.figures.__enter__()

    def stop(model):
        profile = model.figures
        profile.__exit__(None, None, None)
        del model.figures
        events = [e for e in profile.events() if "CPU" in str(e.device_type)]
        return [e.name for e in sorted(events, key=lambda e: e.time_range.start)]

    def card(model):
        import torch

        return torch.cuda.get_device_name() if model.load_device.type == "cuda" else "cpu"

    return {"start": start, "stop": stop, "card": card}[what]


def speed(ranks: Ranks, size: str, options) -> None:
    """Raylight's default and `auto` in turns; seconds a step are those of the steps between two lengths."""
    from wanattn.attention.wan import Video

    latent = Video.of(size, options.frames).latent
    ways = {"Raylight's default": ranks.actors, "auto": ranks.under("auto")}
    outs = {
        way: ranks.sample(actors, latent, SHORT[0], options.cfg)[0] for way, actors in ways.items()
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.repeat):
        for way, actors in ways.items():
            few, many = (ranks.sample(actors, latent, n, options.cfg)[1] for n in SHORT)
            times[way].append((many - few) / (SHORT[1] - SHORT[0]))
    plain, auto = (statistics.median(times[way]) for way in ways)
    one, two = (outs[way].float() for way in ways)
    apart = float((one - two).norm() / one.norm())
    print(f"{size}x{options.frames} | default {plain:.3f} s a step | auto {auto:.3f} | {plain / auto:.2f}x | "
          f"all: {[[round(t, 3) for t in times[way]] for way in ways]} | apart {apart:.1e}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
