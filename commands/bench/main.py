"""wanattn bench: runs one benchmark, keeps what it measured, says what to use."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from ...attention.backends.packages import pip
from ...attention.failure import words
from ...bench import REPOSITORY
from ...bench.benchmark import Benchmark
from ...bench.results import chart, compare, file, share, table
from ...bench.results.machine import facts
from ...bench.results.row import Results
from ...bench.results.words import listed
from ..console import INTERRUPTED, STOPPED, say, stoppable
from .progress import SavedProgress

GROUP = "wanattn.bench"  # of entry points
MOST_SEED = 2**64 - 1  # of torch and of ComfyUI


def _kernels() -> Benchmark:
    from .kernels import BENCHMARK

    return BENCHMARK


def _model() -> Benchmark:
    from .model.command import BENCHMARK

    return BENCHMARK


def _workflow() -> Benchmark:
    """It opens connections, so it is not in the published archive and nothing here may import it."""
    found = metadata.entry_points(group=GROUP, name="workflow")
    if not found:
        raise RuntimeError(_absence("workflow"))
    return next(iter(found)).load()


# Loaded only when asked for: the last two need more packages.
BENCHMARKS: dict[str, tuple[str, Callable[[], Benchmark]]] = {
    "kernels": (
        "every attention backend at Wan's own shapes (about a minute on an H100 with six)",
        _kernels,
    ),
    "model": ("a whole forward of Wan's denoiser with random weights", _model),
    "workflow": ("your own workflow on a running ComfyUI server", _workflow),
}


def main(arguments: Sequence[str]) -> int:
    """`arguments` are those after `wanattn bench`; without a name it is `kernels`."""
    rest = list(arguments)
    if rest[:1] in (["-h"], ["--help"]):
        say(overview())
        return 0
    name = rest.pop(0) if rest and not rest[0].startswith("-") else "kernels"
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark '{name}', needs one of {', '.join(BENCHMARKS)}")
    benchmark = load(name)
    return run(benchmark, parser_of(benchmark).parse_args(rest))


def overview() -> str:
    lines = [f"  {name:10}{help}" for name, (help, _) in BENCHMARKS.items()]
    usage = "usage: wanattn bench [kernels|model|workflow] [options]"
    more = "wanattn bench kernels --help shows the options of one. Without a name it is kernels."
    return "\n".join([usage, "", *lines, "", more])


def load(name: str) -> Benchmark:
    """Raises RuntimeError with what to install or to fetch."""
    try:
        return BENCHMARKS[name][1]()
    except ModuleNotFoundError as error:
        raise RuntimeError(_missing(name, error)) from error


def _missing(name: str, error: ModuleNotFoundError) -> str:
    missing = error.name or str(error)
    line = pip(missing.partition(".")[0])
    return f"bench {name} needs {missing}, which is not installed; install it with: {line}"


def _absence(name: str) -> str:
    line = pip("-e", '".[bench]"')
    return (
        f"bench {name} comes with the repository and is not in this installation; get it with: "
        f"git clone {REPOSITORY}, then in its folder: {line}"
    )


def parser_of(benchmark: Benchmark) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"wanattn bench {benchmark.name}", description=benchmark.help
    )
    benchmark.add_arguments(parser)
    common = parser.add_argument_group("results")
    common.add_argument(
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="save as .csv or .json; may be repeated",
    )
    common.add_argument(
        "--baseline", type=Path, metavar="OLD", help="compare with an earlier .csv or .json"
    )
    common.add_argument("--against", metavar="BACKEND", help="what the others are set against")
    common.add_argument("--plot", type=Path, metavar="FILE", help="a chart as .png or .html")
    common.add_argument(
        "--share", type=Path, metavar="FILE", help="what others may see, as .json: no path, no name"
    )
    common.add_argument("--repeat", type=int, metavar="N", help="rounds, at least 2")
    common.add_argument("--seed", type=int, metavar="N", help="of the random inputs; default 0")
    common.add_argument("--settings", metavar="LABEL", help="kept with each row")
    common.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(benchmark: Benchmark, options: argparse.Namespace) -> int:
    """Measure, save, print. What was measured is kept whatever happens."""
    old = check(benchmark, options)
    results = Results(benchmark.name, facts(getattr(options, "device", None)))
    progress = SavedProgress(results, options.output)
    with stoppable() as deafen:
        code, ending = _measured(benchmark, options, progress)
        deafen()
        progress.close()
        unsaved = _save(progress) or _shared(results, options.share)
        if progress.tells:
            _show(results, old, options, progress.written)
    if unsaved:
        raise OSError(unsaved)
    if ending:
        kept = f", {_kept(results, progress.written)}" if progress.holds else ""
        say(f"wanattn: {ending}{kept}", sys.stderr)
        return code
    return 0 if any(row.times for row in results.rows) else 1


def _measured(
    benchmark: Benchmark, options: argparse.Namespace, progress: SavedProgress
) -> tuple[int, str]:
    """The exit code and the words of a benchmark that ended early, else 0 and none."""
    results = progress.results
    try:
        benchmark.measure(options, results, progress)
        results.finished = True
        return 0, ""
    except KeyboardInterrupt:
        return INTERRUPTED, STOPPED
    except (ModuleNotFoundError, ValueError, RuntimeError, OSError) as error:
        ending = _sentence(benchmark, error)
        results.notes.append(f"Ended by an error: {ending}")
    except Exception as error:
        ending = _defect(error)
        results.notes.append(f"Ended by a defect: {ending}")
    return 2, ending


def _sentence(benchmark: Benchmark, error: Exception) -> str:
    absent = isinstance(error, ModuleNotFoundError)
    return _missing(benchmark.name, error) if absent else str(error) or type(error).__name__


def _defect(error: Exception) -> str:
    """What to report of an exception that nobody expected."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"{words(error)} ({place}); please report it: {REPOSITORY}/issues"


