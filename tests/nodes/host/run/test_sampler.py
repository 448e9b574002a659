"""Where a sampler is, by its own loop, by its callback or by the noise level, and whose conditionings a batch holds."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from wanattn.nodes.host.run.sampler import Sampler

SIGMAS = [1.0, 0.6, 0.3, 0.0]
MASK, ZERO = object(), object()


def in_loop(sigmas, i, ask: Callable):
    """As a sampler's own code: a loop over noise levels, and the number of its step."""
    return ask()


def deeper(frames: int, ask: Callable):
    return deeper(frames - 1, ask) if frames else ask()


def in_thread(ask: Callable) -> list:
    found: list = []
    thread = threading.Thread(target=lambda: found.append(ask()))
    thread.start()
    thread.join()
    return found


@pytest.mark.parametrize(
    ("sigmas", "steps"),
    [(None, 0), ([], 0), ([1.0], 0), ([1.0, 0.0], 1), (SIGMAS, 3), ([*SIGMAS, 0.0], 4)],
)
def test_a_run_has_a_step_from_each_noise_level_to_the_next(sigmas, steps):
    assert Sampler(None, sigmas).steps == steps


@pytest.mark.parametrize(
    ("sigmas", "met", "steps"),
    [
        (SIGMAS, [1.0, 1.0, 0.6, 0.3], [0, 0, 1, 2]),
        ([1.0, 0.5, 1.0, 0.5, 0.0], [1.0, 0.5, 0.5, 1.0, 0.5], [0, 1, 1, 2, 3]),
        ([1.0, 0.5, 0.0], [0.5, 1.0], [1, 0]),
        ([1.0, 0.5, 0.5, 0.2, 0.0], [0.2, 0.5, 0.5], [3, 1, 1]),
        ([0.5, 1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0, 1, 2]),
        (SIGMAS, [0.01, 0.0], [2, 2]),
        ([1.0, 0.0], [0.2], [0]),
        ([], [1.0], [None]),
    ],
    ids=[
        "plain",
        "levels that come back",
        "backwards",
        "backwards to two alike",
        "first of two alike",
        "no step begins at the last level",
        "one step",
        "unknown",
    ],
)
def test_a_sampler_without_a_loop_to_see_goes_by_the_noise_level(sigmas, met, steps):
    sampler, found = Sampler(None, sigmas), []
    found += map(sampler.step, met)  # not in a loop of this function

    assert found == steps
    assert sampler.guessed == bool(sigmas)


@pytest.mark.parametrize(
    ("told", "sigma", "step"), [(0, 1.0, 0), (1, 1.0, 1), (1, 0.3, 2), (2, 1.0, 2), (9, 1.0, 2)]
)
def test_a_step_that_the_callback_told_is_not_left_for_an_earlier_one(told, sigma, step):
    """Some samplers count more steps of their own than the run has; they stay in its last."""
    sampler = Sampler(None, SIGMAS)
    _, heard = sampler.heard((), {})
    heard["callback"](told)

    assert sampler.step(sigma) == step


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((), {"denoise_mask": MASK, "callback": True}),
        ((MASK,), {"callback": True}),
        ((MASK, None), {}),
        ((MASK, True), {"disable_pbar": False}),
        ((MASK, True, ZERO), {}),
        ((MASK, True, ZERO, False, 7), {}),
    ],
)
def test_a_callback_is_heard_wherever_it_is_given_and_called_as_before(args, kwargs):
    calls, given = [], ("x0", "x")

    def callback(*heard, **named):
        calls.append((heard, named))
        return "answer"

    args, kwargs = tuple(callback if a is True else a for a in args), dict(kwargs)
    asked = callback in args or "callback" in kwargs
    kwargs |= {"callback": callback} if "callback" in kwargs else {}
    sampler = Sampler(None, SIGMAS)

    told_args, told_kwargs = sampler.heard(args, kwargs)
    told = told_kwargs["callback"] if len(args) < 2 else told_args[1]
    answer = told(1, *given, total=3)

    assert told_args == (args[:1] if len(args) < 2 else (MASK, told, *args[2:]))
    assert {**told_kwargs, "callback": None} == {**kwargs, "callback": None}
    assert ("callback" in told_kwargs) == (len(args) < 2)
    assert (answer, calls) == (("answer", [((1, *given), {"total": 3})]) if asked else (None, []))
    assert sampler.step(1.0) == 1


@pytest.mark.parametrize(
    ("levels", "number", "expected"),
    [
        (SIGMAS, 0, 0),
        (SIGMAS, 1, 1),
        (SIGMAS, 2, 2),
        (SIGMAS, 3, 1),
        (SIGMAS, 4, 1),
        (SIGMAS, -1, 1),
        (SIGMAS, 2.5, 1),
        (SIGMAS, None, 1),
        ([1.0, 0.0], 0, 0),
        ([1.0, 0.0], 1, 0),
        ([], 0, 0),
        ([], 1, None),
    ],
)
def test_the_loop_decides_where_its_number_is_one_of_a_step(levels, number, expected):
    """Else the noise level does: 0.6, that of step 1 of three."""
    sampler = Sampler(None, levels)

    assert in_loop(levels, number, lambda: sampler.step(0.6)) == expected
    assert sampler.guessed == (bool(levels) and number not in range(len(levels) - 1))


