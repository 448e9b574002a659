"""Where a run stopped being finite: whichever kernel ran, and whether it was the kernel at all."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa
from wanattn.attention import backends
from wanattn.attention.call import merge_heads
from wanattn.attention.choose.policy import Policy
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.finite import Guard, Suspect
from wanattn.attention.run.forward import Forward
from wanattn.tests.fixtures import attend

PACKAGES = ("fa2", "fa3", "fa4", "xformers", "fastflash")
THIN = (
    "the model, the latent, or an earlier attention output in a head that was not read; "
    "the next run reads all heads"
)


@pytest.fixture
def package(monkeypatch):
    """A kernel of a package that is exact by its word, and broken where `bad` is true or gives a head."""

    def install(name, bad):
        def run(q, k, v, mask=None, scale=None):
            out = sdpa(q, k, v)
            if (heads := bad()) is not False:
                out[:, slice(None) if heads is True else heads] = torch.nan
            return out

        real = backends.BACKENDS[name]
        fake = dataclasses.replace(real, refusals=lambda call, environment: [], run=run)
        monkeypatch.setitem(backends.BACKENDS, name, fake)

    return install


@pytest.fixture
def travelling(monkeypatch):
    """Sums are read once they have come from the device, as on a GPU."""
    monkeypatch.setattr("wanattn.attention.run.finite.AT_ONCE", ())


def forward_of(step: int, recorder: Recorder | None = None) -> Forward:
    return Forward(step=step, wish="auto", text_len=512, recorders=[recorder or Recorder()])


@pytest.mark.parametrize("name", PACKAGES)
def test_every_kernel_of_a_package_is_watched_in_every_call(tensors, package, name):
    """Also the exact ones are other people's code: one bad output takes the calls off, and the node says where."""
    calls = []
    package(name, lambda: len(calls) == 6)  # in the middle of a step
    dispatcher = Dispatcher(Policy(name), blocks=40)
    for block in range(12):
        calls.append(block)
        attend(dispatcher, tensors(), forward_of(2), block)
    dispatcher.end_forward()

    assert dispatcher.warnings == [
        f"{name}: output not finite in step 2, block 5; self calls left it"
    ]
    recorder = Recorder()
    attend(dispatcher, tensors(), forward_of(3, recorder), 0)
    ((_, record),) = recorder.snapshot().calls
    assert record.active == "flash"
    assert "output not finite in step 2, block 5" in record.reason


@pytest.mark.parametrize("name", PACKAGES)
def test_a_call_of_a_later_step_is_seen_too(tensors, package, name):
    calls = []
    package(name, lambda: len(calls) == 9)
    dispatcher = Dispatcher(Policy(name), blocks=4)
    run(dispatcher, tensors, calls)

    assert dispatcher.warnings == [
        f"{name}: output not finite in step 2, block 0; self calls left it"
    ]


def test_a_head_that_a_later_step_did_not_read_is_named_by_the_next_run(
    tensors, package, travelling
):
    """One call later it is in every head, and may have come from the model; then all heads are read."""
    calls = []
    package("fa3", lambda: len(calls) % 12 == 7 and 1)  # of two heads
    dispatcher = Dispatcher(Policy("fa3"), blocks=4)
    run(dispatcher, tensors, calls)
    assert dispatcher.warnings == [
        f"not finite before attention, seen in step 1, block 3 (self calls, fa3): {THIN}"
    ]

    dispatcher.reset(3)
    run(dispatcher, tensors, calls)
    assert dispatcher.warnings == ["fa3: output not finite in step 1, block 2; self calls left it"]


def run(dispatcher, tensors, calls, blocks: int = 4) -> None:
    """Three steps, in which what a block gives spoils the next one."""
    for step in range(3):
        spoiled = False
        for block in range(blocks):
            calls.append(block)
            q, k, v = tensors()
            given = (q * torch.nan, k * torch.nan, v * torch.nan) if spoiled else (q, k, v)
            out = attend(dispatcher, given, forward_of(step), block)
            spoiled = not bool(out.isfinite().all())
        dispatcher.end_forward()


@pytest.mark.parametrize("heads", [1, 3, 40])
def test_every_head_has_its_turn_in_later_steps(heads, travelling):
    guard, seen = Guard(), set()
    for step in range(2 * heads + 1):
        for head in range(heads):
            out = torch.zeros(1, heads, 2, 4)
            out[:, head] = torch.nan
            q = torch.zeros(1, heads, 2, 4)
            guard.watch(out, Suspect(None, "fa3", step, head), (q, q, q), False, thin=True)
            guard.watch(
                q, Suspect(None, "fa3", step, head), (q, q[:, :, :1], q[:, :, :1]), False, thin=True
            )
        guard.post()
        seen |= {suspect.block for suspect in guard.read() if suspect.thin}
    assert seen == set(range(heads))


