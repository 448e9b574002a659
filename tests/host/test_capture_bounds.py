"""What capturing keeps, leaves out and says, at each of its bounds, call by call without a sampler around it."""

from __future__ import annotations

import itertools
import logging
from types import SimpleNamespace

import pytest
import torch
from wanattn.attention.call import Call, Inputs
from wanattn.attention.record.capture import load
from wanattn.attention.record.record import Record
from wanattn.attention.run.forward import Forward, Place, Seen

MIB, GIB = 2**20, 2**30
PLENTY = 64 * GIB


@pytest.fixture
def output(comfy, tmp_path):
    """The host's output folder, which is not there yet."""
    import folder_paths

    before = folder_paths.get_output_directory()
    folder_paths.set_output_directory(str(tmp_path / "not" / "there"))
    yield tmp_path / "not" / "there"
    folder_paths.set_output_directory(before)


@pytest.fixture
def machine(output, monkeypatch):
    """What is free on the disk and of the memory, and a clock on which each file takes three seconds."""
    from wanattn.nodes.host import capture

    machine = SimpleNamespace(free=PLENTY, available=PLENTY)
    usage = SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=machine.free))
    memory = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=machine.available))
    ticks = itertools.count(1.0, 3.0)
    monkeypatch.setattr(capture, "shutil", usage)
    monkeypatch.setattr(capture, "psutil", memory)
    monkeypatch.setattr(capture, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    return machine


@pytest.fixture
def begun(machine):
    """A capture in the run of a job."""
    from wanattn.nodes.host.capture import Capture, ranges_of

    def begun(blocks, limit=PLENTY):
        capture = Capture(ranges_of(blocks), limit, "20")
        capture.begin("job", "WAN21")
        return capture

    return begun


def made(role, block, step=0, tokens=2048, record=None, error=""):
    """A call of 1.5 MiB, 0.75 MiB of `text`."""
    keys = 512 if role == "text" else tokens
    q, k, v = (torch.zeros(1, 2, n, 64, dtype=torch.bfloat16) for n in (tokens, keys, keys))
    forward = Forward(step=step, sigma=0.5, cond="positive")
    return Seen(Place(role, block), Inputs(q, k, v, None, None), forward, record, error)


def large(block=0):
    """1.5 GiB and 8 bytes that take no memory."""
    q = torch.zeros(1).expand(1, 1, 3 * 2**27, 1)
    one = torch.zeros(1, 1, 1, 1)
    return Seen(Place("self", block), Inputs(q, one, one, None, None), Forward(step=0), None)


def names(output):
    return sorted(path.name for path in (output / "wanattn").glob("*"))


def test_the_notes_from_the_first_call_to_the_end(begun, output):
    capture, told = begun("0,2-3,4,9-"), []
    capture.listener = lambda: told.append(capture.notes(compiled=False))
    assert capture.notes(compiled=False) == []

    capture(made("self", 0))
    capture(made("text", 0))
    for again in (made("self", 0), made("self", 1), made("self", 8), made("self", None)):
        capture(again)
    capture(made("self", 3, step=1))
    capture(made("self", 2, step=1))

    place = f"{output.name}/wanattn/capture_00001_*"
    until = "the same again for every queued run until capture is emptied"
    plan = f"capture: 8 calls, 9.0 MiB, into {place}; {until}"
    cost = "capture: 3 files written in 9.0 s, which is in the time of step 0, 1"
    assert told == [[f"capture: 4 calls, 6.0 MiB, into {place}; {until}"], [plan, told[1][1]]]
    assert told[1][1].startswith("capture: 1 file written in 3.0 s, ")
    assert capture.notes(compiled=False) == [plan, cost]
    capture.end()
    missed = "capture: no call came by in blocks 4, 9-"
    assert capture.notes(compiled=False) == [plan, cost, missed]
    hidden = f"{missed}, calls inside a compiled graph are not seen"
    assert capture.notes(compiled=True) == [plan, cost, hidden]
    assert names(output) == [
        f"capture_00001_{n}.safetensors" for n in ("self_0", "self_2-3", "text_0")
    ]


@pytest.mark.parametrize(
    ("steps", "inside"),
    [
        ((None, None), "the run's time"),
        ((None, 0), "the time of step 0"),
        ((2, 2), "the time of step 2"),
    ],
)
def test_the_cost_names_the_steps_that_are_known(begun, steps, inside):
    capture = begun("0")
    capture(made("self", 0, step=steps[0]))
    capture(made("text", 0, step=steps[1]))
    capture.end()

    plan, cost = capture.notes(compiled=True)
    assert plan.startswith("capture: 2 calls, 2.2 MiB, ")
    assert cost == f"capture: 2 files written in 6.0 s, which is in {inside}"


def test_one_call_is_told_as_one(begun):
    capture = begun("0")
    capture(made("self", 0))

    plan, cost = capture.notes(compiled=False)
    assert plan.startswith("capture: 1 call, 1.5 MiB, ")
    assert cost == "capture: 1 file written in 3.0 s, which is in the time of step 0"


@pytest.mark.parametrize(
    ("first", "second", "sets"),
    [
        ("one", "".join(["o", "ne"]), 1),
        ("one", "two", 2),
        ("two", "one", 2),
        (None, None, 2),
        ("one", None, 2),
        (None, "one", 2),
    ],
)
def test_a_set_for_each_job_and_for_each_run_without_one(begun, output, first, second, sets):
    capture = begun("0,1")
    capture.begin(first, "WAN21")
    capture(made("self", 0))
    capture.end()
    capture.begin(second, "WAN21")
    capture(made("self", 0))

    assert names(output) == [f"capture_0000{n + 1}_self_0.safetensors" for n in range(sets)]
    told = [note for note in capture.notes(compiled=False) if "no call came by" in note]
    assert len(told) == (sets == 1)  # another run of the same job


@pytest.mark.parametrize(("short", "kept"), [(0, 2), (1, 1)])
def test_what_is_kept_may_fill_the_limit_and_not_pass_it(begun, output, short, kept):
    capture = begun("0,1,2", limit=3 * MIB - short)
    for block in range(3):
        capture(made("self", block))

    assert len(names(output)) == kept
    assert [note for note in capture.notes(compiled=False) if "left out" in note] == [
        f"capture: left out {', '.join(f'self {n}' for n in range(kept, 3))}: over capture_limit_gib"
    ]


@pytest.mark.parametrize(("over", "told"), [(0, False), (1, True)])
def test_a_plan_over_the_limit_says_what_all_need(begun, over, told):
    capture = begun("0,1", limit=3 * MIB - over)
    capture(made("self", 0))

    limit = "capture_limit_gib is 0.00292969: raise it, or capture less"
    needs = [note for note in capture.notes(compiled=False) if "all need" in note]
    assert needs == [f"capture: all need 3.0 MiB, {limit}"] * told


@pytest.mark.parametrize(
    ("free", "available", "reason"),
    [
        (1, 0, "2.5 GiB free on the disk, needs 2.5 GiB"),
        (2 * GIB, 0, "0.5 GiB free on the disk, needs 2.5 GiB"),
        (0, 1, "3.0 GiB of memory free, needs 3.0 GiB"),
        (0, GIB, "2.0 GiB of memory free, needs 3.0 GiB"),
        (0, 0, None),
        (-1, -1, None),
    ],
)
def test_the_disk_keeps_a_gib_and_the_memory_holds_the_copy_twice(
    begun, machine, output, monkeypatch, free, available, reason
):
    from wanattn.nodes.host import capture as capturing

    monkeypatch.setattr(capturing, "save", lambda part, role, inputs, facts: part.touch())
    machine.free = 3 * GIB // 2 + 8 + GIB - free
    machine.available = 3 * GIB + 16 - available
    capture = begun("0")
    capture(large())

    notes = capture.notes(compiled=False)
    assert notes[0].startswith("capture: 1 call, 1.5 GiB, ")
    assert [note for note in notes if "left out" in note] == (
        [f"capture: left out self 0: {reason}"] if reason else []
    )
    assert len(names(output)) == (reason is None)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("gone"), "gone"),
        (RuntimeError("  the first line\nthe second"), "the first line"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_what_goes_wrong_is_one_line_in_the_notes_and_whole_in_the_log(
    begun, monkeypatch, caplog, error, reason
):
    from wanattn.nodes.host import capture as capturing

    def broken(*given):
        raise error

    monkeypatch.setattr(capturing, "save", broken)
    capture = begun("0")
    with caplog.at_level(logging.WARNING, "wanattn"):
        capture(made("text", 0))
    capture.end()

    _, lost = capture.notes(compiled=False)
    assert lost == f"capture: left out text 0: {reason}"
    (told,) = caplog.records
    assert told.getMessage() == "text 0 could not be captured" and told.exc_info[1] is error


def test_a_file_tells_all_that_is_known_of_its_call(begun, output):
    call = Call("self", 1, 2, 2048, 2048, 64, torch.bfloat16)
    record = Record(call, "auto", "flash", "forced", reason="cudnn is slower")
    capture = begun("0,1")
    capture(made("self", 0, step=3, record=record))
    capture(made("self", 1, step=3, error="RuntimeError: gone"))

    known, failed = (load(output / "wanattn" / name).facts for name in names(output))
    both = {"step": "3", "sigma": "0.5", "cond": "positive", "model": "WAN21", "node": "20"}
    told = {"requested": "auto", "active": "flash", "evidence": "forced"}
    mine = {*both, *told, "block", "reason", "error"}
    why = {"block": "0", "reason": "cudnn is slower"}
    assert {name: known[name] for name in mine & set(known)} == {**both, **told, **why}
    broken = {**both, "block": "1", "error": "RuntimeError: gone"}
    assert {name: failed[name] for name in mine & set(failed)} == broken
    assert {"wanattn", "comfyui", "host_attention", "torch"} <= set(known) & set(failed)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0.0 MiB"),
        (3 * MIB // 2, "1.5 MiB"),
        (GIB // 10, "102.4 MiB"),  # just less than a tenth of a GiB
        (GIB // 10 + 1, "0.1 GiB"),
        (5 * GIB // 2, "2.5 GiB"),
    ],
)
def test_amounts_are_told_in_gib_from_a_tenth_on(comfy, size, shown):
    from wanattn.nodes.host.capture import _amount

    assert _amount(size) == shown


@pytest.mark.parametrize(("number", "words"), [(0, "0 calls"), (1, "1 call"), (2, "2 calls")])
def test_counts_are_english(comfy, number, words):
    from wanattn.nodes.host.capture import _count

    assert _count(number, "call") == words


@pytest.mark.parametrize("blocks", [1, 2, 30, 40])
def test_a_block_that_the_model_has_not_is_named_with_those_that_it_has(comfy, blocks):
    from wanattn.nodes.host.capture import ranges_of

    assert [str(span) for span in ranges_of(f"0-{blocks - 1}", blocks)] == [f"0-{blocks - 1}"]
    has = f"this model has blocks 0 to {blocks - 1}"
    with pytest.raises(ValueError, match=f"^capture {blocks}-: block {blocks}, {has}$"):
        ranges_of(f"{blocks}-", blocks)