def test_a_sampler_whose_own_code_asks_is_seen():
    sampler = Sampler(None, SIGMAS)

    def own(sigmas, i):
        return sampler.step(1.0)

    assert own(SIGMAS, 2) == 2
    assert in_loop(SIGMAS, 1, lambda: own(SIGMAS, 2)) == 2


def test_a_loop_is_not_one_of_noise_levels_without_them():
    sampler = Sampler(None, SIGMAS)

    def loop(i):
        return sampler.step(0.3)

    assert loop(0) == 2 and sampler.guessed


def test_a_loop_is_looked_for_a_hundred_frames_up():
    sampler = Sampler(None, SIGMAS)

    def ask():
        return sampler.step(1.0)

    # between them stand `ask` and the last call of `deeper`
    assert in_loop(SIGMAS, 2, lambda: deeper(96, ask)) == 2
    assert in_loop(SIGMAS, 2, lambda: deeper(97, ask)) == 0


def test_a_thread_for_another_device_is_where_the_sampler_waits_for_it():
    def looking(sigmas):
        sampler, found = Sampler(None, sigmas), []
        for i in range(3):  # noqa: B007  what is looked for
            found += in_thread(lambda: sampler.step(1.0))
        return found

    assert looking(SIGMAS) == [0, 1, 2]


def test_a_sampler_in_a_thread_is_found_from_the_first():
    made, done = threading.Event(), threading.Event()
    samplers: list[Sampler] = []

    def sample(sigmas, i):
        samplers.append(Sampler(None, sigmas))
        made.set()
        assert done.wait(10)

    thread = threading.Thread(target=sample, args=(SIGMAS, 2))
    thread.start()
    assert made.wait(10)
    step = samplers[0].step(1.0)
    done.set()
    thread.join()

    assert step == 2


def guider(**conds) -> SimpleNamespace:
    """With conditionings by name, each of parts with these identities."""
    parts = {name: [{"uuid": uuid} for uuid in uuids] for name, uuids in conds.items()}
    return SimpleNamespace(conds=parts)


def batch(*parts: tuple) -> dict:
    uuids, positions = zip(*parts, strict=True)
    return {"uuids": list(uuids), "cond_or_uncond": list(positions)}


CFG = guider(positive="a", negative="b")
AREAS = guider(positive="ac", negative="bc")  # c lies beneath both


@pytest.mark.parametrize(
    ("conds", "batches", "told"),
    [
        (CFG, [batch(("a", 0), ("b", 1))], ["positive+negative"]),
        (CFG, [batch(("b", 0)), batch(("a", 1))], ["negative", "positive"]),
        (CFG, [batch(("a", 0), ("a", 0), ("b", 1))], ["positive+negative"]),
        (CFG, [batch(("x", 0), ("y", 2))], ["positive+2"]),
        (guider(middle="m", positive="a"), [batch(("m", 1), ("a", 0))], ["middle+positive"]),
        (AREAS, [batch(("a", 0), ("c", 1))], ["positive+negative"]),
        (AREAS, [batch(("c", 0), ("b", 1))], ["positive+negative"]),
        (AREAS, [batch(("b", 0), ("a", 1)), batch(("c", 0))], ["negative+positive", "negative"]),
        (AREAS, [batch(("c", 5))], ["positive"]),
        (None, [batch(("a", 0), ("b", 1), ("c", 2))], ["positive+negative+2"]),
        (SimpleNamespace(conds={"positive": None}), [batch(("a", 1))], ["negative"]),
        (SimpleNamespace(conds={"odd": ["x", {"uuid": "a"}]}), [batch(("a", 1))], ["odd"]),
        (CFG, [{"cond_or_uncond": [1, 0]}], ["negative+positive"]),
        (CFG, [{"uuids": ["a", "b"], "cond_or_uncond": [0]}], ["positive"]),
        (CFG, [{}, {"uuids": None, "cond_or_uncond": None}], ["", ""]),
    ],
)
def test_conditionings_are_told_by_the_names_that_the_guider_gives_them(conds, batches, told):
    sampler = Sampler(conds)
    assert [sampler.cond(options) for options in batches] == told


def test_a_conditioning_that_comes_in_the_middle_of_a_run_is_asked_for():
    changing = guider(positive="a")
    sampler = Sampler(changing)
    before = sampler.cond(batch(("a", 0)))
    changing.conds |= guider(late="z").conds

    assert (before, sampler.cond(batch(("z", 0)))) == ("positive", "late")


def test_a_run_that_is_over_holds_no_guider():
    sampler = Sampler(CFG, SIGMAS)
    sampler.cond(batch(("a", 0)))
    sampler.over()

    assert sampler.cond(batch(("a", 1))) == "negative"
    assert sampler.steps == 3
