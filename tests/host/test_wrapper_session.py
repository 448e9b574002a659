"""When a run of WanVideoWrapper's samplers begins and how it ends, and what its taps are told meanwhile."""

from __future__ import annotations

import threading
import weakref

import pytest
import torch
from wanattn.attention.run.follow import current
from wanattn.tests.host import wrapper_imitation as imitation
from wanattn.tests.host.wrapper_imitation import TEXT, tokens


class Tap:
    """Notes what it is told. `wish` is the backend that it was asked for."""

    def __init__(self, told: list, name: str = "tap", wish: str = "") -> None:
        self.told, self.name, self.wish = told, name, wish
        self.takes_over = False
        self.taker = self
        self.asked = 0

    def run(self, given, place, forward):
        self.asked += 1
        forward.inside = True
        result = given.leave()
        forward.inside = False
        return result

    def began(self, session, steps, device, compiled):
        self.told.append((self.name, "began", steps, str(device), compiled))

    def joined(self, forward, overruled):
        self.told.append((self.name, "joined", forward.step, overruled))

    def forwarded(self):
        self.told.append((self.name, "forwarded"))

    def failed(self, error):
        self.told.append((self.name, "failed", str(error)))

    def ended(self, session, state):
        self.told.append((self.name, "ended", state))


@pytest.fixture
def told():
    return []


@pytest.fixture
def model(comfy):
    return imitation.transformer()


@pytest.fixture
def session(comfy, told):
    from wanattn.nodes.wrapper.session import Session

    return Session([Tap(told)])


def ask(session, model, step=0, latents=1, text=None, **named):
    """One forward, by `session` as the model."""
    given = [tokens()[0] for _ in range(latents)]
    text = tokens(TEXT) if text is None else text
    return session.call(model, (given, text), {"current_step": step, **named})


