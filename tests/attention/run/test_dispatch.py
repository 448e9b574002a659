from __future__ import annotations

import threading
import time
import weakref

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.profiler import ProfilerActivity, profile
from wanattn.attention import backends
from wanattn.attention.choose.measure.timings import Timings
from wanattn.attention.choose.policy import NoBackend, Policy
from wanattn.attention.choose.rules import Rule
from wanattn.attention.record.evidence import watch
from wanattn.attention.record.name import name_of
from wanattn.attention.record.record import OPERATORS
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward
from wanattn.tests.fixtures import attend

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
        monkeypatch.setitem(backends.BACKENDS, "flash", flash)
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
            attend(dispatcher, (q, k, v), forward, 0)

    seen = [OPERATORS[event.name] for event in session.events() if event.name in OPERATORS]
    reported = [record.active for record in records(forward)]
    assert reported == seen == [active] * 3


def test_a_record_says_what_was_asked_what_ran_and_how_it_is_known(tensors, forward):
    attend(Dispatcher(Policy("cudnn")), tensors(kv_len=512), forward, 7)

    (record,) = records(forward)
    assert (record.requested, record.active, record.evidence) == ("cudnn", "flash", "forced")
    assert (record.step, record.block, record.cond, record.call.role) == (3, 7, "cond", "text")
    assert record.reason == "cuDNN does not exist on cpu"
    assert record.milliseconds > 0


def test_stop_raises_where_next_best_would_go_on(tensors, forward):
    with pytest.raises(NoBackend, match="cuDNN does not exist on cpu"):
        attend(Dispatcher(Policy("cudnn", "stop")), tensors(), forward, 0)

    assert records(forward) == []


def test_a_kernel_that_breaks_is_replaced_once_and_for_all(tensors, forward, breaking, caplog):
    asked = breaking(RuntimeError("no valid execution plans\nand a long trace"))
    dispatcher, (q, k, v) = Dispatcher(Policy("flash")), tensors()

    results = [attend(dispatcher, (q, k, v), forward, 0) for _ in range(3)]

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
        attend(dispatcher, (q, k, v), forward, 0)

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
    monkeypatch.setitem(backends.BACKENDS, "flash", flash)
    monkeypatch.setattr("wanattn.attention.choose.plan.log.warning", lambda *given, **named: None)
    dispatcher, given = Dispatcher(Policy("flash")), tensors()
    held += map(weakref.ref, given)

    held.append(weakref.ref(attend(dispatcher, given, forward)))
    del given

    assert [reference() for reference in held] == [None] * 5


def test_out_of_memory_is_the_cause_of_the_final_error(tensors, forward, breaking):
    breaking(torch.OutOfMemoryError("CUDA out of memory"))

    with pytest.raises(NoBackend, match="OutOfMemoryError: CUDA out of memory") as caught:
        attend(Dispatcher(Policy("flash", "stop")), tensors(), forward, 0)

    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


SDPA = torch.nn.functional.scaled_dot_product_attention


def by_hand(q, k, v):
    return (q @ k.mT).softmax(-1) @ v


@pytest.fixture
def watcher():
    return Dispatcher(Policy("host"), watches=True)


@pytest.fixture
def forward_of_nobody():
    """A forward that no Attention Backend of ours is part of."""
    return Forward(step=3, cond="cond", text_len=512, recorders=[Recorder()])


def test_an_opaque_function_is_profiled_once_a_kind(tensors, watcher, forward_of_nobody):
    with torch.inference_mode():
        for _ in range(3):
            attend(watcher, tensors(), forward_of_nobody, leave=SDPA)

    found = records(forward_of_nobody)
    assert [(r.requested, r.active, r.evidence) for r in found] == [
        ("host", "flash", "profiled")
    ] * 3
    assert all(record.milliseconds > 0 for record in found)
    assert "aten::scaled_dot_product_attention" in found[2].sighting.operators


