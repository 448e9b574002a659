from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import wanattn.attention

ROOT = Path(__file__).resolve().parents[1]
COLD = """
import importlib.util, sys
denied = ("comfy", "comfy_api", "folder_paths", "server", "diffusers", "flash_attn", "sageattention", "xformers", "comfy_kitchen")
for name in denied:
    sys.modules[name] = None
spec = importlib.util.spec_from_file_location("wanattn", sys.argv[1])
sys.modules["wanattn"] = pack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
import wanattn.attention, wanattn.commands.main
sys.exit(wanattn.commands.main.main(["doctor", "--device", "cpu"]))
"""


def test_the_pack_works_where_nothing_optional_is_installed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", COLD, str(ROOT / "__init__.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Use auto. Here: flash, math.")


def test_the_public_names_exist_in_order():
    names = wanattn.attention.__all__

    assert names == sorted(names)
    assert all(hasattr(wanattn.attention, name) for name in names)
