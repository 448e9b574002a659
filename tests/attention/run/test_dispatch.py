from __future__ import annotations

import weakref

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from wanattn.attention import backends
from wanattn.attention.call import Call
from wanattn.attention.choose import policy
from wanattn.attention.choose.policy import NoBackend, Policy
from wanattn.attention.record.evidence import watch
from wanattn.attention.record.name import name_of
from wanattn.attention.record.record import OPERATORS
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward
from wanattn.attention.run.observer import Observer

CPU = torch.device("cpu")


@pytest.fixture
def forward():
    return Forward(step=3, cond="cond", wish="auto", text_len=512, recorders=[Recorder()])


@pytest.fixture
def breaking(monkeypatch):
    """Makes flash raise whatever it is given; counts how often it was asked."""
    asked = []

    def install(error):
        def run(*tensors):
            asked.append(1)
            raise error

        flash = backends.Backend("flash", "FlashAttention", lambda call, environment: [], run, {})
        monkeypatch.setitem(policy.BACKENDS, "flash", flash)
        return asked

    return install


def records(forward):
    return [record for _, record in forward.recorders[0].snapshot().calls]


@pytest.mark.parametrize(
    ("wish", "active"),
    [("auto", "flash"), ("flash", "flash"), ("efficient", "flash"), ("math", "math")],
)
def test_reported_counts_equal_what_the_profiler_counts(tensors, forward, wish, active):
    dispatcher = Dispatcher(Policy(wish))
    calls = [tensors(), tensors(kv_len=512), tensors(batch=2)]

    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as session:
        for q, k, v in calls:
            dispatcher.run(q, k, v, None, None, forward, 0)

    seen = [OPERATORS[event.name] for event in session.events() if event.name in OPERATORS]
    reported = [record.active for record in records(forward)]
    assert reported == seen == [active] * 3


def test_a_record_says_what_was_asked_what_ran_and_how_it_is_known(tensors, forward):
    Dispatcher(Policy("cudnn")).run(*tensors(kv_len=512), None, None, forward, 7)

    (record,) = records(forward)
    assert (record.requested, record.active, record.evidence) == ("cudnn", "flash", "forced")
    assert (record.step, record.block, record.cond, record.call.role) == (3, 7, "cond", "text")
    assert record.reason == "cuDNN does not exist on cpu"
    assert record.milliseconds > 0


def test_stop_raises_where_next_best_would_go_on(tensors, forward):
    with pytest.raises(NoBackend, match="cuDNN does not exist on cpu"):
        Dispatcher(Policy("cudnn", "stop")).run(*tensors(), None, None, forward, 0)

    assert records(forward) == []


def test_a_kernel_that_breaks_is_replaced_once_and_for_all(tensors, forward, breaking, caplog):
    asked = breaking(RuntimeError("no valid execution plans\nand a long trace"))
    dispatcher, (q, k, v) = Dispatcher(Policy("flash")), tensors()

    results = [dispatcher.run(q, k, v, None, None, forward, 0) for _ in range(3)]

    expected = backends.BACKENDS["math"].run(q, k, v)
    torch.testing.assert_close(results[0], expected)
    assert len(asked) == len(caplog.records) == 1
    assert caplog.records[0].exc_info
    assert {record.active for record in records(forward)} == {"math"}
    assert "flash: RuntimeError: no valid execution plans" in records(forward)[0].reason


def test_reset_gives_a_broken_kernel_another_chance(tensors, forward, breaking):
    asked = breaking(RuntimeError("out of luck"))
    dispatcher, (q, k, v) = Dispatcher(Policy("flash")), tensors()

    for _ in range(2):
        dispatcher.reset()
        dispatcher.run(q, k, v, None, None, forward, 0)

    assert len(asked) == 2


@pytest.mark.parametrize("error", [RuntimeError("no"), torch.OutOfMemoryError("out of memory")])
def test_a_kernel_that_breaks_keeps_no_tensor(tensors, forward, monkeypatch, error):
    def run(q, k, v, mask=None, scale=None):
        copy = q.clone()
        held.append(weakref.ref(copy))
        try:
            raise KeyError("inside")
        except KeyError:
            raise error  # noqa: B904  as kernels' wrappers do

    held = []
    flash = backends.Backend("flash", "FlashAttention", lambda call, environment: [], run, {})
    monkeypatch.setitem(policy.BACKENDS, "flash", flash)
    monkeypatch.setattr("wanattn.attention.run.dispatch.log.warning", lambda *given, **named: None)
    dispatcher, given = Dispatcher(Policy("flash")), tensors()
    held += map(weakref.ref, given)

    held.append(weakref.ref(dispatcher.run(*given, None, None, forward, 0)))
    del given

    assert [reference() for reference in held] == [None] * 5


