"""What of a benchmark is handed to `auto`, and what is left for it to measure."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from wanattn.attention.backends import BACKENDS
from wanattn.attention.choose.measure.timings import Timings
from wanattn.attention.wan import Variant, Video
from wanattn.bench.race import keep as room
from wanattn.bench.race.case import cases_of
from wanattn.bench.race.keep import keep
from wanattn.bench.results.row import Results

STEADY, SLOWER = [1.0, 1.01, 1.02], [2.0, 2.02, 2.04]
PLACE = "self 32 tokens, 5 frames"
NODE = "kept for auto of Attention Backend"


@pytest.fixture
def timings(tmp_path):
    return Timings(tmp_path / "wanattn" / "timings.json", "card")


@pytest.fixture
def case():
    tiny = Variant("tiny", 2, 2, 16, 128)
    return cases_of(tiny, [Video(64, 64, 5)], torch.float32, "cpu")[0]


def results_of(case, **times) -> Results:
    """As a race leaves them."""
    rows = [dataclasses.replace(case.row(BACKENDS[name]), times=t) for name, t in times.items()]
    return Results("kernels", {}, "flash", rows)


def on_disk(timings, case) -> set[str]:
    return set(Timings(timings.path, timings.machine).read(case.call))


@pytest.mark.parametrize(
    ("times", "doubt"),
    [
        ({"flash": STEADY, "math": [2.0, 2.0, 2.6]}, "times vary by more than 20 % (math)"),
        (
            {"flash": STEADY, "math": [1.08, 1.09, 1.1]},
            "flash and math are within 10 % of each other",
        ),
        ({"flash": STEADY, "efficient": SLOWER}, "math was not measured"),
    ],
)
def test_places_in_doubt_are_left_for_auto_to_measure(timings, case, times, doubt):
    results = results_of(case, **times)

    assert not keep([case], results, lambda device: timings)
    assert not timings.path.exists()
    assert results.notes == [f"left for auto to measure by itself, since {doubt}: {PLACE}"]


def test_a_clear_lead_is_kept_for_auto(timings, case):
    results = results_of(case, flash=STEADY, math=SLOWER)

    kept = keep([case], results, lambda device: timings)

    place = results.rows[0].place
    assert kept == [(place, "flash"), (place, "math")]
    assert on_disk(timings, case) == {"flash", "math"}
    assert results.notes == [f"{NODE}: flash, math"]


@pytest.fixture
def rough(monkeypatch):
    made = dataclasses.replace(BACKENDS["math"], name="rough", exact=False)
    monkeypatch.setitem(BACKENDS, "rough", made)
    return made


def test_a_place_where_only_an_approximate_kernel_ran_is_kept(timings, case, rough, monkeypatch):
    monkeypatch.setattr(room, "eligible", lambda *given: [BACKENDS["flash"], rough])
    results = results_of(case, rough=STEADY)
    results.rows.append(dataclasses.replace(case.row(BACKENDS["flash"]), reason="broken"))

    assert keep([case], results, lambda device: timings) == [(results.rows[0].place, "rough")]


def test_an_approximate_kernel_close_to_an_exact_one_is_a_doubt_too(
    timings, case, rough, monkeypatch
):
    """With `allow approximate` it is among those that `auto` chooses from."""
    everything = [BACKENDS["flash"], BACKENDS["math"], rough]
    monkeypatch.setattr(room, "eligible", lambda *given: everything)
    results = results_of(case, flash=STEADY, math=SLOWER, rough=[0.98, 0.99])

    assert not keep([case], results, lambda device: timings)
    assert results.notes[0].startswith("left for auto to measure by itself, since rough and flash")


def test_times_that_cannot_be_written_are_kept_for_this_session(timings, case):
    timings.path.mkdir(parents=True)
    results = results_of(case, flash=[1.0, 1.1], math=[2.0, 2.3])

    keep([case], results, lambda device: timings)

    assert timings.read(case.call)["flash"].milliseconds == 1.05
    until = "until ComfyUI ends, since timings.json cannot be written (see the log)"
    assert results.notes == [f"{NODE} {until}: flash, math"]