def test_host_is_a_choice_like_any_other(tensors, forward_of_nobody):
    dispatcher, given = (
        Dispatcher(Policy("host"), rules=[Rule.parse("text", "", "", "math")]),
        tensors(),
    )

    left = attend(dispatcher, given, forward_of_nobody, leave=by_hand)
    attend(dispatcher, tensors(kv_len=512), forward_of_nobody)

    assert torch.equal(left, by_hand(*given))
    found = [(r.requested, r.active, r.evidence) for r in records(forward_of_nobody)]
    assert found == [("host", "test_dispatch.by_hand", "host"), ("math", "math", "forced")]


def test_what_was_wired_after_a_backend_is_told_as_the_reason(tensors, watcher, forward):
    attend(watcher, tensors(), forward, leave=by_hand)

    (record,) = records(forward)
    assert (record.requested, record.active) == ("auto", "test_dispatch.by_hand")
    assert (
        record.reason == "test_dispatch.by_hand was wired after Attention Backend and took the call"
    )


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"asked": "sparse", "remark": "as its node says"}, ("sparse", "as its node says")),
        ({"asked": "sparse", "left": "no tensors"}, ("sparse", "no tensors")),
        ({"remark": "as its node says"}, ("host", "")),
    ],
)
def test_a_call_that_nobody_chooses_for_is_told_with_what_its_model_asked_for(
    tensors, watcher, forward_of_nobody, place, told
):
    attend(watcher, tensors(), forward_of_nobody, leave=by_hand, **place)

    (record,) = records(forward_of_nobody)
    assert (record.requested, record.reason) == told


def test_what_its_model_asked_for_is_not_told_of_a_call_that_is_chosen_for(tensors, forward):
    attend(
        Dispatcher(Policy("math")), tensors(), forward, asked="sparse", remark="as its node says"
    )

    (record,) = records(forward)
    assert (record.requested, record.reason) == ("math", "")


def test_what_its_model_asked_for_gives_way_to_a_backend_that_is_wished_for(
    tensors, watcher, forward
):
    attend(watcher, tensors(), forward, leave=by_hand, asked="sparse")

    (record,) = records(forward)
    assert record.requested == "auto"


def above(watcher, within, forward, given, change=lambda result: result, again=False):
    """Another pack's function, which calls ours within, as the override and the names of the host see it."""

    def another(q, k, v):
        result = attend(within, (q, k, v), forward)
        forward.gave = weakref.ref(result)
        if again:
            forward.within += 1
            SDPA(q, k, v)
        return change(result)

    return attend(watcher, given, forward, leave=another)


def test_what_another_pack_passes_on_of_ours_is_told_once_and_without_a_sentence(
    tensors, watcher, forward
):
    above(watcher, Dispatcher(Policy("math")), forward, tensors(), again=True)

    assert watcher.notes == []
    assert [record.active for record in records(forward)] == ["math"]


def test_that_another_pack_gives_something_else_than_ours_is_a_sentence(tensors, watcher, forward):
    above(watcher, Dispatcher(Policy("math")), forward, tensors(), change=torch.neg)

    name = "test_dispatch.above.another"
    assert watcher.notes == [
        f"{name} asks Attention Backend and gives the model something else than it gave"
    ]
    assert [record.active for record in records(forward)] == ["math"]


def test_what_another_pack_ran_beside_ours_is_told_without_a_time(tensors, watcher, forward):
    with torch.inference_mode():
        above(watcher, Dispatcher(Policy("math")), forward, tensors(), torch.neg, again=True)

    within, beside = records(forward)
    assert (within.active, beside.active) == ("math", "flash")
    assert beside.reason.endswith("ran this beside what Attention Backend ran for the same call")
    assert within.milliseconds > 0 and beside.milliseconds is None


def test_two_functions_with_equal_calls_are_told_apart(tensors, watcher, forward_of_nobody):
    with torch.inference_mode():
        attend(watcher, tensors(), forward_of_nobody, leave=SDPA)
        attend(watcher, tensors(), forward_of_nobody, leave=by_hand)

    found = [record.active for record in records(forward_of_nobody)]
    assert found == ["flash", "test_dispatch.by_hand"]


def test_what_two_models_asked_for_of_one_function_is_told_apart(
    tensors, watcher, forward_of_nobody
):
    told = [("sparse", "as its node says"), ("sparse", "in its last step"), ("whole", "")]
    for asked, remark in told:
        attend(watcher, tensors(), forward_of_nobody, leave=by_hand, asked=asked, remark=remark)

    assert [(one.requested, one.reason) for one in records(forward_of_nobody)] == told


