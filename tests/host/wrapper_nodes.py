"""What WanVideoWrapper's sampler ran in a server, counted: two nodes around those of a template."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

COUNTED = {}
KEY = ("STRING", {"default": ""})


def _counting():
    package = sys.modules.setdefault("counted_in_server", ModuleType("counted_in_server"))
    package.__path__ = [str(Path(__file__).resolve().parent)]
    return importlib.import_module("counted_in_server.wrapper_counting").WrapperCounting


class TestWrapperCount:
    """Counts whatever is sampled with the model, from here on."""

    RETURN_TYPES = ("WANVIDEOMODEL",)
    FUNCTION = "count"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("WANVIDEOMODEL",), "key": KEY, "run": ("INT", {})}}

    def count(self, model, key, run):
        if key in COUNTED:
            COUNTED[key].__exit__(None, None, None)
        COUNTED[key] = _counting()(model).__enter__()
        return (model,)


class TestWrapperCounted:
    """Writes what was counted since the model passed the other node."""

    RETURN_TYPES = ()
    FUNCTION = "tell"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"after": ("LATENT",), "key": KEY}}

    def tell(self, after, key):
        import folder_paths

        facts = ("step", "block", "role", "kernel")
        rows = [[*row, count] for row, count in COUNTED[key].counts(*facts).items()]
        path = Path(folder_paths.get_output_directory(), f"{key}.counted.json")
        path.write_text(json.dumps(rows))
        return {}


NODE_CLASS_MAPPINGS = {
    "TestWrapperCount": TestWrapperCount,
    "TestWrapperCounted": TestWrapperCounted,
}
