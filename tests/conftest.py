"""Load the pack as ComfyUI does, by its folder, under the name that the tests import."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
# `python -m pytest` puts this folder first on sys.path, where our nodes/ would hide ComfyUI's nodes.py.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
spec = importlib.util.spec_from_file_location("wanattn", ROOT / "__init__.py")
sys.modules["wanattn"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
torch.set_num_threads(1)  # the tensors here are tiny: more threads only wait for each other

from wanattn.tests.fixtures import (  # noqa: E402, F401
    empty_cache,
    link,
    make_call,
    make_environment,
    no_package,
    own_cache,
    tensors,
)


class _PlainRoot:
    """pytest would import the pack once more, under its folder's name, which may be none, such as wanattn-main."""

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector):
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_PlainRoot())