def test_float16_and_what_is_read_whole_know_no_thin_look(travelling):
    guard, bad = Guard(), torch.zeros(1, 2, 3, 4, dtype=torch.float16)
    bad[0, 1, 2, 3] = torch.inf
    for step, (dtype, whole) in enumerate(
        [(torch.float16, False)] * 3 + [(torch.float32, True)] * 3
    ):
        out = bad.to(dtype)
        guard.watch(out, Suspect(None, "sage", step, 0), (out, out, out), whole, thin=not whole)
    guard.post()
    assert [(found.step, found.thin) for found in guard.read()] == [(n, False) for n in range(6)]


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("wish", ["flash", "math", "fa3", "host"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_inputs_that_were_not_finite_before_are_no_fault_of_a_kernel(
    tensors, package, wish, which, dtype
):
    package("fa3", lambda: False)
    operands = [tensor.to(dtype) for tensor in tensors()]
    operands[which][0, 1, 17] = torch.nan  # one token of one head
    dispatcher = Dispatcher(Policy(wish), blocks=40)
    for block in range(2):
        attend(dispatcher, operands, forward_of(4), block, sdpa)
    dispatcher.end_forward()

    (warning,) = dispatcher.warnings
    assert warning.startswith("not finite before attention, seen in step 4, block 0 (self calls, ")
    assert warning.endswith("the model or the latent, not the kernel")
    assert dispatcher.notes[-1] == warning


def test_float16_that_overflows_in_one_channel_is_seen(tensors):
    q, k, v = (tensor.half() for tensor in tensors())
    v[0, 1, 17, 5] = torch.inf
    dispatcher = Dispatcher(Policy("math"))
    attend(dispatcher, (q, k, v), forward_of(0), 3)
    dispatcher.end_forward()

    (warning,) = dispatcher.warnings
    assert "not finite before attention, seen in step 0, block 3" in warning


def test_torchs_own_kernels_are_watched_once_a_kind_and_step_and_in_the_last_block(
    tensors, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        "wanattn.attention.run.finite.Guard.watch",
        lambda self, out, suspect, *rest: seen.append((suspect.step, suspect.block)),
    )
    dispatcher = Dispatcher(Policy("flash"), blocks=40)
    for step in range(2):
        for block in range(40):
            attend(dispatcher, tensors(), forward_of(step), block)
    assert seen == [(0, 0), (0, 39), (1, 0), (1, 39)]


def test_what_is_left_alone_is_watched_too(tensors):
    """Whoever ran it: another pack's function, or the host's own."""

    def spoils(q, k, v):
        return sdpa(q, k, v) * torch.nan

    dispatcher = Dispatcher(Policy("host"), watches=True)
    attend(dispatcher, tensors(), forward_of(1), 0, spoils)
    dispatcher.end_forward()

    (warning,) = dispatcher.warnings
    assert warning.startswith(
        "output not finite of finite q, k and v, seen in step 1, block 0 (self calls, "
    )
    assert "spoils" in warning


def test_only_the_beginning_is_told(tensors, package):
    """What comes after it is a consequence."""
    package("fa3", lambda: True)
    dispatcher = Dispatcher(Policy("fa3"), blocks=4)
    q, k, v = tensors()
    for block in range(4):
        attend(dispatcher, (q, k, v) if block == 0 else (q * torch.nan, k, v), forward_of(0), block)
    dispatcher.end_forward()

    assert dispatcher.warnings == ["fa3: output not finite in step 0, block 0; self calls left it"]


def test_a_mask_that_hides_all_keys_is_told_as_what_it_may_be(tensors):
    q, k, v = tensors()
    mask = torch.zeros(1, 1, q.shape[2], k.shape[2])
    mask[:, :, 3] = -torch.inf
    dispatcher = Dispatcher(Policy("math"))
    out = attend(dispatcher, (q, k, v, mask), forward_of(0), 0)
    dispatcher.end_forward()

    if bool(torch.isfinite(out).all()):  # newer torch gives zeros
        assert dispatcher.warnings == []
    else:
        assert "a mask that hides all keys of a token does that" in dispatcher.warnings[0]


def test_a_run_begins_without_what_the_last_one_found(tensors):
    dispatcher = Dispatcher(Policy("flash"))
    q, k, v = tensors()
    attend(dispatcher, (q * torch.nan, k, v), forward_of(0), 0)
    dispatcher.end_forward()
    dispatcher.reset(4)
    attend(dispatcher, (q, k, v), forward_of(0), 0)
    dispatcher.end_forward()

    assert dispatcher.warnings == []


def test_each_run_says_once_that_it_was_not_finite(tensors):
    operands = tensors()
    operands[0][0, 1, 17] = torch.nan
    dispatcher = Dispatcher(Policy("flash"), blocks=40)
    told = []
    for _ in range(2):
        dispatcher.reset()
        for step in range(2):
            attend(dispatcher, operands, forward_of(step), 0)
            dispatcher.end_forward(wait=True)
        told.append(list(dispatcher.warnings))

    assert told[0] == told[1]
    assert len(told[0]) == 1 and "step 0, block 0" in told[0][0]


@pytest.mark.parametrize("head", range(2))
@pytest.mark.parametrize("sums", ["at once", "travelling"])
def test_every_head_is_read_where_an_output_has_them_merged(tensors, monkeypatch, sums, head):
    """As the host's own functions give it."""
    if sums == "travelling":
        monkeypatch.setattr("wanattn.attention.run.finite.AT_ONCE", ())
    q, k, v = tensors()
    out = sdpa(q, k, v)
    out[0, head, 3] = torch.nan  # one token
    guard = Guard()
    guard.watch(merge_heads(out), Suspect(None, "sub_quad", 0, 0), (q, k, v), whole=False)
    guard.post()

    assert guard.read() == [Suspect(None, "sub_quad", 0, 0)]


@pytest.mark.parametrize("which", range(3))
def test_what_is_read_at_once_is_told_from_what_came_before_it(tensors, which):
    """Any channel of any token: a processor reads all of them."""
    operands = tensors()
    operands[which][0, 1, 17, 5] = torch.inf
    guard = Guard([torch.device("cpu")])
    guard.watch(sdpa(*operands), Suspect(None, "math", 0, 0), operands, whole=False)

    assert [suspect.spoiled for suspect in guard.read()] == [True]