class Broken(torch.nn.Module):
    """In the place of a block: raises what it is made with."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, x, text):
        raise self.error


class Asking(Broken):
    """In the place of a block: keeps the forward that it is in."""

    def __init__(self) -> None:
        super().__init__(ValueError())
        self.known: list = []

    def forward(self, x, text):
        self.known.append(current())
        return x


def test_a_run_begins_with_its_first_forward_and_ends_once(session, model, told):
    session.end()
    assert told == []
    model.main_device = "cuda:1"
    model.blocks[0]._modules["_orig_mod"] = torch.nn.Identity()
    timesteps = [1000, 600, 300, 100]
    for step in range(len(timesteps)):
        ask(session, model, step)
    session.end()
    session.end("failed")

    run = [("tap", "joined", 0, False), ("tap", "forwarded")]
    steps = [
        (*each[:2], step, *each[3:]) if len(each) > 2 else each for step in range(4) for each in run
    ]
    assert told == [("tap", "began", 4, "cuda:1", True), *steps, ("tap", "ended", "finished")]


def test_the_next_forward_after_an_end_begins_another_run(session, model, told):
    ask(session, model)
    session.end("interrupted")
    ask(session, model)
    session.end()

    kinds = [each[1] for each in told]
    assert kinds == ["began", "joined", "forwarded", "ended"] * 2
    assert told[0] == ("tap", "began", 0, "cpu", False)
    assert [each[2] for each in told if each[1] == "ended"] == ["interrupted", "finished"]


@pytest.mark.parametrize(
    ("steps", "last", "state"),
    [
        (4, 0, "interrupted"),
        (4, 2, "interrupted"),
        (4, 3, "finished"),
        (4, None, "finished"),
        (0, 0, "finished"),
        (0, 7, "finished"),
    ],
)
def test_a_run_that_misses_its_last_step_was_interrupted(session, model, told, steps, last, state):
    timesteps = [1000] * steps or None
    ask(session, model, last)
    session.end()

    assert (told[0][2], told[-1][2]) == (len(timesteps or ()), state)


def test_steps_are_counted_in_the_sampler_that_asks(model, told):
    from wanattn.nodes.wrapper.session import Session

    def inner(session, timesteps):
        return ask(session, model)

    def counted(timesteps):
        session = Session([Tap(told)])
        inner(session, "no levels")
        session.end()

    def closing(timesteps):
        def asking():
            return len(timesteps), ask(session, model)

        session = Session([Tap(told)])
        asking()
        session.end()

    for given in ([3, 2, 1], (2, 1), torch.ones(5), None):
        counted(given)
    closing([3, 2, 1])
    assert [each[2] for each in told if each[1] == "began"] == [3, 2, 5, 0, 3]


def test_a_sampler_far_up_is_found_and_none_is_no_error(model, told):
    from wanattn.nodes.wrapper.session import Session

    def deep(session, frames):
        return deep(session, frames - 1) if frames else ask(session, model)

    def sampler():
        timesteps = [2, 1]
        deep(Session([Tap(told)]), 60)
        return timesteps

    sampler()
    alone = threading.Thread(target=lambda: ask(Session([Tap(told)]), model))
    alone.start()
    alone.join()
    assert [each[2] for each in told if each[1] == "began"] == [2, 0]


@pytest.mark.parametrize(("kind", "state"), [(ValueError, "failed"), (KeyboardInterrupt, "failed")])
def test_only_an_error_is_told_as_a_failure(session, model, told, kind, state):
    model.blocks[1] = Broken(kind("no luck"))
    with pytest.raises(kind):
        ask(session, model)

    failed = [("tap", "failed", "no luck")] if kind is ValueError else []
    assert told[2:] == [*failed, ("tap", "ended", state), ("tap", "forwarded")]


def test_an_interrupt_is_no_failure(session, model, told):
    from comfy.model_management import InterruptProcessingException

    model.blocks[1] = Broken(InterruptProcessingException())
    with pytest.raises(InterruptProcessingException):
        ask(session, model)

    assert told[2:] == [("tap", "ended", "interrupted"), ("tap", "forwarded")]


def test_the_last_tap_that_wishes_decides_and_ends_are_told_from_behind(model, told):
    from wanattn.nodes.wrapper.session import Session

    wishes = {"first": "math", "second": "flash", "third": "", "fourth": ""}
    taps = [Tap(told, name, wish) for name, wish in wishes.items()]
    model.blocks[0] = asking = Asking()
    session = Session(taps)
    ask(session, model)
    session.end()
    watching = Session(taps[2:])
    ask(watching, model)

    assert [each.taker.name for each in asking.known] == ["second", "fourth"]
    assert [each.chooses for each in asking.known] == [True, False]
    assert [each[0] for each in told if each[1] == "ended"] == [
        "fourth",
        "third",
        "second",
        "first",
    ]
    assert told[4:8] == [
        ("first", "joined", 0, True),
        ("second", "joined", 0, False),
        ("third", "joined", 0, True),
        ("fourth", "joined", 0, True),
    ]


@pytest.mark.parametrize(("wish", "asked"), [("", 0), ("math", 4)])
def test_compiled_code_asks_only_whoever_chooses(model, told, monkeypatch, wish, asked):
    from wanattn.nodes.wrapper.session import Session

    tap = Tap(told, wish=wish)
    with monkeypatch.context() as traced:
        traced.setattr(torch.compiler, "is_compiling", lambda: True)
        ask(Session([tap]), model)

    assert tap.asked == asked


@pytest.mark.parametrize(("clip", "image"), [(torch.zeros(1, 257, 1280), 257), (None, None)])
def test_a_forward_knows_its_lengths_and_conditions(model, session, clip, image):
    model.blocks[0] = asking = Asking()
    model.forward = lambda x, text, **named: type(model).forward(model, x, text)
    ask(session, model, 5, is_uncond=True, clip_fea=clip, audio_proj={})

    (known,) = asking.known
    facts = known.step, known.cond, known.text_len, known.image_len, known.other, known.forced
    assert facts == (5, "negative", TEXT, image, "audio", frozenset())
    assert current() is None


def test_forwards_that_are_alike_know_what_the_first_found(model, session):
    model.blocks[0] = asking = Asking()
    model.forward = lambda x, text, **named: type(model).forward(model, x, text)
    for audio in (None, None, {}):
        ask(session, model, audio_proj=audio)

    first, again, other = (each.known for each in asking.known)
    assert first is again and first is not other and first


def test_the_end_of_a_sampler_ends_the_run_and_the_end_of_the_process_does_not(
    comfy, told, model, monkeypatch
):
    from wanattn.nodes.wrapper.session import opened

    made = []

    class Noted(weakref.finalize):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(weakref, "finalize", Noted)
    view = torch.nn.Identity()
    call = opened([Tap(told)])(view)
    call(model, ([tokens()[0]], tokens(TEXT)), {"current_step": 0})
    assert [each.atexit for each in made] == [False]
    del view
    assert told[-1] == ("tap", "ended", "finished")
