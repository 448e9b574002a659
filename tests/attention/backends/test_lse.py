"""What ring attention joins by: each kernel's log-sum-exp, and no kernel without one."""

from __future__ import annotations

import pytest
import torch
from wanattn.attention.backends import BACKENDS
from wanattn.attention.backends.lse import JOINABLE, NEEDED, Sums, joinable
from wanattn.attention.environment import probe

CUDA = pytest.param("cuda", marks=pytest.mark.gpu)


def halves(device, dtype):
    generator = torch.Generator().manual_seed(0)
    made = (torch.randn(1, 2, 40, 64, generator=generator) * 3 for _ in range(3))
    return tuple(x.to(device, dtype) for x in made)


def attended(q, k, v):
    scores = q.double() @ k.double().transpose(2, 3) / q.shape[3] ** 0.5
    return scores.softmax(-1) @ v.double(), scores.logsumexp(-1)


@pytest.mark.parametrize("name", list(JOINABLE))
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_parts_joined_by_it_are_the_whole(name, device):
    if device == "cpu" and name != "flash":
        pytest.skip(f"{name} does not exist on a CPU")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    q, k, v = halves(device, torch.float32 if device == "cpu" else torch.float16)
    sums = Sums()
    backend = joinable(BACKENDS, sums)[name]

    outs, weights = [], []
    for part in (slice(0, 24), slice(24, 40)):
        outs.append(backend.run(q, k[:, :, part], v[:, :, part]).double())
        assert sums.newest.shape == q.shape[:3]
        weights.append(sums.newest.double())
    share = torch.stack(weights).softmax(0)[..., None]
    whole, known = attended(q, k, v)
    close = {"atol": 1e-4 if device == "cpu" else 5e-3, "rtol": 0}
    torch.testing.assert_close((torch.stack(outs) * share).sum(0), whole, **close)
    torch.testing.assert_close(torch.stack(weights).logsumexp(0), known, **close)


def test_the_others_refuse_every_call(make_call):
    known = joinable(BACKENDS, Sums())
    refused = {name for name, b in known.items() if b.refusals(make_call(), probe()) == [NEEDED]}

    assert known.keys() == BACKENDS.keys()
    assert refused == BACKENDS.keys() - JOINABLE.keys()


@pytest.mark.parametrize("name", list(JOINABLE))
def test_a_mask_is_refused_and_else_what_the_kernel_refuses(make_call, make_environment, name):
    backend, machine = joinable(BACKENDS, Sums())[name], make_environment()
    call = make_call(dtype=torch.float64)

    assert backend.refusals(make_call(), machine) == []
    for mask in ("bool", "float"):
        first = backend.refusals(make_call(mask=mask), machine)[0]
        assert first == "masked call, ring attention takes no mask"
    assert backend.refusals(call, machine) == BACKENDS[name].refusals(call, machine) != []
