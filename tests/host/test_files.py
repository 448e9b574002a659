"""Report files: their names, what is in them, and which reports of a prompt still wait for one."""

from __future__ import annotations

import errno
import json
from types import SimpleNamespace

import pytest

PAYLOAD = {"schema": 1, "state": "finished", "notes": []}


@pytest.fixture
def files(workbench):
    from wanattn.nodes.host.report import files

    return files


@pytest.mark.parametrize(
    ("letters", "told"), [(1, "x"), (199, "x" * 199), (200, "x" * 200), (201, "x" * 200 + " ...")]
)
def test_a_long_name_is_cut_in_a_sentence(files, letters, told):
    assert files.brief("x" * letters) == told


def test_a_name_is_told_in_one_line(files):
    assert files.brief(" a\n b\t") == "a b"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left"), "No space left (x/report). Mend that, or choose"),
        (OSError("the share is gone"), "the share is gone (x/report). Mend that, or choose"),
        (Exception("\noutside the folder\nand more\n"), "outside the folder. Choose"),
    ],
)
def test_it_is_told_why_files_could_not_be_written(files, monkeypatch, error, reason):
    def write(*_):
        raise error

    monkeypatch.setattr(files, "write", write)
    start = "The report files could not be written"

    sentence = files.written("", PAYLOAD, "x/report")
    assert sentence.partition(" another filename_prefix.") == (
        f"{start}: {reason}",
        " another filename_prefix.",
        "",
    )


def test_it_is_told_where_the_files_are(files, tmp_path):
    told = "written: x/report_00001.json, x/report_00001.csv, x/report_00001.html"

    assert files.written("a table", PAYLOAD, "x/report") == told
    assert (tmp_path / "x" / "report_00001.csv").read_text() == "a table"
    text = (tmp_path / "x" / "report_00001.json").read_text()
    assert text.startswith('{\n "schema": 1,') and json.loads(text) == PAYLOAD
    assert "<html" in (tmp_path / "x" / "report_00001.html").read_text()


def test_the_calls_of_a_run_are_written_as_a_table(files, tmp_path):
    from wanattn.attention.record.recorder import Recorder
    from wanattn.attention.report.text import csv_of

    snapshot = Recorder().snapshot()
    files.write(snapshot, PAYLOAD, "x/report")

    assert (tmp_path / "x" / "report_00001.csv").read_bytes().decode() == csv_of(snapshot)


def test_without_calls_there_is_no_table(files, tmp_path):
    names = ["x/report_00001.json", "x/report_00001.html"]

    assert files.write(None, PAYLOAD, "x/report") == names
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "report_00001.html",
        "report_00001.json",
    ]


def test_the_number_is_the_first_of_which_there_is_no_file(files, tmp_path):
    (tmp_path / "report_00001.csv").touch()
    (tmp_path / "report_00004.csv").touch()
    written = [files.write(None, PAYLOAD, "report")[0] for _ in range(3)]

    assert written == ["report_00002.json", "report_00003.json", "report_00005.json"]


@pytest.mark.parametrize("prefix", ["", " ", ".", "./", "\\"])
def test_a_prefix_without_a_name_is_the_default_one(files, prefix):
    assert files.write(None, PAYLOAD, prefix)[0] == "wanattn/report_00001.json"


def report(model, prefix):
    return {"class_type": "WanAttnReport", "inputs": {"model": model, "filename_prefix": prefix}}


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


# Three taps, the last of them behind a LoRA, a merge with a gap, and a loop.
PROMPT = {
    "05": node("WanAttnBackend", model=["1", 0]),
    "10": node("WanAttnBackend", model=["1", 0]),
    "20": node("WanAttnDiagnostics", model=["10", 0]),
    "lora": node("LoraLoader", strength=1.0, name="a", model=["10", 0]),
    "merge": node("Merge", gone=["99", 0], again=["merge", 1], none=None, two=["lora", 1]),
    "r1": report(["10", 0], "straight"),
    "r2": report(["merge", 0], "merged"),
    "r3": report(["20", 0], "later"),
    "r4": report(["05", 0], "another"),
    "r5": report(["10", 0], ["text", 0]),
    "r6": report(["loop", 0], "loop"),
    "r7": report(None, "none"),
    "r8": report(["10", 0], "done"),
    "loop": node("Loop", model=["loop", 0]),
    "A": node("A", model=["10", 0], filename_prefix="a"),
    "Z": node("Z", model=["10", 0], filename_prefix="z"),
    "1": node("UNETLoader", unet_name="wan.safetensors"),
}


@pytest.fixture
def queue(comfy, monkeypatch):
    """A server that runs three prompts; the ids of two are before and after that of ours."""
    from server import PromptServer

    others = {"10": node("WanAttnBackend"), "r": report(["10", 0], "of another job")}
    jobs = {"job a": others, "job b": PROMPT, "job c": others}
    running = [(0, job, prompt, {}, []) for job, prompt in jobs.items()]
    running = json.loads(json.dumps(running))
    queue = SimpleNamespace(get_current_queue=lambda: (running, []))
    monkeypatch.setattr(
        PromptServer, "instance", SimpleNamespace(prompt_queue=queue), raising=False
    )


def test_those_reports_wait_that_are_of_this_job_and_node_and_not_done(files, queue):
    waiting = files.waiting_prefixes("10", "job b", {"r8"})

    assert waiting == ["straight", "merged", "wanattn/report"]
    assert files.waiting_prefixes("20", "job b", ()) == ["later"]
    assert files.waiting_prefixes("10", "job c", ()) == ["of another job"]
    assert files.waiting_prefixes("10", "job d", ()) == []


def test_nobody_waits_without_a_server(files, monkeypatch):
    from server import PromptServer

    monkeypatch.setattr(PromptServer, "instance", None, raising=False)

    assert files.waiting_prefixes("10", "job b", ()) == []


def test_a_job_that_ends_early_is_written_for_every_report_that_waits(files, queue, tmp_path):
    from wanattn.attention.record.recorder import Recorder
    from wanattn.nodes.host.report.facts import Facts

    files.write_unfinished(Facts("10", {}), Recorder().snapshot(), "job b", {"r5", "r8"})

    written = sorted(path.name for path in tmp_path.glob("*.json"))
    assert written == ["merged_00001.json", "straight_00001.json"]
