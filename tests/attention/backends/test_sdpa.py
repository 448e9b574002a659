from __future__ import annotations

import functools
import threading

import pytest
import torch
from wanattn.attention.backends import BACKENDS, Refused, process, sdpa
from wanattn.attention.backends.sdpa import gate
from wanattn.attention.call import Inputs
from wanattn.attention.record.evidence import watch

MASKS = {
    "none": lambda: None,
    "booleans": lambda: torch.rand(5, 77, generator=torch.Generator().manual_seed(1)) > 0.3,
    "added": lambda: torch.randn(2, 1, 5, 77, generator=torch.Generator().manual_seed(1)),
    "an empty row": lambda: torch.zeros(1, 1, 5, 77, dtype=torch.bool),
}
TOGGLES = (
    "flash_sdp_enabled",
    "mem_efficient_sdp_enabled",
    "math_sdp_enabled",
    "cudnn_sdp_enabled",
)


@pytest.mark.parametrize(
    ("backend", "facts", "reason"),
    [
        ("flash", {"mask": "bool"}, "masked call, kernel takes no mask"),
        ("flash", {"dtype": torch.float32}, "dtype float32, needs float16 or bfloat16"),
        ("flash", {"head_dim": 320, "value_dim": 320}, "head_dim 320, needs at most 256"),
        ("flash", {"value_dim": 64}, "value head_dim 64, needs 128 as the query has"),
        ("flash", {"device": "mps"}, "FlashAttention does not exist on mps"),
        ("flash", {"batch": 70000}, "batch 70000, needs at most 32768"),
        ("flash", {"head_dim": 100, "value_dim": 100}, "head_dim 100, needs a multiple of 8"),
        ("efficient", {"device": "cpu"}, "mem-efficient does not exist on cpu"),
        ("efficient", {"kv_heads": 8}, "8 key heads, needs 40 as the query has"),
        ("efficient", {"head_dim": 100}, "head_dim 100, needs a multiple of 8"),
        ("cudnn", {"device": "cpu"}, "cuDNN does not exist on cpu"),
        ("cudnn", {"dtype": torch.float64}, "dtype float64, needs float16 or bfloat16"),
    ],
)
def test_a_refusal_names_given_and_needed(make_call, make_environment, backend, facts, reason):
    assert BACKENDS[backend].refusals(make_call(**facts), make_environment()) == [reason]


@pytest.mark.parametrize("backend", ["flash", "efficient", "cudnn", "math"])
def test_every_kernel_accepts_a_wan_call_on_hopper(make_call, make_environment, backend):
    assert BACKENDS[backend].refusals(make_call(), make_environment()) == []


def test_all_reasons_are_given_at_once(make_call, make_environment):
    call = make_call(dtype=torch.float32, mask="float")

    reasons = BACKENDS["flash"].refusals(call, make_environment((7, 5), flash_built=False))

    assert reasons == [
        "FlashAttention not compiled into this torch build",
        "compute capability 7.5, needs 8.0 or newer",
        "dtype float32, needs float16 or bfloat16",
        "masked call, kernel takes no mask",
    ]


def test_cudnn_takes_wide_heads_from_hopper_on(make_call, make_environment):
    call = make_call(head_dim=256, value_dim=256)

    assert BACKENDS["cudnn"].refusals(call, make_environment((9, 0))) == []
    assert BACKENDS["cudnn"].refusals(call, make_environment((8, 9))) == [
        "head_dim 256, needs at most 128"
    ]


def test_rocm_has_no_cudnn_and_no_capability(make_call, make_environment):
    environment = make_environment(None, hip="6.4", cuda=None, cudnn=None)

    assert BACKENDS["cudnn"].refusals(make_call(), environment) == ["cuDNN does not exist on ROCm"]
    assert BACKENDS["flash"].refusals(make_call(), environment) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", ["flash", "math"])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_cpu_kernels_agree_with_float64_within_their_tolerance(tensors, name, dtype, mask):
    q, k, v = tensors(q_len=96, kv_len=64, dtype=dtype)
    masks = {
        "bool": torch.rand(96, 64) > 0.3,
        "float": torch.randn(96, 64, dtype=dtype),
        None: None,
    }

    result = BACKENDS[name].run(q, k, v, masks[mask])

    expected = _attention_in_float64(q, k, v, masks[mask])
    error = (result.double() - expected).norm() / expected.norm()
    assert error <= BACKENDS[name].tolerance[dtype]


def _attention_in_float64(q, k, v, mask):
    scores = q.double() @ k.double().mT / q.shape[-1] ** 0.5
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        )
    return scores.softmax(-1) @ v.double()


@pytest.mark.parametrize("name", ["flash", "math"])
def test_the_profiler_sees_the_kernel_that_was_forced(tensors, name):
    with torch.inference_mode():
        _, sighting = watch(lambda: BACKENDS[name].run(*tensors()), torch.device("cpu"))

    assert sighting.backends == (name,)


