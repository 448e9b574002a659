from __future__ import annotations

import functools
import types

import pytest
from wanattn.attention.record.name import owner_of


def made_in(module):
    """A function of such a module."""
    function = types.FunctionType(owner_of.__code__, {}, "fast_attention")
    function.__module__ = module
    return function


@pytest.mark.parametrize(
    ("of", "owner"),
    [
        (made_in("sageattention.core"), "sageattention"),
        (functools.partial(made_in("/opt/comfyui/custom_nodes/Pack"), scale=1.0), "Pack"),
        (types.MethodType(made_in("C:\\me\\custom_nodes\\Pack.nodes"), 1), "Pack"),
        (made_in(None), ""),
        (types.SimpleNamespace(__module__="comfy.ops"), ""),  # no function, whatever it says
    ],
)
def test_a_function_belongs_to_its_package_or_the_folder_of_its_pack(of, owner):
    assert owner_of(of) == owner
