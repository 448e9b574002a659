from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from wanattn.attention.choose.measure.timer import timer_for
from wanattn.bench.benchmark import Benchmark
from wanattn.bench.results import file
from wanattn.bench.results.row import Row
from wanattn.commands import main as cli
from wanattn.commands.bench import main as command
from wanattn.commands.bench import progress
from wanattn.commands.console import stoppable
from wanattn.tests.bench.made import results, row

ROOT = Path(__file__).resolve().parents[3]
LOADED = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("pack", {!r})
sys.modules["pack"] = pack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
"""
# What starts the tests may have it ignore signals, and their children with it.
HEARING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
for name in ("SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
"""
SIZES = {"small": 32, "large": 256}


def multiply(options, found, progress) -> None:
    """Products of two matrices, which take turns; `--fail` raises what it names after so many rounds."""
    stopwatch = timer_for(torch.device("cpu"))
    found.baseline = options.against or "small"
    found.rows += [
        Row("products", name, "product", settings=options.settings or "") for name in SIZES
    ]
    rounds = options.repeat or 3
    progress.begin(rounds)
    for number in range(rounds):
        if number == options.after:
            raise FAILURES[options.fail]
        for made, size in zip(found.rows, SIZES.values(), strict=True):
            a = torch.ones(size, size)
            made.times.append(stopwatch(lambda a=a: a @ a, 20))
        progress.advance(1, f"round {number} \u00e9")


FAILURES = {
    "interrupt": KeyboardInterrupt(),
    "error": ValueError("the matrix is gone"),
    "bug": ZeroDivisionError("a bug"),
    "package": ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp"),
}


def add_arguments(parser) -> None:
    parser.add_argument("--fail", choices=FAILURES)
    parser.add_argument("--after", type=int)
    parser.add_argument("--workflow")


PRODUCTS = Benchmark("products", "Products of matrices.", add_arguments, multiply)


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.setitem(command.BENCHMARKS, "products", ("products of matrices", lambda: PRODUCTS))


@pytest.fixture
def bench(capfd):
    """Run `wanattn bench products`; gives the exit code, stdout and stderr."""

    def run(*arguments):
        code = cli.main(["bench", "products", *map(str, arguments)])
        return code, *capfd.readouterr()

    return run


def test_it_measures_saves_and_answers(bench, tmp_path):
    paths = [tmp_path / "a.csv", tmp_path / "a.json"]

    code, out, err = bench("--settings", "first", *(x for p in paths for x in ("--output", p)))

    assert code == 0
    for path in paths:
        found = file.read(path)
        assert found.finished and found.baseline == "small"
        assert [(made.backend, len(made.times)) for made in found.rows] == [
            ("small", 3),
            ("large", 3),
        ]
        assert found.rows[0].settings == "first"
        assert found.environment["torch"] == torch.__version__ and found.environment["started"]
    assert "| product | small " in out and "Stay with small" in out
    assert f"written: {paths[0]}, {paths[1]}" in err
    assert "round 2 ?" in err and " left" in err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.csv", "a.json"]


def test_repeat_and_against_reach_the_benchmark(bench, tmp_path):
    bench("--repeat", 2, "--against", "large", "--output", tmp_path / "a.json")

    found = file.read(tmp_path / "a.json")
    assert [len(made.times) for made in found.rows] == [2, 2]
    assert found.baseline == "large"


def test_json_is_the_file_and_what_follows_from_it(bench, tmp_path):
    bench("--output", tmp_path / "old.csv")

    code, out, _ = bench("--json", "--baseline", tmp_path / "old.csv")

    data = json.loads(out)
    assert code == 0 and data["kind"] == "wanattn benchmark" and len(data["rows"]) == 2
    assert data["answer"] and len(data["comparison"]["pairs"]) == 2


def test_an_earlier_file_is_compared(bench, tmp_path):
    made = Row("products", "small", "product", times=[1e6, 1.001e6])
    old = results(made, gpu="RTX 5090")
    old.benchmark = "products"
    file.write(old, tmp_path / "old.csv")

    _, out, _ = bench("--baseline", tmp_path / "old.csv")

    assert f"### Against {tmp_path / 'old.csv'}" in out
    assert "x faster" in out.partition("### Against")[2]
    assert "Different: gpu: RTX 5090 then, " in out


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_it_draws(bench, tmp_path, suffix):
    pytest.importorskip("matplotlib", reason="charts need matplotlib")

    code, _, _ = bench("--plot", tmp_path / f"a{suffix}")

    assert code == 0 and (tmp_path / f"a{suffix}").stat().st_size > 5000