def test_grouped_query_attention_repeats_the_key_heads(tensors):
    q, k, v = tensors(heads=4)
    k, v = k[:, :2], v[:, :2]

    result = BACKENDS["flash"].run(q, k, v)

    expected = BACKENDS["math"].run(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("kernel", ["flash", "math"])
@pytest.mark.parametrize("layout", ["heads first", "tokens first"])
@pytest.mark.parametrize("scale", [None, 0.2])
@pytest.mark.parametrize("mask", MASKS)
def test_the_operator_gives_to_the_bit_what_the_switch_gives(kernel, layout, scale, mask):
    heads_first = (2, 4, 5, 32), (2, 2, 77, 32), (2, 2, 77, 32)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(shape, generator=generator) for shape in heads_first)
    if layout == "tokens first":
        q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v))
    given = MASKS[mask]()

    found = BACKENDS[kernel].run(q, k, v, given, scale)

    right = process.switched(kernel, q, k, v, given, scale)
    assert torch.equal(found.nan_to_num(7.0), right.nan_to_num(7.0))
    assert found.stride() == right.stride()


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        (((1, 2, 0, 8), (1, 2, 4, 8)), "0 queries and 4 keys, needs at least 1 each"),
        (((1, 2, 4, 8), (1, 2, 0, 8)), "4 queries and 0 keys, needs at least 1 each"),
    ],
)
def test_a_call_without_tokens_never_reaches_the_kernel(shapes, reason):
    q, k = (torch.ones(shape) for shape in shapes)

    assert gate("flash", Inputs(q, k, k)) == [reason]


def test_a_layout_that_the_kernel_would_misread_is_refused(tensors):
    q, k, v = tensors()
    apart = torch.stack([k, k], dim=-1).flatten(3)[..., ::2]

    assert torch.equal(apart, k)
    reason = "head_dim with strides [1, 2, 1] in memory, needs 1 in query, key and value"
    assert gate("flash", Inputs(q, apart, v)) == [reason]


def test_a_kernel_that_torch_does_not_have_is_a_refusal(tensors):
    with pytest.raises(Refused, match="No viable backend"):
        process.switched("efficient", *tensors())


def test_other_threads_keep_their_kernels_and_every_switch_stays_as_it_is(tensors):
    """A thread that forces math for itself, as other packs do, beside ours."""
    q, k, v = (x.requires_grad_() for x in tensors(q_len=8, head_dim=8))
    wrong: list[str] = []
    before = [getattr(torch.backends.cuda, toggle)() for toggle in TOGGLES]

    def ours(name: str) -> None:
        for _ in range(500):
            known = BACKENDS[name].run(q, k, v).grad_fn.name()
            if ("Flash" in known) != (name == "flash"):
                wrong.append(f"{name}: {known}")

    def theirs() -> None:
        for _ in range(500):
            known = torch.nn.functional.scaled_dot_product_attention(q, k, v).grad_fn.name()
            if "Flash" not in known:
                wrong.append(f"another thread: {known}")

    threads = [threading.Thread(target=ours, args=(name,)) for name in ("flash", "math")]
    threads += [threading.Thread(target=theirs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert [getattr(torch.backends.cuda, toggle)() for toggle in TOGGLES] == before


@pytest.mark.parametrize("name", BACKENDS)
def test_a_tolerance_lets_rounding_through_and_not_a_wrong_result(name):
    """A value that was rounded once is right, one that is 3 % off is wrong, 30 % from a kernel that says so."""
    backend = BACKENDS[name]

    assert torch.bfloat16 in backend.tolerance
    for dtype, limit in backend.tolerance.items():
        assert torch.finfo(dtype).eps < limit < (0.03 if backend.exact else 0.3)


def test_the_kernels_of_a_card_say_what_a_mask_needs(tensors):
    q, k, v = tensors(q_len=16, kv_len=77)
    mask = torch.ones(16, 77, dtype=torch.bool)

    assert sdpa._masked("efficient", Inputs(q, k, v)) == []
    assert sdpa._masked("efficient", Inputs(q, k[:, :, :72], v[:, :, :72], mask[:, :72])) == []
    assert sdpa._masked("efficient", Inputs(q, k, v, mask)) == [
        "mask over 77 keys, needs a multiple of 8"
    ]


@pytest.mark.parametrize(
    ("allowed", "switch", "refused"),
    [
        (True, [True, True], False),
        (False, [True, True], True),
        (False, [False, True], False),  # another thread has turned it off and on again
        (False, [True, False], False),
    ],
)
def test_torch_s_no_counts_where_its_switch_was_on_all_the_time(
    tensors, monkeypatch, allowed, switch, refused
):
    seen = iter(switch)
    monkeypatch.setitem(sdpa.GATES, "flash", (lambda facts: allowed, lambda: next(seen)))

    assert bool(sdpa._own_check("flash", Inputs(*tensors()))) is refused


@pytest.mark.parametrize("backend", ["flash", "efficient", "math"])
def test_rocm_has_torch_s_other_kernels(make_call, make_environment, backend):
    environment = make_environment(None, hip="6.4", cuda=None, cudnn=None)

    assert BACKENDS[backend].refusals(make_call(), environment) == []


def test_grouped_heads_are_told_by_the_heads_and_not_by_the_tokens():
    """As many queries as the key has heads, and as many keys as the query has."""
    for run in (BACKENDS["math"].run, functools.partial(process.switched, "math")):
        for queries, keys in ((2, 6), (6, 4)):
            q, k = torch.randn(1, 4, queries, 8), torch.randn(1, 2, keys, 8)
            repeated = k.repeat_interleave(2, 1)
            torch.testing.assert_close(run(q, k, k), BACKENDS["math"].run(q, repeated, repeated))
