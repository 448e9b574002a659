"""ComfyUI's own attention functions as backends that a user can name."""

from __future__ import annotations

import itertools

import pytest
import torch
from wanattn.tests.host.sampling import CALLS, sample

NAMES = ["sub_quad", "split"]


@pytest.fixture
def backends(workbench):
    """Registered by the pack's own nodes."""
    from wanattn.attention.backends import BACKENDS

    return BACKENDS


def qkv(dtype=torch.float32, q_len=70, kv_len=50, batch=2, heads=4, head_dim=64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, heads, n, head_dim) for n in (q_len, kv_len, kv_len))
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def make_mask(kind, dtype):
    if kind is None:
        return None
    kept = torch.rand(2, 1, 70, 50, generator=torch.Generator().manual_seed(1)) > 0.3
    return kept if kind == "bool" else torch.zeros(kept.shape, dtype=dtype).masked_fill(~kept, -9)


def relative_error(result, q, k, v, mask, scale):
    q, k, v = (x.double() for x in (q, k, v))
    mask = mask if mask is None or mask.dtype == torch.bool else mask.double()
    exact = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=scale)
    return ((result - exact).abs().max() / exact.abs().max()).item()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_result_is_right_with_every_mask_and_scale(backends, name, dtype):
    q, k, v = qkv(dtype)
    for kind, scale in itertools.product([None, "bool", "float"], [None, 0.05, 0.3]):
        mask = make_mask(kind, dtype)

        result = backends[name].run(q, k, v, mask, scale)

        assert result.shape == q.shape and result.dtype == dtype
        error = relative_error(result, q, k, v, mask, scale)
        assert error <= backends[name].tolerance[dtype], (kind, scale)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_result_that_forgets_the_mask_is_no_rounding(backends, name, dtype):
    q, k, v = qkv(dtype)

    error = relative_error(backends[name].run(q, k, v), q, k, v, make_mask("bool", dtype), None)

    assert error > 5 * backends[name].tolerance[dtype]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_query_that_may_see_no_key_gives_no_nan_whatever_the_scores(backends, name, dtype):
    """Scores of -200 beside a mask of the lowest number would be infinite in half precision."""
    q, k, v = qkv(dtype)
    mask = torch.ones(2, 1, 70, 50, dtype=torch.bool)
    mask[:, :, 0] = False

    result = backends[name].run(torch.full_like(q, 5), torch.full_like(k, -5), v, mask)

    mean = v.double().mean(2, keepdim=True).expand_as(q)
    torch.testing.assert_close(result.double(), mean, rtol=0, atol=2e-2)


@pytest.mark.parametrize("name", NAMES)
def test_named_choice_runs_it_and_torch_saw_no_attention_of_its_own(load, workbench, name):
    model = load("t2v")
    patched = workbench.backend(model, name)

    latent = sample(patched)

    torch.testing.assert_close(latent, sample(model), rtol=1e-4, atol=1e-4)
    payload = workbench.report(patched).payload
    assert (payload["requested"], payload["totals"]) == (name, {name: CALLS})
    assert not any(row["mismatch"] or row["reasons"] for row in payload["rows"])


@pytest.mark.parametrize("name", NAMES)
def test_diagnostics_proves_it(load, workbench, name):
    patched = workbench.diagnostics(workbench.backend(load("t2v"), name))

    sample(patched)

    payload = workbench.report(patched).payload
    assert payload["totals"] == {name: CALLS}
    assert all("profiled" in row["evidence"] for row in payload["rows"])
    assert not any(row["mismatch"] for row in payload["rows"])


def test_node_offers_them_and_auto_never_takes_them(workbench):
    from wanattn.attention.call import Call
    from wanattn.attention.choose.policy import PRECISIONS, Policy, candidates
    from wanattn.attention.environment import probe

    schema = workbench.nodes["WanAttnBackend"].GET_SCHEMA()
    options = next(each for each in schema.inputs if each.id == "backend").options
    q, k, v = qkv()
    call = Call.of(q, k, v, None, "self")
    asked = [candidates(call, probe(), Policy("auto", precision=each)) for each in PRECISIONS]

    assert set(NAMES) <= set(options)
    assert not set(NAMES) & set(itertools.chain(*asked))


@pytest.mark.parametrize(("kv_heads", "value_dim"), [(2, 64), (8, 256)])
def test_calls_that_their_layout_cannot_hold_are_refused(backends, kv_heads, value_dim):
    from wanattn.attention.call import Call

    sizes = {"kv_heads": kv_heads, "value_dim": value_dim}
    call = Call("self", 1, 4, 64, 64, 128, torch.float32, **sizes)
    for name in NAMES:
        assert backends[name].refusals(call, None) == [
            f"{kv_heads} key heads, needs 4 as the query has",
            f"value head_dim {value_dim}, needs 128 as the query has",
        ]


def test_sizes_are_compared_by_value(backends):
    from wanattn.attention.call import Call

    heads, head_dim, kv_heads, value_dim = map(int, ("300", "512", "300", "512"))
    sizes = {"kv_heads": kv_heads, "value_dim": value_dim}
    call = Call("self", 1, heads, 64, 64, head_dim, torch.float32, **sizes)

    assert [backends[name].refusals(call, None) for name in NAMES] == [[], []]


def test_a_function_that_this_host_has_not_is_refused(backends, monkeypatch):
    from comfy.ldm.modules import attention
    from wanattn.attention.call import Call

    monkeypatch.delitem(attention.REGISTERED_ATTENTION_FUNCTIONS, "split")
    call = Call("self", 1, 4, 64, 64, 128, torch.float32)

    reason = "this ComfyUI has no attention function split"
    assert [backends[name].refusals(call, None) for name in NAMES] == [[], [reason]]
