"""Settings on Raylight's actors, without Ray: what each rank is asked, in which order, and what is told of it."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
from wanattn.tests.host.local_actors import Actor, Ray


class Entry:
    """In the place of a function that an actor is sent: answers without a model."""

    answers: dict
    name: str

    def __init__(self, name: str, answers: dict) -> None:
        self.name = name
        self._answers = answers

    def __call__(self, model, *given):
        answer = self._answers.get((self.name, model), self._answers.get(self.name))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __repr__(self) -> str:
        return self.name


@pytest.fixture
def answers(comfy, monkeypatch):
    """What the ranks answer, by what they are asked, or by that and the rank."""
    from wanattn.nodes.raylight import actors

    answers: dict = {"ready": {"model": True}, "take": {"payload": 1}}
    monkeypatch.setitem(sys.modules, "ray", Ray)
    monkeypatch.setattr(actors, "sent", lambda name: Entry(name, answers))
    return answers


@pytest.fixture
def ranks():
    return [Actor(str(rank), rank) for rank in range(3)]


@pytest.fixture
def settings(comfy):
    from wanattn.attention.choose.policy import Policy
    from wanattn.attention.choose.rules import Rule
    from wanattn.nodes.raylight.actors import Settings

    rule = Rule.parse("self", "0-1,4", "2", "math")
    return Settings(Policy("flash", "stop", "exact", 0.5), (rule,))


@pytest.fixture
def wired(answers, ranks, settings):
    from wanattn.nodes.raylight.actors import with_settings

    return with_settings({"workers": ranks, "other": 1}, "7", settings)


@pytest.fixture
def session(wired):
    from wanattn.nodes.raylight.actors import session_of

    return session_of(wired)


def asked(rank: Actor) -> list[str]:
    """What it was asked since the last look."""
    found = [str(entry[0]) for entry in rank.asked]
    rank.asked.clear()
    return found


def sample(workers, prompt: str | None = None, order=(0, 1, 2)):
    """As a sampler node of Raylight's: each worker is told to sample, then all are waited for."""
    from comfy_execution.utils import CurrentNodeContext

    def told():
        refs = [workers[rank].common_ksampler.remote(rank + 10) for rank in order]
        return Ray.get(refs)

    if prompt is None:
        return told()
    with CurrentNodeContext(prompt, "8", 0):
        return told()


def test_they_go_on_as_they_came_with_a_session(wired, session, ranks):
    assert {**wired, "workers": list(wired["workers"])} == {
        "workers": ranks,
        "other": 1,
        "wanattn": session,
    }
    assert (session.node, session.handles) == ("7", ranks)
    assert [asked(rank) for rank in ranks] == [["ready"]] * 3


def test_those_of_a_node_upstream_no_longer_apply(wired, settings, ranks):
    from wanattn.nodes.raylight.actors import session_of, with_settings

    again = with_settings(wired, "9", settings)
    assert session_of(again).handles == ranks
    assert [type(handle) for handle in session_of(again).handles] == [Actor] * 3
    assert session_of(again).node == "9"
    assert session_of({"workers": ranks}) is None


def test_an_actor_without_the_pack_is_told_at_once(answers, ranks, settings):
    from wanattn.nodes.raylight.actors import with_settings
    from wanattn.version import __version__

    answers["ready", 2] = RuntimeError("not found")
    with pytest.raises(RuntimeError, match="not found"):
        with_settings({"workers": ranks}, "7", settings)
    assert ranks[0].asked[0][1:] == (__version__,)


def test_settings_are_plain_data_that_a_rank_can_read(settings, comfy):
    import folder_paths

    assert settings.plain("this run") == {
        "policy": {
            "backend": "flash",
            "on_refusal": "stop",
            "precision": "exact",
            "max_error": 0.5,
        },
        "rules": [("self", "0-1,4", "2", "math")],
        "run": "this run",
        "timings": str(Path(folder_paths.get_user_directory(), "wanattn", "timings.json")),
    }