def test_an_interrupt_keeps_what_was_measured(bench, tmp_path):
    path = tmp_path / "a.csv"

    code, out, err = bench("--fail", "interrupt", "--after", 2, "--output", path)

    found = file.read(path)
    assert code == 130
    assert [len(made.times) for made in found.rows] == [2, 2] and not found.finished
    assert f"wanattn: stopped, 2 rows kept in {path}" in err
    assert "Stopped early" in out


def test_an_error_in_the_middle_keeps_what_was_measured(bench, tmp_path):
    path = tmp_path / "a.json"

    code, out, err = bench("--fail", "error", "--after", 1, "--output", path)

    found = file.read(path)
    assert code == 2
    assert [len(made.times) for made in found.rows] == [1, 1] and not found.finished
    assert f"wanattn: the matrix is gone, 2 rows kept in {path}" in err
    assert found.notes == ["Ended by an error: the matrix is gone"]
    assert "Ended by an error: the matrix is gone" in out


def test_a_bug_keeps_and_shows_what_was_measured_and_says_where_it_is(bench, tmp_path):
    code, out, err = bench("--fail", "bug", "--after", 2, "--output", tmp_path / "a.csv")

    assert code == 2 and "| product | small " in out and "Traceback" not in err
    assert re.search(r"ZeroDivisionError: a bug \(test_main.py, line \d+\); please", err)
    assert [len(made.times) for made in file.read(tmp_path / "a.csv").rows] == [2, 2]


def test_what_an_earlier_run_could_not_put_in_place_is_not_lost(bench, tmp_path):
    path, part = tmp_path / "a.csv", tmp_path / "a.csv.part"
    part.write_text("the only copy")

    code, _, err = bench("--output", path)

    assert code == 2 and part.read_text() == "the only copy"
    assert f"'{part}' holds what an earlier run could not put in its place" in err


def test_a_console_that_cannot_show_a_name_is_no_failure(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")

    cli.say("\u4e2d 1.5x", console)

    console.flush()
    assert console.buffer.getvalue().split() == [b"?", b"1.5x"]


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [("interrupt", 130, "wanattn: stopped\n"), ("error", 2, "wanattn: the matrix is gone\n")],
)
def test_nothing_measured_leaves_the_older_file(bench, tmp_path, failure, code, words):
    path = tmp_path / "a.csv"
    path.write_text("older")

    given, out, err = bench("--fail", failure, "--after", 0, "--output", path)

    assert (given, out, path.read_text()) == (code, "", "older")
    assert err.endswith(words)


