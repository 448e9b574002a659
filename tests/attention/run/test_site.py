"""Who took a module's calls off the hook, as the report tells it."""

from __future__ import annotations

import types

import pytest
import torch
from wanattn.attention.run.site import Site


def made(package: str, name: str) -> types.FunctionType:
    """A function of another package."""

    def function(self, x):
        return x

    function.__module__, function.__qualname__, function.__name__ = f"{package}.patch", name, name
    return function


@pytest.fixture
def module():
    return type("Attention", (torch.nn.Module,), {"__module__": "models.wan"})()


def how(module, *around) -> str:
    return Site(module, "blocks.0.attn", around=around, home=("models",)).how()


def test_a_module_as_its_model_made_it_passes_no_options(module):
    assert how(module) == "Attention passes no options on"


@pytest.mark.parametrize("name", ["forward", "forward_orig"])
def test_a_replaced_method_names_its_pack(module, name):
    setattr(module, name, made("fast_pack", "quick"))

    told = how(module)

    assert told.startswith(f"{name} of Attention replaced by fast_pack")
    assert "quick" in told


def test_a_method_of_the_model_s_own_package_is_no_replacement(module):
    module.forward = made("models", "other")

    assert how(module) == "Attention passes no options on"


def test_what_is_no_function_is_no_replacement(module):
    module.forward_orig = 7

    assert how(module) == "Attention passes no options on"


def test_the_module_around_it_may_be_the_one_that_was_replaced(module):
    block = type("Block", (torch.nn.Module,), {"__module__": "models.wan"})()
    block.forward = made("fast_pack", "quick")

    assert how(module, block).startswith("forward of Block replaced by fast_pack")


def test_a_class_of_another_pack_is_told():
    module = type("Attention", (torch.nn.Module,), {"__module__": "fast_pack.nodes"})()

    assert how(module) == "class replaced by fast_pack (Attention)"
