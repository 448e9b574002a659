"""Where Raylight's attention gets its kernel, with layers shaped as xfuser's: [batch, tokens, heads, head_dim], between exchanges."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch.nn.functional import scaled_dot_product_attention as sdpa
from wanattn.attention.backends import BACKENDS
from wanattn.attention.backends.lse import Sums, joinable
from wanattn.attention.choose.policy import Policy
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.follow import entered
from wanattn.attention.run.forward import Forward
from wanattn.attention.run.site import CROSS, Site
from wanattn.nodes.raylight import sequence
from wanattn.nodes.raylight.sequence import ATTENTION, MODELS, SELECT, VIA, Sequence

Q_LEN, KV_LEN = 21, 13
RING = "xfuser_ring_in_a_test"


class Layer:
    """As xFuserLongContextAttention: all of its kernels come by `ring_attn_fn`."""

    attn_type = SimpleNamespace(name="TORCH_FLASH")

    def __init__(self, kernel, group=None) -> None:
        self.ring_attn_fn = kernel
        self.ulysses_pg = group

    def __call__(self, q, k, v, *args, **named):
        return self.ring_attn_fn(q, k, v, *args, **named)


class Kernel:
    """Raylight's own, which keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple] = []

    def __call__(self, q, k, v, *args, softmax_scale=None, **named):
        self.given.append((args, {"softmax_scale": softmax_scale, **named}))
        return attended(q, k, v, softmax_scale)


class Ring:
    """xfuser's module: the kernel that it selects gives a log-sum-exp too; here that of a test."""

    def __init__(self, monkeypatch) -> None:
        self.kernel = Kernel()
        self.sums = torch.full((1, 2, Q_LEN), 7.0)
        self.module = ModuleType(RING)
        self.select = lambda kind, stage: self._run if (kind, stage) == ("t", "fwd-only") else None
        setattr(self.module, SELECT, self.select)
        monkeypatch.setitem(sys.modules, RING, self.module)

    def _run(self, *args, **named):
        return self.kernel(*args, **named), self.sums

    def attend(self, q, k, v, *args, **named):
        """As xdit_ring_flash_attn_func."""
        return getattr(self.module, SELECT)("t", stage="fwd-only")(q, k, v, *args, **named)

    def layer(self) -> Layer:
        self.attend.__func__.__module__ = RING
        return Layer(self.attend)


def attended(q, k, v, scale=None) -> torch.Tensor:
    return sdpa(*(x.transpose(1, 2) for x in (q, k, v)), scale=scale).transpose(1, 2)


def function_of(layer):
    def optimized_attention(*args, **named):
        return layer(*args, **named)

    return optimized_attention


@pytest.fixture
def put(monkeypatch):
    """Loads a module of Raylight's with this layer in its function."""

    def put(layer, name="wan.xdit_context_parallel"):
        module = ModuleType(name)
        setattr(module, ATTENTION, function_of(layer))
        monkeypatch.setitem(sys.modules, f"{MODELS}{name}", module)
        return layer

    for name in [name for name in sys.modules if name.startswith(MODELS)]:
        monkeypatch.delitem(sys.modules, name)
    return put


@pytest.fixture
def layer(put):
    return put(Layer(Kernel()))


@pytest.fixture
def ring(put, monkeypatch):
    made = Ring(monkeypatch)
    made.layers = [put(made.layer()), put(made.layer(), "flux.xdit_context_parallel")]
    return made


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, n, 2, 8, generator=generator) for n in (Q_LEN, KV_LEN, KV_LEN)]


def watched(backend="math", sums=None, **facts):
    """A forward whose calls go to a dispatcher, and the list of those that are over."""
    backends = joinable(BACKENDS, sums) if sums else BACKENDS
    seen: list = []
    taker = Dispatcher(Policy(backend), backends=backends)
    return Forward(taker=taker, captures=[seen.append], proof="off", **facts), seen


def run(call, forward, sums=None):
    with Sequence(sums).taken(), entered(forward):
        return call()


def test_a_layer_runs_on_the_chosen_kernel(layer, qkv):
    site = Site(torch.nn.Identity(), "blocks.3.cross_attn", CROSS, block=3)
    forward, seen = watched(sites=[(site, 0)], text_len=KV_LEN)

    out = run(lambda: layer(*qkv, softmax_scale=0.3, causal=False), forward)

    torch.testing.assert_close(out, attended(*qkv, 0.3))
    (call,) = seen
    assert (call.place.role, call.place.block, call.place.via) == ("text", 3, VIA)
    assert (call.record.active, call.inputs.scale) == ("math", 0.3)
    for taken, given in zip(call.inputs, qkv, strict=False):
        assert torch.equal(taken, given.transpose(1, 2))


def test_a_call_that_is_left_alone_runs_as_raylight_asked(layer, qkv):
    forward, seen = watched("host")
    named = {"softmax_scale": 0.3, "causal": False, "group": "ring", "joint_tensor_key": None}

    out = run(lambda: layer(*qkv, **named), forward)

    assert torch.equal(out, attended(*qkv, 0.3))
    assert layer.ring_attn_fn.given == [((), named)]
    assert [(one.place.block, one.record.active) for one in seen] == [
        (None, "raylight.TORCH_FLASH")
    ]