def test_out_of_memory_is_the_cause_of_the_final_error(tensors, forward, breaking):
    breaking(torch.OutOfMemoryError("CUDA out of memory"))

    with pytest.raises(NoBackend, match="OutOfMemoryError: CUDA out of memory") as caught:
        Dispatcher(Policy("flash", "stop")).run(*tensors(), None, None, forward, 0)

    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def observed(observer, forward, tensors, function, name="somebody.attention"):
    q, k, v = tensors()
    call = Call.of(q, k, v, None, "self")
    return observer.run(call, lambda: function(q, k, v), name, forward, 0)


def test_an_opaque_function_is_profiled_once_a_kind(tensors, forward):
    observer = Observer()

    with torch.inference_mode():
        for _ in range(3):
            observed(observer, forward, tensors, torch.nn.functional.scaled_dot_product_attention)

    assert [(r.active, r.evidence) for r in records(forward)] == [("flash", "profiled")] * 3
    assert all(record.milliseconds > 0 for record in records(forward))
    assert "aten::scaled_dot_product_attention" in records(forward)[2].sighting.operators


def test_two_functions_with_equal_calls_are_told_apart(tensors, forward):
    observer = Observer()

    with torch.inference_mode():
        observed(observer, forward, tensors, torch.nn.functional.scaled_dot_product_attention)
        observed(observer, forward, tensors, lambda q, k, v: (q @ k.mT).softmax(-1) @ v, "other")

    assert [record.active for record in records(forward)] == ["flash", "other"]


def test_a_fickle_function_is_looked_at_in_every_step(tensors, forward):
    observer, (q, k, v) = Observer(), tensors()
    call = Call.of(q, k, v, None, "self")
    dense = torch.nn.functional.scaled_dot_product_attention

    with torch.inference_mode():
        for step in range(3):
            forward.step = step
            run = (lambda: dense(q, k, v)) if step == 0 else (lambda: (q @ k.mT).softmax(-1) @ v)
            for _ in range(2):
                observer.run(call, run, "pack.sparse", forward, 0, fickle=True)

    assert [r.active for r in records(forward)] == ["flash"] * 2 + ["pack.sparse"] * 4


def test_a_function_without_sdpa_keeps_its_name(tensors, forward):
    observed(Observer(), forward, tensors, lambda q, k, v: (q @ k.mT).softmax(-1) @ v)

    assert records(forward)[0].active == "somebody.attention"


def test_a_profiler_already_at_work_is_left_alone(tensors, forward):
    with profile(activities=[ProfilerActivity.CPU]) as session:
        observed(Observer(), forward, tensors, lambda q, k, v: (q @ k.mT).softmax(-1) @ v)

    assert records(forward)[0].evidence == "host"
    assert any(event.name == "aten::matmul" for event in session.events())


def test_a_call_that_our_override_took_is_not_counted_twice(tensors, forward):
    dispatcher = Dispatcher(Policy("math"))

    observed(
        Observer(),
        forward,
        tensors,
        lambda q, k, v: dispatcher.run(q, k, v, None, None, forward, 0),
    )

    assert [(r.active, r.evidence) for r in records(forward)] == [("math", "forced")]


def test_an_error_under_the_profiler_comes_through():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        watch(fail, CPU)
    _, sighting = watch(lambda: torch.ones(1) + 1, CPU)
    assert "aten::add" in sighting.operators


def attention_sub_quad():
    """Named as the host names its own."""


def test_functions_are_named_for_people():
    assert name_of(attention_sub_quad) == "sub_quad"
    assert name_of(Observer().reset) == "observer.Observer.reset"
    assert name_of(Observer()) == "observer.Observer"
    assert name_of(lambda: None) == "test_dispatch.test_functions_are_named_for_people.<lambda>"


@pytest.mark.parametrize("folder", ["/opt/comfyui/custom_nodes", "C:\\me\\custom_nodes"])
def test_names_hold_no_path_of_the_machine(folder):
    def fast_attention():
        pass

    fast_attention.__qualname__ = "fast_attention"
    fast_attention.__module__ = folder + folder[-13] + "Pack"

    assert name_of(fast_attention) == "Pack.fast_attention"