def test_all_ranks_begin_before_the_first_samples_and_each_is_asked_once(wired, session, ranks):
    assert sample(wired["workers"]) == [10, 11, 12]

    assert [asked(rank) for rank in ranks] == [["ready", "begin", "sample", "take"]] * 3
    assert session.reports() == [{rank: {"payload": 1} for rank in range(3)}]


def test_sampler_calls_have_runs_of_their_own(wired, ranks):
    for _ in range(2):
        sample(wired["workers"])
    told = [[entry[1] for entry in rank.asked if str(entry[0]) == "begin"] for rank in ranks]
    runs = [[settings["run"] for settings in each] for each in told]
    assert runs[0] == runs[1] == runs[2]
    assert len(set(runs[0])) == 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_every_sampler_call_begins_once_whoever_comes_first(wired, session, ranks, order):
    for _ in range(3):
        sample(wired["workers"], "job", order)
    for rank in ranks:
        assert asked(rank) == ["ready", *["begin", "sample", "take"] * 3]
    assert [list(call) for call in session.taken] == [list(order)] * 3


def test_a_rank_that_fell_behind_begins_no_run_of_its_own(wired, session, ranks):
    """As after a sampler call that ended before it was told to sample."""
    sample(wired["workers"], "job", (0,))
    sample(wired["workers"], "job", (0, 1, 2))
    for rank in ranks:
        rank.asked.clear()

    sample(wired["workers"], "job", (1,))
    assert [asked(rank) for rank in ranks] == [[], ["sample", "take"], []]
    assert [list(call) for call in session.taken] == [[0], [0, 1, 2]]


def test_reports_are_of_the_newest_job(wired, session):
    for prompt, calls in [("b", 1), ("b", 2), ("a", 1), ("a", 2), ("b", 1), (None, 1), (None, 1)]:
        sample(wired["workers"], prompt and f"job {prompt}")  # each time another object
        assert len(session.taken) == calls, prompt


def test_a_rank_that_cannot_begin_leaves_the_settings_on_none(answers, wired, session, ranks):
    answers["begin", 1] = RuntimeError("no model")
    with pytest.raises(RuntimeError, match="no model"):
        sample(wired["workers"])
    assert [asked(rank) for rank in ranks] == [["ready", "begin", "take"]] * 3
    assert session.reports() == []


def test_a_rank_that_cannot_be_told_to_sample_leaves_the_settings_on_none(wired, ranks):
    with pytest.raises(TypeError, match="missing a required argument"):
        wired["workers"][0].common_ksampler.remote()
    assert [asked(rank) for rank in ranks] == [["ready", "begin", "take"]] * 3


def test_what_is_no_sampling_is_the_actors_own(wired, ranks):
    worker = wired["workers"][2]
    assert Ray.get(worker.get_local_rank.remote()) == 2
    with pytest.raises(AttributeError, match="unheard_of"):
        worker.unheard_of  # noqa: B018
    assert asked(ranks[2]) == ["ready"]


def test_a_worker_is_the_same_as_its_actor(wired, ranks):
    worker, other, _ = wired["workers"]
    again = Actor("0")
    assert worker == again and again == ranks[0] and worker is not again
    assert worker != other and worker != ranks[1]
    assert len({worker, ranks[0], again}) == 1


def test_a_worker_can_be_copied(wired):
    worker = wired["workers"][1]
    for made in (copy.copy(worker), copy.deepcopy({"workers": worker})["workers"]):
        assert made == worker and Ray.get(made.get_local_rank.remote()) == 1


def test_a_report_that_did_not_come_is_a_sentence(answers, wired, session):
    answers["take", 0] = None
    answers["take", 1] = ValueError("ray::take()\n  File x\nRuntimeError: the last line\n")
    answers["take", 2] = ValueError("")
    sample(wired["workers"])
    assert session.reports() == [
        {
            0: "its model was replaced while it sampled",
            1: "ValueError: RuntimeError: the last line",
            2: "ValueError",
        }
    ]