@pytest.mark.parametrize(
    "args, named",
    [((), {"joint_tensor_key": torch.ones(1)}), ((), {"causal": True}), ((0.1,), {})],
    ids=["joint", "causal", "positional"],
)
def test_what_no_other_kernel_can_run_stays_with_raylight(layer, qkv, args, named):
    forward, seen = watched()

    run(lambda: layer(*qkv, *args, **named), forward)

    assert seen == []
    assert layer.ring_attn_fn.given == [(args, {"softmax_scale": None, **named})]


@pytest.mark.parametrize("forward", [None, Forward()], ids=["outside", "without a taker"])
def test_a_call_that_nobody_watches_stays_with_raylight(layer, qkv, forward):
    out = run(lambda: layer(*qkv), forward)

    assert torch.equal(out, attended(*qkv))
    assert layer.ring_attn_fn.given == [((), {"softmax_scale": None})]


@pytest.mark.parametrize("ranks, lengths", [(None, (21, 13)), (1, (21, 13)), (2, (10, 6))])
def test_the_role_goes_by_the_lengths_of_one_rank(put, qkv, ranks, lengths):
    layer = put(Layer(Kernel(), ranks and dist.ProcessGroup(0, ranks)))
    forward, _ = watched(text_len=99, seek=lambda: "")

    run(lambda: layer(*qkv), forward)

    assert forward.sought == {lengths: "other"}


def test_layers_are_as_before_afterwards_and_after_an_error(put, qkv):
    layers = [put(Layer(Kernel()), name) for name in ("wan.a", "flux.b")]
    put(layers[0], "wan.same")
    kernels = [layer.ring_attn_fn for layer in layers]
    forward, seen = watched()

    run(lambda: [layer(*qkv) for layer in layers], forward)
    assert [layer.ring_attn_fn for layer in layers] == kernels
    with pytest.raises(ZeroDivisionError), Sequence().taken():
        assert not [kernel for layer in layers if (kernel := layer.ring_attn_fn) in kernels]
        raise ZeroDivisionError
    assert [layer.ring_attn_fn for layer in layers] == kernels
    assert len(seen) == 2


def test_nothing_else_is_taken(put, monkeypatch, qkv):
    other = Layer(Kernel())
    module = ModuleType("others")
    setattr(module, ATTENTION, function_of(other))
    monkeypatch.setitem(sys.modules, "others", module)
    monkeypatch.setitem(sys.modules, f"{MODELS}without", ModuleType("without"))
    put("no layer", "wan.different")
    put(kept := Layer(Kernel()))

    assert sequence.layers() == [kept]
    forward, seen = watched()
    run(lambda: other(*qkv), forward)
    assert seen == []


def test_layers_are_looked_for_again_when_modules_came_or_went(monkeypatch):
    looked: list[int] = []
    monkeypatch.setattr(sequence, "layers", lambda: looked.append(len(sys.modules)) or [])
    own = Sequence()

    def enter():
        with own.taken():
            return len(looked)

    assert [enter(), enter()] == [1, 1]
    monkeypatch.setitem(sys.modules, "came", ModuleType("came"))
    assert [enter(), enter()] == [2, 2]
    monkeypatch.delitem(sys.modules, "came")
    assert [enter(), enter()] == [3, 3]


def test_ring_attention_gets_the_chosen_kernel_and_its_log_sum_exp(ring, qkv):
    sums = Sums()
    forward, seen = watched("flash", sums)

    given = {"softmax_scale": 0.3, "dropout_p": 0.0}
    out, found = run(lambda: ring.layers[1](*qkv, **given), forward, sums)

    torch.testing.assert_close(out, attended(*qkv, 0.3))
    q, k, _ = (x.transpose(1, 2) for x in qkv)
    torch.testing.assert_close(found, (q @ k.transpose(2, 3) * 0.3).logsumexp(-1))
    assert [(one.record.active, one.place.via) for one in seen] == [("flash", VIA)]
    assert ring.kernel.given == []


def test_ring_attention_that_is_left_alone_keeps_its_own_log_sum_exp(ring, qkv):
    forward, seen = watched("host", sums := Sums())
    given = {"softmax_scale": 0.3, "dropout_p": 0.0}

    out, found = run(lambda: ring.layers[0](*qkv, **given), forward, sums)

    assert torch.equal(out, attended(*qkv, 0.3))
    assert found is ring.sums
    assert ring.kernel.given == [((), {**given, "causal": False})]
    assert [one.record.active for one in seen] == ["raylight.TORCH_FLASH"]


@pytest.mark.parametrize("args, named", [((0.1,), {}), ((), {"causal": True})])
def test_in_a_ring_too_a_call_that_no_other_kernel_can_run_is_raylights(ring, qkv, args, named):
    forward, seen = watched("flash", sums := Sums())

    out, found = run(lambda: ring.layers[0](*qkv, *args, **named), forward, sums)
    unwatched, _ = run(lambda: ring.layers[0](*qkv), None, sums)

    assert seen == []
    assert torch.equal(out, unwatched) and found is ring.sums
    told = {"softmax_scale": None, "causal": False}
    assert ring.kernel.given == [(args, {**told, **named}), ((), told)]


def test_a_ring_is_as_before_afterwards(ring):
    own = Sequence(Sums())
    for _ in range(2):
        with own.taken():
            assert getattr(ring.module, SELECT) is not ring.select
        assert getattr(ring.module, SELECT) is ring.select


def test_another_xfuser_is_refused_in_words(ring):
    delattr(ring.module, SELECT)
    sentence = "this xfuser's ring attention has no select_flash_attn_impl, needs one for another kernel to run there"
    with pytest.raises(RuntimeError, match=f"^{sentence}$"), Sequence(Sums()).taken():
        pass