def test_a_fickle_function_is_looked_at_in_every_step(tensors, watcher, forward_of_nobody):
    forward = forward_of_nobody

    def changing(q, k, v):
        return SDPA(q, k, v) if forward.step == 0 else by_hand(q, k, v)

    with torch.inference_mode():
        for step in range(3):
            forward.step = step
            for _ in range(2):
                attend(watcher, tensors(), forward, leave=changing, fickle=True)

    names = [record.active.rpartition(".")[2] for record in records(forward)]
    assert names == ["flash"] * 2 + ["changing"] * 4


def test_a_function_without_an_operator_of_torch_is_not_told_as_profiled(
    tensors, watcher, forward_of_nobody
):
    attend(watcher, tensors(), forward_of_nobody, leave=by_hand)

    (record,) = records(forward_of_nobody)
    assert (record.active, record.evidence) == ("test_dispatch.by_hand", "host")
    assert "aten::matmul" in record.sighting.operators


def test_a_profiler_already_at_work_is_left_alone(tensors, watcher, forward_of_nobody):
    with profile(activities=[ProfilerActivity.CPU]) as session:
        attend(watcher, tensors(), forward_of_nobody, leave=by_hand)

    assert records(forward_of_nobody)[0].evidence == "host"
    assert any(event.name == "aten::matmul" for event in session.events())


def test_a_call_that_our_override_took_is_not_counted_twice(tensors, watcher, forward):
    dispatcher = Dispatcher(Policy("math"))

    attend(watcher, tensors(), forward, leave=lambda *given: attend(dispatcher, given, forward))

    assert [(r.active, r.evidence) for r in records(forward)] == [("math", "forced")]


@pytest.mark.parametrize("captures", [False, True])
def test_an_exception_that_cannot_be_written_ends_no_run(tensors, forward, breaking, captures):
    class Mute(Exception):
        def __str__(self):
            raise ValueError("no words")

    breaking(Mute())
    told = []
    forward.captures += [told.append] if captures else []
    attend(Dispatcher(Policy("flash")), tensors(), forward)

    (record,) = records(forward)
    assert record.active == "math" and "flash: Mute" in record.reason
    assert len(told) == captures


def test_an_interrupt_that_is_an_exception_is_no_failure_of_a_kernel(tensors, forward, breaking):
    class Interrupt(Exception):
        pass

    asked = breaking(Interrupt())
    dispatcher = Dispatcher(Policy("flash"), passing=(Interrupt,))

    for _ in range(2):
        with pytest.raises(Interrupt):
            attend(dispatcher, tensors(), forward)

    assert len(asked) == 2 and records(forward) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.ones(1, 2, 64, 128, dtype=torch.int64), "gave a tensor of int64, needs floats"),
        (torch.ones(1, 2, 64, 128, device="meta"), "gave a tensor on meta, needs cpu"),
        (torch.ones(1, 2, 64), "gave a tensor of shape"),
        ("nothing", "gave str, needs a tensor"),
    ],
)
def test_what_no_attention_gives_never_reaches_the_model(tensors, forward, given, words):
    odd = backends.Backend("flash", "odd", lambda call, environment: [], lambda *_: given, {})
    dispatcher = Dispatcher(Policy("flash"), backends={**backends.BACKENDS, "flash": odd})

    result = attend(dispatcher, tensors(), forward)

    assert result.dtype == torch.float32 and result.device == CPU
    (record,) = records(forward)
    assert record.active == "math" and words in record.reason