def _save(progress: SavedProgress) -> str:
    """Why it could not be, for after the table: that would be lost else."""
    try:
        progress.save()
    except OSError as error:
        return str(error)
    return ""


def _shared(results: Results, path: Path | None) -> str:
    """Why it could not be written, empty where it was or was not asked for."""
    try:
        if path is not None:
            share.write(results, path)
            say(f"to share: {path}", sys.stderr)
    except (ValueError, OSError) as error:
        return f"--share: {error}"
    return ""


def check(benchmark: Benchmark, options: argparse.Namespace) -> Results | None:
    """Everything that could spoil the end of a long run, before it begins. Gives the results of --baseline."""
    if options.repeat is not None and options.repeat < 2:
        raise ValueError(f"repeat {options.repeat}, needs at least 2 to know the spread")
    if not 0 <= (options.seed or 0) <= MOST_SEED:
        raise ValueError(f"seed {options.seed}, needs 0 to {MOST_SEED}")
    for path in options.output:
        file.check_target(path, "--output", file.SUFFIXES)
    if options.share is not None:
        if benchmark.name not in share.SHAREABLE:
            raise ValueError(f"--share: {share.refusal(benchmark.name)}")
        file.check_target(options.share, "--share", share.SUFFIXES)
    if options.plot is not None:
        file.check_target(options.plot, "--plot", chart.SUFFIXES)
        _require_matplotlib()
    _spare_inputs(options)
    if options.baseline is None:
        return None
    old = file.read(options.baseline)
    if old.benchmark != benchmark.name:
        raise ValueError(
            f"--baseline '{options.baseline}' is of bench {old.benchmark}, needs one of bench {benchmark.name}"
        )
    return old


def _spare_inputs(options: argparse.Namespace) -> None:
    """Raises ValueError where a result would take the place of what the benchmark reads."""
    replays = getattr(options, "replay", None) or []
    read = [("--baseline", options.baseline), ("--workflow", getattr(options, "workflow", None))]
    read += [("--replay", path) for path in replays]
    written = [("--output", path) for path in options.output] + [("--plot", options.plot)]
    written += [("--share", options.share)]
    for option, path in written:
        for other, source in read:
            if path and source and _is_one_file(path, Path(source)):
                raise ValueError(
                    f"{option} and {other} are both '{source}', needs two files: the old one would be lost"
                )


def _is_one_file(path: Path, other: Path) -> bool:
    """Also by a link, a second name, and on Windows by another case or a short name."""
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them is not there yet
        return os.path.normcase(path.resolve()) == os.path.normcase(other.resolve())


def _require_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            f"--plot needs matplotlib, which does not load ({error}); install it with: {pip('matplotlib')}"
        ) from error


def _show(
    results: Results, old: Results | None, options: argparse.Namespace, saved: list[Path]
) -> None:
    comparison = compare.verdicts(old, results) if old else None
    undrawn = _draw(results, options.plot)
    if options.json:
        say(json.dumps({**file.plain(results), **_added(results, comparison)}, indent=1))
    else:
        say(table.text(results))
        if comparison:
            say("\n" + table.compared(comparison, str(options.baseline)))
    written = [*saved, *([] if undrawn or options.plot is None else [options.plot])]
    if written:
        say(f"written: {', '.join(map(str, written))}", sys.stderr)
    if undrawn:
        raise OSError(undrawn)


def _draw(results: Results, path: Path | None) -> str:
    """Before anything is printed: a closed console must cost no chart. Why it could not be, for the end."""
    try:
        if path is not None:
            chart.save(results, path)
    except OSError as error:
        return str(error)
    except Exception as error:
        return f"no chart: {_defect(error)}"
    return ""


def _added(results: Results, comparison: compare.Comparison | None) -> dict:
    """What is computed from the rows, for a program that reads the output."""
    answer = {"answer": table.answer(results)}
    return answer | ({"comparison": compare.plain(comparison)} if comparison else {})


def _kept(results: Results, saved: list[Path]) -> str:
    rows = sum(bool(row.times) for row in results.rows)
    where = f"kept in {listed(map(str, saved))}" if saved else "in the table above"
    return f"{rows} {'row' if rows == 1 else 'rows'} {where}"