def test_reasons_of_a_benchmark_that_failed_are_shown_and_not_saved(bench, tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("older")

    def measure(options, found, progress):
        found.rows.append(Row("products", "small", "product", reason="no cores"))
        raise RuntimeError("no setting worked")

    failing = dataclasses.replace(PRODUCTS, measure=measure)
    monkeypatch.setitem(command.BENCHMARKS, "products", ("", lambda: failing))

    code, out, err = bench("--output", path)

    assert code == 2 and "- small: no cores" in out
    assert err == "wanattn: no setting worked\n" and path.read_text() == "older"


def test_reasons_of_a_benchmark_that_ended_early_leave_the_older_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("older")
    found = results(row("flash", reason="not timed"), finished=False)

    progress.SavedProgress(found, [path]).save()
    assert path.read_text() == "older"

    found.finished = True
    progress.SavedProgress(found, [path]).save()
    assert file.read(path).rows[0].reason == "not timed"


def test_a_package_missing_in_the_middle_is_named_with_its_pip_line(bench):
    code, _, err = bench("--fail", "package", "--after", 0)

    assert code == 2
    assert "bench products needs aiohttp, which is not installed; install it with: " in err
    assert "-m pip install aiohttp" in err


def test_rows_are_saved_while_it_runs(bench, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr(
        progress.file, "write", lambda found, path: seen.append(len(found.rows[0].times))
    )

    bench("--output", tmp_path / "a.csv", "--repeat", 2)

    assert seen == [1, 2, 2]


def test_a_disk_that_fills_up_still_shows_the_table(bench, tmp_path, monkeypatch):
    def full(found, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(progress.file, "write", full)

    code, out, err = bench("--output", tmp_path / "a.csv")

    assert code == 2 and "Stay with small" in out
    assert "No space left on device" in err


def foreign(path: Path) -> Path:
    path.write_text("a,b\n1,2\n")
    return path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--repeat", "1"], "repeat 1, needs at least 2 to know the spread"),
        (["--seed", "-1"], "seed -1, needs 0 to 18446744073709551615"),
        (["--seed", str(2**64)], "seed 18446744073709551616, needs 0 to"),
        (["--output", "a.txt"], "--output 'a.txt', needs a name that ends in .csv or .json"),
        (["--output", "a"], "--output 'a', needs a name that ends in .csv or .json"),
        (["--output", "none/a.csv"], "there is no folder 'none', make it first"),
        (["--output", "folder.csv"], "--output 'folder.csv' is a folder, needs a file"),
        (["--plot", "a.pdf"], "--plot 'a.pdf', needs a name that ends in .png or .html"),
        (["--plot", "none/a.png"], "there is no folder 'none', make it first"),
        (["--baseline", "absent.csv"], "cannot read 'absent.csv': No such file"),
        (["--baseline", "foreign.csv"], "'foreign.csv': line 1 has no column benchmark"),
        (["--baseline", "old.csv"], "'old.csv' is of bench kernels, needs one of bench products"),
        (["--baseline", "old.csv", "--output", "./old.csv"], "both 'old.csv', needs two files"),
    ],
)
def test_what_would_spoil_the_end_is_said_before_the_beginning(
    bench, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    foreign(tmp_path / "foreign.csv")
    (tmp_path / "folder.csv").mkdir()
    file.write(results(row("flash", 4.0)), tmp_path / "old.csv")
    monkeypatch.setitem(FAILURES, "error", AssertionError("it was measured"))

    code, out, err = bench(*arguments, "--fail", "error", "--after", 0)

    assert (code, out) == (2, "") and sentence in err


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="root may write everywhere, and on Windows a read-only folder bars nobody",
)
def test_a_folder_that_cannot_be_written_is_said_before(bench, tmp_path):
    tmp_path.chmod(0o500)

    code, _, err = bench("--output", tmp_path / "a.csv")

    assert code == 2 and "cannot write" in err


def test_a_chart_without_matplotlib_is_refused_before(bench, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    code, out, err = bench("--plot", tmp_path / "a.png")

    assert (code, out) == (2, "") and "--plot needs matplotlib, which does not load" in err
    assert "-m pip install matplotlib" in err


def test_an_interrupt_after_the_measurements_costs_none_of_the_results(
    bench, tmp_path, monkeypatch
):
    monkeypatch.setattr(command.chart, "save", lambda *_: signal.raise_signal(signal.SIGINT))

    code, out, _ = bench("--plot", tmp_path / "a.html", "--output", tmp_path / "a.csv")

    assert code == 0 and "Stay with small" in out and file.read(tmp_path / "a.csv").finished


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("no room"), "no room"),
        (KeyError("x"), "no chart: KeyError: 'x' (test_main"),
    ],
)
def test_a_chart_that_fails_costs_no_table(bench, tmp_path, monkeypatch, error, words):
    def fail(*_):
        raise error

    monkeypatch.setattr(command.chart, "save", fail)

    code, out, err = bench("--plot", tmp_path / "a.html", "--output", tmp_path / "a.csv")

    assert code == 2 and "Stay with small" in out
    assert f"wanattn: {words}" in err and f"written: {tmp_path / 'a.csv'}\n" in err


def test_without_a_name_it_is_the_kernels(monkeypatch, capfd):
    monkeypatch.setitem(command.BENCHMARKS, "kernels", ("", lambda: PRODUCTS))

    assert cli.main(["bench"]) == 0
    assert cli.main(["bench", "--repeat", "2"]) == 0
    assert capfd.readouterr().out.count("Stay with small") == 2


