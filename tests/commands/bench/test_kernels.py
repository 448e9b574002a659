"""The kernels benchmark on the CPU's two backends, and on backends made slow, wrong or broken on purpose."""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import time
import timeit

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.backends import BACKENDS, Backend
from wanattn.attention.call import Call, Inputs
from wanattn.attention.environment import probe
from wanattn.attention.record import capture
from wanattn.attention.wan import VARIANTS, Video
from wanattn.bench.race import contenders, rate
from wanattn.bench.race import race as racing
from wanattn.bench.race import rounds as room
from wanattn.bench.race.case import Case, cases_of
from wanattn.bench.race.race import race
from wanattn.bench.results.row import Results
from wanattn.commands import main as cli
from wanattn.commands.bench import kernels

FLASH, MATH = BACKENDS["flash"], BACKENDS["math"]
TINY = ["--device", "cpu", "--size", "32x32", "--frames", "1", "--repeat", "2"]


class Track:
    """A Progress that counts, and may raise after so many pieces of work."""

    def __init__(self, end: int | None = None, error: type[BaseException] = KeyboardInterrupt):
        self.total, self.done, self.said = 0.0, 0.0, []
        self._end, self._error = end, error

    def begin(self, total):
        self.total = total

    def advance(self, units, what):
        self.done += units
        self.said.append(what)
        if len(self.said) == self._end:
            raise self._error


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short measurements: what is tested here is not how exact they are."""
    monkeypatch.setattr(racing, "WARM_UP", 0.0)
    monkeypatch.setitem(rate.SIDES, "cpu", 128)
    for module in (rate, room):
        monkeypatch.setattr(module, "BURST", 2.0)


@pytest.fixture
def case():
    call = Call("self", 1, 2, 64, 64, 128, torch.float32)
    return Case("14b", "32x32", 5, "self", call)


@pytest.fixture
def run(case):
    def run(*backends, progress=None, cases=None, **facts):
        results = Results("kernels", {})
        race(cases or [case], backends, results, progress or Track(), **{"rounds": 3, **facts})
        return results

    return run


def backend(name: str, run, tolerance=1e-3, reasons=()) -> Backend:
    return Backend(
        name, name, lambda call, environment: list(reasons), run, {torch.float32: tolerance}
    )


def right(q, k, v, mask=None, scale=None):
    return F.scaled_dot_product_attention(q, k, v, mask, scale=scale)


def slow(q, k, v, mask=None, scale=None):
    time.sleep(0.1)
    return right(q, k, v, mask, scale)


def broken(*arguments):
    raise ValueError("kernel says no\nand much more")


def out_of_memory(*arguments):
    raise torch.OutOfMemoryError("CUDA out of memory")


def measure(*arguments, progress=None) -> Results:
    """As the command does, without its files and tables."""
    parser = argparse.ArgumentParser()
    kernels.BENCHMARK.add_arguments(parser)
    for name, kind in (("--against", str), ("--settings", str), ("--repeat", int)):
        parser.add_argument(name, type=kind)
    parser.set_defaults(seed=None)
    results = Results("kernels", {})
    kernels.BENCHMARK.measure(parser.parse_args(arguments), results, progress or Track())
    return results


def test_cases_are_the_calls_of_wan_2_2():
    clips = [Video(832, 1216, frames) for frames in (25, 49, 81)]

    cases = cases_of(VARIANTS["14b"], clips, torch.bfloat16, "cuda:0")

    assert [(c.frames, c.part, c.call.q_len, c.call.kv_len) for c in cases] == [
        (25, "self", 27664, 27664),
        (25, "text", 27664, 512),
        (49, "self", 51376, 51376),
        (49, "text", 51376, 512),
        (81, "self", 82992, 82992),
        (81, "text", 82992, 512),
    ]
    assert {(c.call.heads, c.call.head_dim, c.call.role) for c in cases} == {
        (40, 128, "self"),
        (40, 128, "text"),
    }
    assert cases[4].bytes == 4 * 82992 * 40 * 128 * 2


def test_inputs_lie_as_the_host_hands_them_over_and_come_from_the_seed(case):
    inputs = case.inputs(seed=3)

    assert inputs.q.shape == (1, 2, 64, 128)
    assert inputs.q.transpose(1, 2).is_contiguous() and not inputs.q.is_contiguous()
    assert torch.equal(inputs.v, case.inputs(seed=3).v)
    assert not torch.equal(inputs.v, case.inputs(seed=4).v)
    assert not torch.equal(inputs.q, inputs.k)


def test_each_backend_gets_a_row_with_all_that_was_measured(run, case):
    results = run(FLASH, MATH, settings="tiny")

    assert [row.backend for row in results.rows] == ["flash", "math"]
    for row in results.rows:
        assert len(row.times) == 3 and min(row.times) > 0 and row.first > 0
        assert row.error < 1e-5 and row.rate > 0 and row.tflops > 0 and row.share > 0
        assert (row.active, row.reason, row.peak_gib) == (row.backend, "", None)
        assert row.flops == case.call.flops == 2 * 2 * 64 * 64 * 256
        assert row.place == ("kernels", "14b", "32x32", 5, "float32", "self", 2, 64, 64)
        assert row.settings == "tiny"


def test_time_of_one_call_is_measured_whatever_the_burst(run):
    def sleeps(*arguments):
        time.sleep(0.0005)
        return right(*arguments)

    alone = min(timeit.repeat(lambda: time.sleep(0.0005), number=1, repeat=10)) * 1e3
    (row,) = run(backend("sleeps", sleeps), rounds=10).rows

    assert 0.5 < min(row.times) < 3 * alone  # a burst is of at least four calls


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (backend("bad", broken), "ValueError: kernel says no"),
        (backend("bad", out_of_memory), "OutOfMemoryError: CUDA out of memory"),
        (backend("bad", right, reasons=["no", "never"]), "no; never"),
        (
            backend("bad", lambda *a: right(*a) * 1.1),
            "error 1.0e-01, needs at most 1e-03",
        ),
    ],
    ids=["exception", "memory", "refusal", "wrong"],
)
def test_backend_that_cannot_run_gets_the_reason_and_the_others_go_on(run, bad, reason):
    track = Track()

    results = run(bad, FLASH, progress=track)

    assert (results.rows[0].reason, results.rows[0].times) == (reason, [])
    assert len(results.rows[1].times) == 3
    assert track.done == pytest.approx(track.total)


def test_backend_that_fails_later_loses_its_times(run):
    track = Track()

    failed = []

    def tires(*arguments):
        if any("tires 1/3" in said for said in track.said):
            failed.append(1)
            raise RuntimeError("enough")
        return right(*arguments)

    tired, other = run(backend("tires", tires), FLASH, progress=track).rows

    assert (tired.reason, tired.times) == ("RuntimeError: enough", [])
    assert len(failed) == 1  # it is out of the race
    assert len(other.times) == 3
    assert track.done == pytest.approx(track.total)


def test_backends_take_turns_in_another_order_each_round(run):
    track = Track()
    backends = [backend(name, right) for name in "abc"]

    run(*backends, progress=track)

    rounds = [said.split()[-2] for said in track.said if "/" in said]
    assert rounds == list("abc" + "bca" + "cab")


class Stopwatch:
    """Runs what it is given and notes what was queued before it and how many calls were timed."""

    def __init__(self) -> None:
        self.noted = []

    def __call__(self, run, times, ahead=None):
        if ahead:
            ahead()
        for _ in range(times):
            run()
        self.noted.append(times)
        return 1.0


def test_very_short_calls_are_queued_behind_matrix_products(run, monkeypatch):
    watch, led = Stopwatch(), []
    for name, value in (("QUEUES", ("cpu",)), ("SHORT", 1e9), ("LEAD", 5.0)):
        monkeypatch.setattr(room, name, value)
    monkeypatch.setattr(room, "timer_for", lambda device: watch)
    monkeypatch.setattr(rate.Rate, "queue", lambda self, milliseconds: led.append(milliseconds))

    (row,) = run(backend("short", right), rounds=3).rows

    assert len(row.times) == 3 and led == [5.0] * 3
    assert 1 < watch.noted[0] <= room.MOST_QUEUED


def test_other_calls_go_behind_calls_of_their_own(run, monkeypatch):
    led = []
    monkeypatch.setattr(rate.Rate, "queue", lambda self, milliseconds: led.append(milliseconds))

    run(backend("long", right), rounds=3)

    assert led == []


def test_rate_is_not_measured_between_the_rounds(run, monkeypatch):
    track, measured = Track(), []
    plain = rate.Rate.measure

    def noted(self):
        measured.append(len(track.said))
        return plain(self)

    monkeypatch.setattr(rate.Rate, "measure", noted)

    results = run(FLASH, MATH, rounds=4, progress=track)

    assert [said for said in measured if said] == [len(track.said)]
    assert all(row.rate for row in results.rows)


def test_long_and_slow_calls_are_timed_in_fewer_rounds_and_that_is_said(run, monkeypatch):
    monkeypatch.setattr(room, "LONG", 5.0)
    track = Track()

    results = run(backend("quick", right), backend("slow", slow), rounds=5, progress=track)

    assert [len(row.times) for row in results.rows] == [5, 3]
    assert results.notes == [
        "Calls of more than 5 ms that take over 1.5 times as long as the fastest were timed in 3 rounds, "
        "the others in 5."
    ]
    assert track.done == pytest.approx(track.total)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_progress_raises_ends_the_race_and_keeps_what_is_there(case, error):
    results = Results("kernels", {})

    with pytest.raises(error):  # after two first calls and three measurements
        race([case, case], [FLASH, MATH], results, Track(5, error), rounds=3)

    flash, math = results.rows
    assert (len(flash.times), len(math.times)) == (1, 2)
    assert (flash.reason, math.reason) == ("", "")


def test_row_without_times_says_that_the_benchmark_ended(case):
    results = Results("kernels", {})

    with pytest.raises(KeyboardInterrupt):
        race([case], [FLASH, MATH], results, Track(3), rounds=3)

    flash, math = results.rows
    assert len(flash.times) == 1
    assert (math.times, math.reason) == ([], "not timed, the benchmark ended before its turn")


def test_function_that_chooses_by_itself_shows_what_it_ran(run):
    (row,) = run(backend("host", right)).rows

    assert row.active == "flash"


def test_tensors_that_do_not_fit_are_a_reason(run, monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda device: 2**16)
    track = Track()

    results = run(FLASH, MATH, progress=track)

    sentence = "q, k, v, the output and copies of them need 0.0 GiB, 0.0 GiB free"
    assert {row.reason for row in results.rows} == {sentence}
    assert track.done == pytest.approx(track.total)


def test_race_in_inference_mode_and_out_of_it(run):
    with torch.inference_mode():
        assert run(FLASH).rows[0].times
    assert run(FLASH).rows[0].times


def test_rate_is_that_of_a_matrix_product():
    measured = rate.Rate(torch.device("cpu"), torch.float32)

    a, b = torch.randn(2, 128, 128)
    start = time.perf_counter()
    for _ in range(200):
        a @ b
    by_hand = 200 * 2 * 128**3 / (time.perf_counter() - start) / 1e12
    assert by_hand / 20 < measured.measure() < by_hand * 20  # other work may be going on


@pytest.mark.parametrize(
    ("milliseconds", "burst"), [(30.0, 1), (0.5, 40), (15.0, 2), (1e-6, rate.MOST)]
)
def test_burst_is_as_long_as_wanted(monkeypatch, milliseconds, burst):
    monkeypatch.setattr(rate, "BURST", 20.0)

    assert rate.burst_for(lambda times: milliseconds) == burst


def test_burst_is_not_fooled_by_a_first_call_that_was_held_up(monkeypatch):
    monkeypatch.setattr(rate, "BURST", 20.0)
    times = iter([30.0, 1.0])

    assert rate.burst_for(lambda number: next(times)) == 20


def test_cpu_measures_both_its_backends_at_a_small_clip_and_says_so():
    results = measure("--device", "cpu", "--frames", "1", "--repeat", "2", "--roles", "text")

    assert [row.backend for row in results.rows] == ["flash", "math"]
    assert {(row.size, row.frames, row.dtype) for row in results.rows} == {
        ("256x256", 1, "float32")
    }
    assert results.baseline == "flash"
    (note,) = results.notes
    assert "Measured at 256x256 and 1 frames" in note and "--size and --frames" in note


def test_named_backend_that_cannot_run_here_gets_a_row_with_the_reason():
    results = measure(*TINY, "--backends", "fa3,math,flash", "--dtype", "bfloat16")

    reasons = {row.backend: row.reason for row in results.rows if row.part == "self"}
    assert reasons == {"fa3": "FlashAttention-3 does not exist on cpu", "math": "", "flash": ""}
    assert {row.dtype for row in results.rows} == {"bfloat16"}
    assert results.baseline == "flash"


@pytest.mark.parametrize(
    ("arguments", "baseline"),
    [
        (["--backends", "math,flash", "--against", "math"], "math"),
        (["--backends", "fa3,math"], "math"),
        (["--backends", "math,flash"], "flash"),
    ],
)
def test_baseline_is_what_was_asked_else_flash_else_the_first_that_ran(arguments, baseline):
    assert measure(*TINY, *arguments).baseline == baseline


def test_gpu_shows_missing_kernels_but_not_math_nor_torch_s_swaps(make_call, make_environment):
    found = contenders.everything([make_call()], make_environment(), {})

    names = [backend.name for backend in found]
    assert names[:3] == ["flash", "efficient", "cudnn"]
    assert {"fa3", "sage", "int8"} <= set(names)
    assert not {"math", "torch_fa3", "torch_fa4"} & set(names)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--backends", "flush"], "unknown backend 'flush'; expected one of flash, efficient"),
        (["--backends", "flash,,math"], "backends 'flash,,math', needs names separated by commas"),
        (["--roles", "image"], "role 'image', needs self or text"),
        (["--size", ""], "size '', needs WIDTHxHEIGHT"),
        (["--frames", ""], "frames '', needs numbers separated by commas"),
        (["--model", ""], "model '', needs 14b or 5b"),
        (["--dtype", ""], "dtype '', needs one of"),
        (["--roles", ""], "roles '', needs names separated by commas such as self,text"),
        (["--size", "100x64"], "width 100, needs a multiple of 16"),
        (["--size", "big"], "size 'big', needs WIDTHxHEIGHT"),
        (["--frames", "24"], "frames 24, needs 4n+1"),
        (["--frames", "25;49"], "frames '25;49', needs numbers separated by commas"),
        (["--model", "13b"], "model '13b', needs 14b or 5b"),
        (["--dtype", "int8"], "dtype 'int8', needs one of bfloat16, float16, float32"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        (["--device", "cuda:-1"], "device 'cuda:-1' cannot be used"),
        (["--device", "cuda:x"], "device 'cuda:x' cannot be used"),
        (["--device", "meta"], "device 'meta', kernels can be timed on cpu and cuda only"),
        (["--against", "cudnn"], "--against 'cudnn', measured are flash, math"),
        (["--replay", "gone.safetensors"], "gone.safetensors: no such file"),
        (["--comfyui", "nowhere"], "no ComfyUI in 'nowhere'"),
    ],
)
def test_bad_input_is_a_sentence_before_anything_is_measured(arguments, sentence):
    track = Track()

    with pytest.raises(ValueError, match=re.escape(sentence)):
        measure("--device", "cpu", *arguments, progress=track)

    assert not track.said


def test_host_s_function_without_a_host_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "find_host", lambda given: None)

    with pytest.raises(ValueError, match=r"'host' is ComfyUI's.*--comfyui"):
        measure(*TINY, "--backends", "host,flash")


def test_host_that_does_not_load_is_a_note_or_an_error_where_it_was_named(tmp_path):
    for name in ("main.py", "comfyui_version.py"):
        (tmp_path / name).write_text('__version__ = "0.33.0"')
    (tmp_path / "comfy").mkdir()
    (tmp_path / "comfy/cli_args.py").write_text("raise OSError('disk on fire')")

    results = measure(*TINY, "--comfyui", str(tmp_path))

    assert [row.backend for row in results.rows if row.times] == ["flash", "math"] * 2
    assert re.search("ComfyUI's own attention was left out: .*does not load", results.notes[0])
    with pytest.raises(RuntimeError, match="ComfyUI's own attention was left out"):
        measure(*TINY, "--comfyui", str(tmp_path), "--backends", "host")


@pytest.fixture
def kept(tmp_path, tensors):
    """A masked call with a scale, as Attention Diagnostics keeps one."""
    q, _, _ = tensors(q_len=48)
    _, k, v = tensors(q_len=20)
    mask = torch.rand(1, 1, 48, 20, generator=torch.Generator().manual_seed(1)) > 0.3
    inputs = Inputs(q, k, v, mask, 0.2)
    capture.save(tmp_path / "call.safetensors", "image", inputs, {"block": 3})
    return tmp_path / "call.safetensors", inputs


def test_replay_measures_the_kept_tensors_alone(kept, monkeypatch):
    path, inputs = kept
    seen = []

    def look(q, k, v, mask=None, scale=None):
        seen.append((q, k, v, mask, scale))
        return right(q, k, v, mask, scale)

    monkeypatch.setitem(BACKENDS, "look", backend("look", look))

    results = measure("--device", "cpu", "--repeat", "2", "--replay", str(path))

    assert {row.backend for row in results.rows} == {"flash", "math", "look"}
    for row in results.rows:
        assert (row.part, row.heads, row.q_len, row.kv_len) == ("image", 2, 48, 20)
        assert len(row.times) == 2 and row.error < 1e-5
    q, k, v, mask, scale = seen[0]
    assert torch.equal(q, inputs.q) and torch.equal(k, inputs.k) and torch.equal(v, inputs.v)
    assert torch.equal(mask, inputs.mask) and scale == 0.2
    assert q.stride() == inputs.q.stride()
    assert {row.model for row in results.rows} == {"call"}
    assert results.notes == ["call holds the tensors of a call, role image, block 3, with a mask."]


@pytest.mark.parametrize("option", [("--model", "5b"), ("--dtype", "float32"), ("--roles", "self")])
def test_options_of_shapes_beside_replayed_calls_alone_are_refused(kept, option):
    path, _ = kept

    with pytest.raises(ValueError, match=f"{option[0]} says nothing about a replayed call"):
        measure("--device", "cpu", "--replay", str(path), *option)


@pytest.mark.parametrize(("size", "frames"), [("832x480", "81"), ("x" * 900, "9" * 900)])
def test_replayed_size_and_frames_are_shown_only_where_they_are_ones(kept, tmp_path, size, frames):
    _, inputs = kept
    path = tmp_path / "sized.safetensors"
    capture.save(path, "self", inputs, {"size": size, "frames": frames})

    results = measure("--device", "cpu", "--repeat", "2", "--replay", str(path))

    known = ("832x480", 81) if size == "832x480" else ("", 0)
    assert {(row.size, row.frames) for row in results.rows} == {known}


def test_replays_of_one_shape_stay_apart(kept, tmp_path):
    path, inputs = kept
    capture.save(tmp_path / "other.safetensors", "image", inputs, {"block": 4})
    files = ["--replay", str(path), "--replay", str(tmp_path / "other.safetensors")]

    results = measure("--device", "cpu", "--repeat", "2", "--backends", "flash", *files)

    assert len({row.place for row in results.rows}) == 2


def test_replays_of_one_name_are_refused(kept, tmp_path):
    path, _ = kept
    (tmp_path / "again").mkdir()
    other = shutil.copy(path, tmp_path / "again")

    with pytest.raises(ValueError, match="two files named 'call', needs a name for each"):
        measure("--device", "cpu", "--replay", str(path), "--replay", str(other))


def test_replay_says_that_values_are_not_finite(kept, tmp_path):
    _, inputs = kept
    inputs.v[0, 0, 0, 0] = torch.nan
    capture.save(tmp_path / "black.safetensors", "image", inputs, {})

    results = measure(*TINY[:2], "--repeat", "2", "--replay", str(tmp_path / "black.safetensors"))

    (note,) = results.notes
    assert note.startswith("black holds the tensors of a call, role image, with a mask, NaN or inf")


def test_replay_beside_shapes(kept):
    path, _ = kept

    results = measure(*TINY, "--replay", str(path), "--roles", "text", "--backends", "flash")

    assert [row.part for row in results.rows] == ["image", "text"]


def test_command_measures_and_keeps_the_rows(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the command's charts")
    path = tmp_path / "kernels.csv"

    code = cli.main(["bench", "kernels", *TINY, "--output", str(path), "--json"])

    assert code == 0
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("backend")]
    assert {(row["backend"], row["part"]) for row in rows} == {
        (name, part) for name in ("flash", "math") for part in ("self", "text")
    }
    assert json.loads(capsys.readouterr().out)["baseline"] == "flash"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_measures_memory_and_agrees_with_itself(monkeypatch):
    monkeypatch.setattr(racing, "WARM_UP", 0.5)
    for module in (rate, room):
        monkeypatch.setattr(module, "BURST", 20.0)
    call = Call("self", 1, 8, 4096, 4096, 128, torch.bfloat16, "cuda:0")
    able = [b for b in (FLASH, BACKENDS["efficient"]) if not b.refusals(call, probe())]
    results = [Results("kernels", {}) for _ in range(2)]
    for found in results:
        race([Case("14b", "", 0, "self", call)], able, found, Track())

    for once, again in zip(results[0].rows, results[1].rows, strict=True):
        assert once.peak_gib * 2**30 >= 8 * 4096 * 128 * 2  # the output
        assert once.ms == pytest.approx(again.ms, rel=0.1)
