"""Raylight's own nodes with two actors on CPUs, and what each of them was independently seen to run.

pip install "ray>=2.48" "xfuser==0.4.5" yunchang    (with --no-deps for the latter two, in the host's Python)
git clone https://github.com/komikndr/raylight ~/comfy/packs/raylight
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from .packs import folder
from .server import free_port

PACK = "raylight"
NEEDED = ("ray", "xfuser", "yunchang")
PATH = Path(__file__).parent / "ranks"
TESTED = Path(__file__).resolve().parents[2]
LATENT = (1, 16, 5, 8, 8)  # 80 tokens
TEXT = (1, 512, 4096)
STEPS = 2


def skip_without_raylight() -> None:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed in the host's Python; see ray_actors.py")
    if not (folder() / PACK / "src" / "raylight" / "nodes.py").is_file():
        pytest.skip(f"raylight is not in {folder().name}; see ray_actors.py")


class Raylight:
    """Two actors with one model, divided as `degrees` say: Ulysses, ring and CFG."""

    def __init__(self, host: Path, checkpoint: Path, ulysses: int, ring: int, cfg: int) -> None:
        source = str(folder() / PACK / "src")
        sys.path[:0] = [entry for entry in (source, str(PATH)) if entry not in sys.path]
        import cpu_ranks

        self._pretence = cpu_ranks.pretend()
        import folder_paths
        import raylight.nodes as nodes

        folder_paths.add_model_folder_path("diffusion_models", str(checkpoint.parent))
        self.nodes = nodes
        path = os.pathsep.join([str(host), source, str(PATH)])
        own = {
            "env_vars": {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            "worker_process_setup_hook": "cpu_ranks.pretend",
        }
        self._before = dict(nodes._RAY_RUNTIME_ENV_LOCAL)
        nodes._RAY_RUNTIME_ENV_LOCAL.update(own)
        # Raylight empties its folder when it starts: another's in use would be lost.
        os.environ["RAYLIGHT_RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray")
        os.environ["MASTER_PORT"] = str(free_port())
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  beside other work, nice workers starve
        os.environ["RAY_OVERRIDE_RESOURCES"] = '{"GPU": 2, "CPU": 4}'
        degrees = (ulysses, ring, cfg, 1)
        flags = (False, False, False, False)
        start = nodes.RayInitializer().spawn_actor
        ready = start("local", "t", 2, *degrees, *flags, "TORCH_MATH", True, False, "", 0.2)[0]
        self.actors = nodes.RayUNETLoader().load_ray_unet(ready, checkpoint.name, "default")[0]

    def sample(self, actors: dict, seed: int = 1) -> tuple[torch.Tensor, dict]:
        generator = torch.Generator().manual_seed(seed)
        conds = [[[torch.randn(TEXT, generator=generator), {}]] for _ in range(2)]
        latent = {"samples": torch.zeros(LATENT)}
        told = ("enable", seed, STEPS, 4.0, "euler", "simple")
        sampler = self.nodes.XFuserKSamplerAdvanced().ray_sample
        out, after = sampler(actors, *told, *conds, latent, 0, 10000, "disable")
        return out["samples"], after

    def ask(self, function, *given) -> list:
        """What a function of a model gives in each actor."""
        import ray

        handles = self.actors["workers"]
        return ray.get(
            [h.model_function_runner_get_values.remote(function, *given) for h in handles]
        )

    def count(self) -> None:
        self.ask(counted_by_value(str(TESTED)))

    def counts(self) -> list[Counter]:
        """Calls since `count` by role, block, step and kernel, for each rank, as a CSV file has them."""
        return [
            Counter(_placed(*call) for call in calls)
            for calls in self.ask(lambda model: model.counting_stopped())
        ]

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


def _placed(module: str, step: int, kernel: str) -> tuple[str, str, str, str]:
    _, block, attention, *_ = module.split(".")
    return "self" if attention == "self_attn" else "text", block, str(step), kernel


def counted_by_value(root: str):
    """Travels to the actors, which know nothing of the tests."""

    def count(model):
        import sys
        from importlib import util

        name = "independent_counting"
        if name not in sys.modules:
            spec = util.spec_from_file_location(name, f"{root}/tests/host/counting.py")
            sys.modules[name] = util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        counting = sys.modules[name].Counting(model)
        counting.__enter__()

        def stopped():
            counting.__exit__(None, None, None)
            return [(c.module, c.step, c.kernel) for c in counting.calls]

        model.counting_stopped = stopped

    return count