def test_help_lists_the_benchmarks_and_loads_none(monkeypatch, capfd):
    for name in command.BENCHMARKS:
        monkeypatch.setitem(command.BENCHMARKS, name, ("what it does", None))

    assert cli.main(["bench", "--help"]) == 0
    out = capfd.readouterr().out
    assert all(f"  {name}" in out for name in ("kernels", "model", "workflow"))


@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_help_can_be_shown_on_any_console(name, monkeypatch, capfd):
    """Also in code page 437, which argparse knows nothing of."""
    if name == "workflow":
        pytest.importorskip("aiohttp", reason="aiohttp not installed")
        from wanattn.commands.bench.workflow.command import BENCHMARK

        monkeypatch.setattr(command, "load", lambda _: BENCHMARK)

    with pytest.raises(SystemExit):
        cli.main(["bench", name, "--help"])

    assert "--share" in (out := capfd.readouterr().out) and out.isascii()


def test_an_unknown_benchmark_is_a_sentence(capfd):
    assert cli.main(["bench", "nodes"]) == 2
    assert "benchmark 'nodes', needs one of kernels, model, workflow" in capfd.readouterr().err


def test_the_entry_point_names_the_benchmark():
    pytest.importorskip("aiohttp", reason="aiohttp not installed")
    from wanattn.commands.bench.workflow.command import BENCHMARK

    assert BENCHMARK.name == "workflow"
    line = 'workflow = "wanattn.commands.bench.workflow.command:BENCHMARK"'
    assert line in (ROOT / "pyproject.toml").read_text()


def test_without_the_repository_it_says_how_to_get_it(monkeypatch, capfd):
    monkeypatch.setattr(command.metadata, "entry_points", lambda **group: ())

    assert cli.main(["bench", "workflow"]) == 2

    said = capfd.readouterr().err
    assert "bench workflow comes with the repository and is not in this installation" in said
    assert f"git clone {command.REPOSITORY}, then in its folder: " in said
    assert '-m pip install -e ".[bench]"' in said
    assert f'Repository = "{command.REPOSITORY}"' in (ROOT / "pyproject.toml").read_text()


signals = pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
again = pytest.mark.parametrize("times", [1, 2], ids=["once", "again at once"])


@pytest.fixture
def hearing():
    """What starts the tests may have it ignore signals."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.SIG_DFL for name in names}
    before = {number: signal.signal(number, handler) for number, handler in before.items()}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C in another way")
@signals
@again
def test_a_signal_ends_a_benchmark_with_the_rows_kept(
    bench, tmp_path, monkeypatch, hearing, name, times
):
    """The second one comes while the rows are being saved."""
    number = getattr(signal, name)
    write = file.write

    def slow(found, path):
        if times == 2:
            signal.raise_signal(number)
        write(found, path)

    monkeypatch.setattr(progress.file, "write", slow)

    def measure(options, found, shown):
        multiply(options, found, shown)
        signal.raise_signal(number)
        raise AssertionError("nobody heard it")

    stopping = dataclasses.replace(PRODUCTS, measure=measure)
    monkeypatch.setitem(command.BENCHMARKS, "products", ("", lambda: stopping))

    code, out, err = bench("--output", tmp_path / "a.csv")

    assert code == 130 and "Stopped early" in out
    assert f"wanattn: stopped, 2 rows kept in {tmp_path / 'a.csv'}" in err
    assert [len(made.times) for made in file.read(tmp_path / "a.csv").rows] == [3, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C in another way")
def test_ctrl_c_ends_the_real_command_which_loaded_nothing_that_it_does_not_need(tmp_path):
    script = HEARING + LOADED.format(str(ROOT / "__init__.py"))
    script += """
