"""What tests of any room need: calls, machines, tensors."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
import torch
from wanattn.attention.backends import packages
from wanattn.attention.call import Call, Inputs
from wanattn.attention.choose.measure import timings
from wanattn.attention.environment import Environment, Gpu
from wanattn.attention.run.forward import Place
from wanattn.attention.run.given import Split

H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0), 80 * 2**30)
CUDA = Environment(
    torch="2.11.0", python="3.12.3", platform="Linux x86_64", cuda="13.0", cudnn=91900, gpus=(H100,)
)
SELF = Call("self", 1, 40, 32760, 32760, 128, torch.bfloat16, "cuda:0")


@pytest.fixture
def make_call():
    """A Wan 2.2 14B self-attention call on an H100, with other facts where given."""
    return lambda **facts: dataclasses.replace(SELF, **facts)


@pytest.fixture
def make_environment():
    """A machine with one H100, with other facts where given; `capability` is the card's."""

    def make(capability=(9, 0), **facts):
        gpus = (dataclasses.replace(H100, capability=capability),)
        return dataclasses.replace(CUDA, **{"gpus": gpus, **facts})

    return make


@pytest.fixture
def no_package(monkeypatch):
    """No attention package is installed, whatever there is on this machine."""
    absent = packages.Found(None, "not installed (No module)")
    monkeypatch.setattr(packages, "find", lambda package: absent)


@pytest.fixture
def tensors():
    """Random q, k, v of [batch, heads, tokens, head_dim] for self- or cross-attention."""

    def make(q_len=64, kv_len=None, batch=1, heads=2, head_dim=128, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        lengths = (q_len, kv_len or q_len, kv_len or q_len)
        return [
            torch.randn(batch, heads, n, head_dim, generator=generator).to(dtype) for n in lengths
        ]

    return make


def attend(dispatcher, tensors, forward, block=0, leave=None, fickle=False, **facts):
    """One call of [batch, heads, tokens, head_dim] through a dispatcher; `leave` runs it where it is left alone."""
    inputs = Inputs(*tensors)
    role = forward.role(inputs.q.shape[2], inputs.k.shape[2], block)
    back = functools.partial(leave or _nobody, *inputs[:3])
    place = Place(role, block, fickle=fickle, **facts)
    return dispatcher.run(Split(inputs, back), place, forward)


def _nobody(*tensors):
    raise AssertionError("a call that is chosen for must not be left alone")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """No test reads or writes the cache folder of whoever runs it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timings, "default_path", lambda: folder / "timings.json")
        yield


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """Where timings are kept without a host, with nothing in it."""
    path = tmp_path / "cache" / "timings.json"
    monkeypatch.setattr(timings, "default_path", lambda: path)
    return path


@pytest.fixture
def link():
    """Make a symbolic link, or skip the test where that cannot be done."""

    def make(path: Path, target: Path) -> Path:
        try:
            path.symlink_to(target)
        except OSError as error:
            pytest.skip(f"Windows lets only some users make links ({error})")
        if not path.is_symlink():
            pytest.skip("Wine makes no link and says nothing")
        return path

    return make
