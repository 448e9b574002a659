"""Mutation testing: python -m tools.mutation --sample 400 --seed 14 --python .venv/bin/python --comfyui PATH

Makes small faults in attention/ and nodes/, one at a time in a copy of the repository, and lists those that no test
notices. Runs in an environment of its own with cosmic-ray; `--python` and `--host-python` run the tests.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .places import Mutant, sample

ROOT = Path(__file__).resolve().parents[2]
TRIALS = Path(__file__).with_name("trials.py")
NEEDS = (
    "server",
    "open_page",
    "browser",
)  # fixtures of tests that do not run in this process alone


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    parser.add_argument("--folders", default="attention,nodes", metavar="A,B")
    parser.add_argument("--sample", type=int, default=400, help="faults; default 400")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="of the CPU tier")
    parser.add_argument("--comfyui", metavar="PATH", help="for the tests inside a real ComfyUI")
    parser.add_argument("--host-python", help="ComfyUI's own")
    parser.add_argument(
        "--inside", metavar="A,B", help="tests for ComfyUI; default all that need no server"
    )
    parser.add_argument("--results", type=Path, help="keeps what was tried as lines of JSON")
    parser.add_argument("--again", type=Path, help="try the survivors of such a file, no new ones")
    return parser.parse_args()


def main() -> int:
    given = options()
    if bool(given.comfyui) != bool(given.host_python):
        sys.exit("--comfyui and --host-python, needs both or none")
    if given.again:
        mutants = survivors_of(given.again)
    else:
        mutants = sample(ROOT, given.folders.split(","), given.sample, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        tried = Trials(Path(folder), given).run(mutants)
    if given.results:
        lines = [json.dumps(one) for one in tried]
        given.results.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return told(tried)


def survivors_of(path: Path) -> list[Mutant]:
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    named = (one for one in lines if not one["killed"])
    return [
        Mutant(one["file"], tuple(one["place"]), one["operator"], one["occurrence"])
        for one in named
    ]


class Trials:
    """The CPU tier first; what it does not notice, the tests inside ComfyUI get to see."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self._folder, self._given = folder, given
        self._copy = folder / "wanattn"  # pytest wants a name that Python can import
        _copied(self._copy)

    def run(self, mutants: list[Mutant]) -> list[dict]:
        tried = [
            {
                "number": number,
                "file": one.file,
                "place": one.place,
                "operator": one.operator,
                "occurrence": one.occurrence,
                "source": one.source(ROOT),
                "killed": False,
                "by": "",
            }
            for number, one in enumerate(mutants)
        ]
        near = [one["number"] for one in tried if one["file"].startswith("attention/")]
        self._tier(tried, near, self._given.python, ["tests/attention"])
        if self._given.comfyui:
            left = [one["number"] for one in tried if not one["killed"]]
            chosen = self._given.inside
            inside = chosen.split(",") if chosen else alone(self._copy)
            self._tier(tried, left, self._given.host_python, inside, self._given.comfyui)
        return [{key: one[key] for key in one if key != "source"} | _lines(one) for one in tried]

    def _tier(
        self, tried: list[dict], numbers: list[int], python: str, tests: list[str], *host: str
    ) -> None:
        if not numbers:
            return
        given, results = self._folder / "mutants.jsonl", self._folder / "results.jsonl"
        results.unlink(missing_ok=True)
        given.write_text("".join(json.dumps(tried[n]) + "\n" for n in numbers), encoding="utf-8")
        command = [python, str(TRIALS), str(self._copy), str(given), str(results), ",".join(tests)]
        subprocess.run([*command, *host], check=True)
        for line in results.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            if found["number"] < 0:
                sys.exit(f"the tests fail without any fault: {found['by']}")
            tried[found["number"]] |= {"killed": found["killed"], "by": found["by"]}


def _copied(copy: Path) -> None:
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)


def alone(copy: Path) -> list[str]:
    """The tests inside ComfyUI that need no server."""
    found = sorted((copy / "tests/host").glob("test_*.py"))
    return [str(path.relative_to(copy)) for path in found if not _needs_server(path)]


def _needs_server(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return any(f"({name}" in text or f", {name}" in text for name in NEEDS)


def _lines(one: dict) -> dict:
    """The line as it was and as it is with the fault."""
    before = (ROOT / one["file"]).read_text(encoding="utf-8").splitlines()
    after = one["source"].splitlines()
    differ = [pair for pair in zip(before, after, strict=False) if pair[0] != pair[1]]
    was, now = differ[0] if differ else ("", "")
    return {"was": was.strip(), "now": now.strip()}


def told(tried: list[dict]) -> int:
    """Prints the survivors and their share; the exit status is 1 where there are any."""
    left = [one for one in tried if not one["killed"]]
    for one in sorted(left, key=lambda one: (one["file"], one["place"])):
        print(f"{one['file']}:{one['place'][0]}\n  - {one['was']}\n  + {one['now']}")
    print(f"{len(left)} of {len(tried)} faults survived ({len(left) / max(len(tried), 1):.1%})")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