code = pack.main()
denied = ("pack.commands.bench.workflow", "pack.commands.bench.model", "matplotlib", "aiohttp", "diffusers")
sys.exit(", ".join(name for name in sys.modules if name.startswith(denied)) or code)
"""
    arguments = "bench kernels --device cpu --size 64x64 --frames 5 --roles self --backends flash"
    arguments += " --repeat 100000000 --output a.csv"
    running = subprocess.Popen(
        [sys.executable, "-c", script, *arguments.split()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    seen = b""
    while not re.search(rb"flash \d+/", seen) and running.poll() is None:
        seen += running.stderr.read(20)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)

    assert running.returncode == 130, err
    assert b"wanattn: stopped, 1 row kept in a.csv" in err and b"Stopped early" in out
    assert len(file.read(tmp_path / "a.csv").rows[0].times) >= 1


RAISING = """
import pathlib, signal, threading, time
def wait():
    while not pathlib.Path("now").exists():
        time.sleep(0.01)
    signal.raise_signal(signal.{})
threading.Thread(target=wait, daemon=True).start()
"""


@pytest.mark.parametrize("raised", [n for n in ("SIGINT", "SIGBREAK") if hasattr(signal, n)])
def test_ctrl_c_and_ctrl_break_keep_the_rows_where_no_signal_is_sent(tmp_path, raised):
    script = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += RAISING.format(raised)
    script += LOADED.format(str(ROOT / "__init__.py")) + "sys.exit(pack.main())"
    arguments = "bench kernels --device cpu --size 64x64 --frames 5 --roles self --backends flash"
    arguments += " --repeat 100000000 --output a.csv"
    with open(tmp_path / "err", "w+b") as err:
        running = subprocess.Popen(
            [sys.executable, "-c", script, *arguments.split()], cwd=tmp_path, stderr=err
        )
        while not re.search(rb"flash \d+/", (tmp_path / "err").read_bytes()):
            assert running.poll() is None
            time.sleep(0.05)
        (tmp_path / "now").touch()
        running.wait(timeout=60)

    assert running.returncode == 130
    assert b"wanattn: stopped, 1 row kept in a.csv" in (tmp_path / "err").read_bytes()
    assert len(file.read(tmp_path / "a.csv").rows[0].times) >= 1


def test_ctrl_c_while_the_command_loads_is_no_traceback():
    script = LOADED.format(str(ROOT / "__init__.py"))
    script += """
class Interrupted:
    def find_spec(self, name, *_):
        if name == "torch":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
sys.exit(pack.main())
"""
    ended = subprocess.run([sys.executable, "-c", script, "doctor"], capture_output=True)

    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


def test_what_is_ignored_stays_ignored():
    """As under nohup; afterwards all is as before."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stoppable() as deafen:
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            deafen()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, heard)


@pytest.mark.parametrize("source", ["--baseline", "--workflow"])
@pytest.mark.parametrize("option", ["--output", "--plot"])
@pytest.mark.parametrize("by", ["link", "second name", "way around", "other case"])
def test_no_result_takes_the_place_of_what_is_read(bench, tmp_path, link, option, source, by):
    suffix = {"--output": ".csv", "--plot": ".html"}[option]
    old = tmp_path / f"old{suffix}"
    old.write_text("mine")
    other = tmp_path / f"other{suffix}"
    if by == "link":
        link(other, old)
    elif by == "second name":
        os.link(old, other)
    elif by == "way around":
        other = tmp_path / ".." / tmp_path.name / old.name
    else:
        other = tmp_path / old.name.upper()
        if not other.exists():
            pytest.skip("names of another case are other files here")

    code, _, err = bench(source, old, option, other)

    assert code == 2 and old.read_text() == "mine"
    assert f"{option} and {source} are both '{old}', needs two files" in err


def test_a_full_disk_is_told_and_the_other_files_are_written(bench, tmp_path, monkeypatch):
    whole = Path.write_bytes

    def write(self, content):
        if self.name.startswith("full"):
            whole(self, content[:10])
            raise OSError(28, "No space left on device")
        return whole(self, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    full, good = tmp_path / "full.csv", tmp_path / "good.csv"

    code, out, err = bench("--output", full, "--output", good)

    assert code == 2 and "| product | small " in out
    assert f"written: {good}\n" in err and f"cannot write '{full}': No space left on device" in err
    assert [path.name for path in tmp_path.iterdir()] == ["good.csv"]


def test_a_closed_console_costs_no_chart(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="charts need matplotlib")
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    path = tmp_path / "a.png"

    assert cli.main(["bench", "products", "--plot", str(path)]) == 0
    assert path.stat().st_size > 5000