def test_an_interrupt_while_auto_measures_leaves_nothing_half_decided(tensors, forward, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    dispatcher = Dispatcher(Policy("auto"), timings_of=lambda device: Timings(None, "card"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dispatcher._measurements, "of", interrupted)
        attend(dispatcher, tensors(), forward)

    attend(dispatcher, tensors(), forward)

    assert len(records(forward)) == 1


def test_threads_wait_for_the_one_that_decides(tensors, monkeypatch):
    """Each has a forward of its own, as the host's threads have."""
    dispatcher = Dispatcher(Policy("flash"))
    make, made = dispatcher._plans.make, []

    def slow(*given):
        made.append(1)
        time.sleep(0.05)
        return make(*given)

    monkeypatch.setattr(dispatcher._plans, "make", slow)
    recorder, given, failed = Recorder(), tensors(), []

    def work():
        try:
            attend(dispatcher, given, Forward(recorders=[recorder]))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (failed, len(made)) == ([], 1)
    assert [record.active for _, record in recorder.snapshot().calls] == ["flash"] * 8


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
    assert name_of(Recorder().reset) == "recorder.Recorder.reset"
    assert name_of(Recorder()) == "recorder.Recorder"
    assert name_of(lambda: None) == "test_dispatch.test_functions_are_named_for_people.<lambda>"


@pytest.mark.parametrize("folder", ["/opt/comfyui/custom_nodes", "C:\\me\\custom_nodes"])
def test_names_hold_no_path_of_the_machine(folder):
    def fast_attention():
        pass

    fast_attention.__qualname__ = "fast_attention"
    fast_attention.__module__ = folder + folder[-13] + "Pack"

    assert name_of(fast_attention) == "Pack.fast_attention"


def test_a_run_whose_steps_are_not_known_refuses_no_rule():
    dispatcher = Dispatcher(Policy("flash"), rules=[Rule.parse("any", "", "9", "math")])

    dispatcher.reset()

    with pytest.raises(ValueError, match="9"):
        dispatcher.reset(4)


@pytest.mark.parametrize("which", range(3))
def test_a_layout_that_a_kernel_would_misread_is_met_anew_among_calls_of_its_shape(
    tensors, forward, which
):
    """The layout of Wan, tokens before heads, and one with as long a way to the next token whose head_dim has gaps."""
    usual = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in tensors()]
    apart = list(usual)
    apart[which] = torch.stack([apart[which]] * 2, dim=-1).flatten(3)[..., ::2]
    assert apart[which].stride(2) == usual[which].stride(2)
    dispatcher = Dispatcher(Policy("flash"))

    results = [attend(dispatcher, operands, forward) for operands in (usual, apart, usual)]

    assert [record.active for record in records(forward)] == ["flash", "math", "flash"]
    torch.testing.assert_close(results[1], results[0])


def test_layouts_whose_strides_come_to_the_same_are_told_apart(tensors, forward):
    """A query with gaps beside a key that is one channel all along."""
    q, k, v = tensors()
    gapped = torch.stack([q] * 2, dim=-1).flatten(3)[..., ::2]
    flat = k[..., :1].expand(k.shape)
    assert gapped.stride(3) + flat.stride(3) == q.stride(3) + k.stride(3)
    dispatcher = Dispatcher(Policy("flash"))

    attend(dispatcher, (q, k, v), forward)
    result = attend(dispatcher, (gapped, flat, v), forward)

    assert [record.active for record in records(forward)] == ["flash", "math"]
    torch.testing.assert_close(result, sdpa(q, flat.contiguous(), v))


def test_without_timings_nothing_was_spent_on_finding_out(tensors, forward):
    dispatcher = Dispatcher(Policy("flash"))
    attend(dispatcher, tensors(), forward)

    assert dispatcher.tuning == 0.0


def test_a_call_within_a_call_knows_where_it_is(tensors, forward, monkeypatch):
    inside = []

    def run(q, *rest):
        inside.append(forward.inside)
        return q

    flash = backends.Backend("flash", "FlashAttention", lambda call, environment: [], run, {})
    monkeypatch.setitem(backends.BACKENDS, "flash", flash)

    attend(Dispatcher(Policy("flash")), tensors(), forward)

    assert inside == [True] and not forward.inside


def test_where_all_is_left_to_the_host_there_is_nothing_to_choose():
    rules = [Rule.parse("any", "", "", name) for name in ("math", "host")]
    known = [
        Dispatcher(Policy("host")),
        Dispatcher(Policy("host"), rules=rules[:1]),
        Dispatcher(Policy("flash"), rules=rules[1:]),
        Dispatcher(Policy("flash")),
    ]

    assert [each.chooses for each in known] == [False, True, True, True]
    assert [each.leaves for each in known] == [True, True, True, False]
