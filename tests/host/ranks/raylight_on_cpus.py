"""Raylight for a server without GPUs: its own nodes, loaded as the host would after `cpu_ranks.pretend`.

Around each run of its sampler, what every rank ran is written to the output folder as `counted.json`, independently of the
pack that is tested.
"""

import functools
import json
import os
from importlib import util
from pathlib import Path

import cpu_ranks
import traced

cpu_ranks.pretend()

import folder_paths  # noqa: E402
import ray  # noqa: E402

SOURCE = Path(os.environ["RAYLIGHT_FOLDER"])


def _pack():
    spec = util.spec_from_file_location(
        "raylight_pack", SOURCE / "__init__.py", submodule_search_locations=[str(SOURCE)]
    )
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _counted(sample):
    @functools.wraps(sample)
    def ray_sample(self, ray_actors, **named):
        handles = ray_actors["workers"]
        ask = [handle.model_function_runner_get_values for handle in handles]
        ray.get([each.remote(traced.start) for each in ask])
        result = sample(self, ray_actors, **named)
        calls = ray.get([each.remote(traced.stop) for each in ask])
        Path(folder_paths.get_output_directory(), "counted.json").write_text(json.dumps(calls))
        return result

    return ray_sample


PACK = _pack()
cpu_ranks.settle(Path(folder_paths.__file__).parent, SOURCE / "src")
NODE_CLASS_MAPPINGS = PACK.NODE_CLASS_MAPPINGS
NODE_DISPLAY_NAME_MAPPINGS = PACK.NODE_DISPLAY_NAME_MAPPINGS
SAMPLER = NODE_CLASS_MAPPINGS["XFuserKSamplerAdvanced"]
SAMPLER.ray_sample = _counted(SAMPLER.ray_sample)
