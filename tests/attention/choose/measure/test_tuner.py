"""The tuner on the CPU's two backends, and on backends made slow, wrong or broken on purpose."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.backends import BACKENDS, Backend
from wanattn.attention.call import Call, Inputs
from wanattn.attention.choose.measure import matmul, tuner
from wanattn.attention.choose.measure.matmul import MatrixProducts
from wanattn.attention.choose.measure.reference import Reference
from wanattn.attention.choose.measure.tuner import Measurement, check, describe, tune

FLASH, MATH = BACKENDS["flash"], BACKENDS["math"]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def case(tensors):
    def make(mask=None, scale=None, **facts):
        inputs = Inputs(*tensors(**facts), mask, scale)
        return Call.of(inputs.q, inputs.k, inputs.v, mask, "self"), inputs

    return make


def backend(name: str, run, tolerance=1e-3) -> Backend:
    return Backend(name, name, lambda call, environment: [], run, {torch.float32: tolerance})


def right(q, k, v, mask=None, scale=None):
    return F.scaled_dot_product_attention(q, k, v, mask, scale=scale)


def slow(seconds):
    def run(q, k, v, mask=None, scale=None):
        time.sleep(seconds)
        return right(q, k, v, mask, scale)

    return run


def broken(q, k, v, mask=None, scale=None):
    raise ValueError("kernel says no\nand much more")


def out_of_memory(q, k, v, mask=None, scale=None):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_both_cpu_backends_are_timed_and_right(case):
    call, inputs = case(q_len=256)

    found = tune(call, [FLASH, MATH], inputs)

    assert {measurement.backend for measurement in found} == {"flash", "math"}
    assert all(measurement.usable and measurement.error < 1e-5 for measurement in found)
    assert found[0].milliseconds <= found[1].milliseconds


def test_fastest_comes_first_whatever_the_order(case):
    call, inputs = case()

    found = tune(call, [backend("slow", slow(0.02)), backend("quick", right)], inputs)

    assert [measurement.backend for measurement in found] == ["quick", "slow"]


def test_clearly_slower_backend_is_timed_no_further(case):
    call, inputs = case()
    runs = []

    def counted(*arguments):
        runs.append(1)
        return slow(0.02)(*arguments)

    tune(call, [backend("quick", right), backend("slow", counted)], inputs)

    assert 2 <= len(runs) <= 3  # the first call and a measurement, or two where that was short


def test_first_call_is_shown_and_not_held_against_a_backend(case):
    call, inputs = case()
    seen = []

    def builds_a_plan(*arguments):
        if not seen:
            time.sleep(0.1)
        seen.append(1)
        return right(*arguments)

    found = tune(call, [backend("slow", slow(0.02)), backend("plan", builds_a_plan)], inputs)

    assert found[0].backend == "plan"
    assert found[0].first > 100 > found[0].milliseconds


def test_budget_leaves_the_rest_untimed(case):
    call, inputs = case()
    backends = [backend("first", slow(0.03)), backend("second", right)]

    found = tune(call, backends, inputs, forward_milliseconds=60)

    assert found[0].backend == "first" and found[0].usable
    assert found[1] == Measurement("second") and found[1].untimed


def test_tuning_stays_within_the_budget(case):
    call, inputs = case()
    runs = []

    def counted(*arguments):
        runs.append(1)
        return slow(0.005)(*arguments)

    found = tune(call, [backend(f"b{index}", counted) for index in range(30)], inputs, 100)

    assert len(runs) <= 24  # of 5 ms each; the first backend past the budget still ends its turn
    assert any(measurement.untimed for measurement in found)


@pytest.mark.parametrize(
    ("run", "refusal"),
    [
        (broken, "ValueError: kernel says no"),
        (out_of_memory, "OutOfMemoryError: CUDA out of memory"),
        (lambda *a: right(*a) * 1.1, "error 1.0e-01, needs at most 1e-03"),
        (lambda *a: right(*a).index_fill(2, torch.tensor([7]), torch.nan), "output not finite"),
    ],
    ids=["exception", "memory", "wrong", "nan outside the checked rows"],
)
def test_backend_that_must_not_be_used_is_refused(case, run, refusal):
    call, inputs = case()

    found = tune(call, [backend("bad", run), backend("good", right)], inputs)

    assert [measurement.backend for measurement in found] == ["good", "bad"]
    assert found[1].refusal == refusal and not found[1].usable


@pytest.fixture
def equally_fast(monkeypatch):
    """Every measurement gives a millisecond, however busy this machine is, so that all go through all rounds."""

    def timer(run, times, ahead=None):
        for _ in range(times):
            run()
        return 1.0

    for module in (tuner, matmul):
        monkeypatch.setattr(module, "timer_for", lambda device: timer)


@pytest.mark.parametrize("call_number", [2, 3, 5, 9, 40])
def test_backend_that_breaks_later_is_refused_and_not_called_again(case, equally_fast, call_number):
    """In the second call, in the first look, in the first round and in later ones."""
    call, inputs = case()
    runs = []

    def tires(*arguments):
        runs.append(1)
        if len(runs) >= call_number:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return right(*arguments)

    third = backend("third", right)
    found = tune(call, [backend("tires", tires), backend("good", right), third], inputs, 1000)

    assert [measurement.backend for measurement in found] == ["good", "third", "tires"]
    assert found[2].refusal == "OutOfMemoryError: CUDA out of memory"
    assert len(runs) == call_number


def test_broken_input_is_no_backend_s_fault(case):
    call, inputs = case()
    inputs.v[0, 0, 3] = torch.nan

    (measurement,) = tune(call, [backend("good", right)], inputs)

    assert measurement.usable and measurement.error is None


@pytest.mark.parametrize("scale", [None, 0.4])
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_expected_rows_know_mask_scale_and_groups(tensors, mask, scale):
    q, _, _ = tensors(q_len=50, heads=4, batch=2)
    _, k, v = tensors(q_len=30, heads=2, batch=2)
    masks = {"none": None, "bool": torch.rand(2, 1, 50, 30) > 0.3, "float": torch.randn(50, 30)}
    out = F.scaled_dot_product_attention(q, k, v, masks[mask], scale=scale, enable_gqa=True)

    expected = Reference(Inputs(q, k, v, masks[mask], scale))

    assert expected.error(out) < 1e-5
    assert expected.error(out.roll(1, dims=2)) > 0.1


def test_check_measures_the_error_without_timing(case):
    call, inputs = case()

    found = check(call, backend("off", lambda *a: right(*a) * 1.02, tolerance=0.05), inputs)

    assert found.error == pytest.approx(0.02, rel=1e-3)
    assert found.milliseconds is None and not found.refusal


def test_description_is_one_sentence(make_call):
    found = [
        Measurement("cudnn", 240.2, 300.0, 2e-3),
        Measurement("flash", 396.3, 400.0, 2e-3),
        Measurement("fa4", refusal="RuntimeError: no"),
        Measurement("efficient"),
        Measurement("fa3", 480.0, 3880.0),
    ]
    labels = {"cudnn": "cuDNN"}

    text = describe(
        make_call(q_len=82992, kv_len=82992), found, lambda name: labels.get(name, name)
    )

    assert (
        text
        == "self 82,992: cuDNN 240 ms, flash 396 ms (1.65x slower), fa3 480 ms (2.00x slower, first call 3.9 s), "
        "fa4 not used: RuntimeError: no, efficient not timed: the time of one forward was used up"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_events_time_the_device(case):
    q, k, v = (torch.randn(1, 8, 4096, 128, device="cuda").bfloat16() for _ in range(3))

    found = tune(Call.of(q, k, v, None, "self"), [FLASH, BACKENDS["efficient"]], Inputs(q, k, v))

    assert all(measurement.usable for measurement in found)


def test_budget_is_what_a_forward_takes_at_least(make_call):
    own = make_call(heads=40, q_len=32760, kv_len=32760)
    text = make_call(role="text", heads=40, q_len=32760, kv_len=512)

    assert tuner._budget(own, 0.01, 0) == tuner.LEAST_BUDGET
    for rate in (
        0,
        6.5e11,
    ):  # of matrix products on an H100, where the forward was measured: 2,498 ms
        assert 30 * 31.5 < tuner._budget(own, 31.5, rate) < 2498
        assert 30 * 0.7 < tuner._budget(text, 0.7, rate) < 2498


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_host_that_is_slow_to_queue_a_call_makes_no_kernel_slow():
    q, k, v = (torch.randn(1, 8, 2048, 128, device="cuda").bfloat16() for _ in range(3))

    def late(*arguments):
        time.sleep(0.001)
        return FLASH.run(*arguments)

    delayed = Backend("late", "late", lambda call, environment: [], late, FLASH.tolerance)
    found = tune(Call.of(q, k, v, None, "self"), [FLASH, delayed], Inputs(q, k, v))

    times = {measurement.backend: measurement.milliseconds for measurement in found}
    assert times["late"] < 0.5  # of which the host's sleep alone would be 1


def test_products_last_about_as_long_as_asked(monkeypatch):
    products = MatrixProducts(torch.device("cpu"), torch.float32, side=64)
    one = products.milliseconds(50)
    made = []
    monkeypatch.setattr(products, "multiply", lambda: made.append(1))

    products.queue(7 * one)

    assert len(made) == 7


def test_products_take_a_small_part_of_the_free_memory(monkeypatch):
    monkeypatch.setattr("wanattn.attention.choose.measure.matmul.free_memory", lambda device: 2**28)

    products = MatrixProducts(torch.device("cpu"), torch.float32)

    one = products.milliseconds(3)
    assert products.rate == products.flops / one
    assert products.flops == 2 * 1024**3  # three of 4 MiB are less than 16 MiB, three of 16 are not


@pytest.mark.parametrize("act", [tune, check])
def test_nothing_is_kept_for_a_backward_pass(case, act):
    """A model's weights may ask for gradients: finding out what is fast must not hold on to memory for them."""
    call, inputs = case()
    inputs.q.requires_grad_()
    made = []

    def seen(*arguments):
        made.append(right(*arguments))
        return made[-1]

    act(call, [backend("one", seen)] if act is tune else backend("one", seen), inputs)

    assert made and not any(out.requires_grad for out in made)
