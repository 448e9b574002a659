from __future__ import annotations

import csv
import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from wanattn.attention.backends import BACKENDS, packages
from wanattn.attention.choose import advice
from wanattn.attention.choose.measure.timings import parse
from wanattn.attention.environment import Gpu, probe
from wanattn.commands import demo, diagnosis, doctor
from wanattn.commands import main as cli
from wanattn.commands.absent import say_absent
from wanattn.tests.child import children

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--size",
    "64x64",
    "--frames",
    "5",
    "--roles",
    "self",
    "--backends",
    "flash",
    "--repeat",
    "2",
]


def test_doctor_tries_every_backend(capsys):
    code = cli.main(["doctor", "--device", "cpu", "--json"])

    findings = json.loads(capsys.readouterr().out)
    available = {backend["name"]: backend["available"] for backend in findings["backends"]}
    assert code == 0
    assert {name for name, there in available.items() if there} == {"flash", "math"}
    fa3 = next(backend for backend in findings["backends"] if backend["name"] == "fa3")
    assert fa3["reasons"] == ["FlashAttention-3 does not exist on cpu"]
    assert fa3["install"] is None  # nothing to install would change that
    assert findings["toggles"] == {"flash": True, "mem_efficient": True, "math": True}


WAYS = {"-m wanattn": ["-m", ROOT.name], "by its folder": [str(ROOT)]}


@pytest.fixture(scope="module", autouse=True)
def helped():
    """A Python for each way to ask the pack for help, at work meanwhile."""
    commands = {way: [sys.executable, *words, "--help"] for way, words in WAYS.items()}
    with children(commands, ROOT.parent) as started:
        yield started


@pytest.mark.parametrize("page", ["cp1252", "cp437", "ascii"])
@pytest.mark.parametrize("command", [["doctor"], ["bench", "--settings", "\u4e2d\u00b7", *SMALL]])
def test_a_redirected_console_of_any_code_page_is_no_failure(monkeypatch, page, command):
    console = io.TextIOWrapper(io.BytesIO(), encoding=page)
    monkeypatch.setattr(sys, "stdout", console)

    assert cli.main([*command, "--device", "cpu"]) == 0

    console.flush()
    assert b"flash" in console.buffer.getvalue()


def test_doctor_text_gives_the_reason(capsys):
    cli.main(["doctor", "--device", "cpu"])

    text = capsys.readouterr().out
    assert text.startswith("Use auto. Here: flash, math. 11 kernels missing: ")
    assert "  cudnn      cuDNN does not exist on cpu\n" in text
    assert "  flash      here: FlashAttention\n" in text
    assert f"torch {torch.__version__}" in text


def test_doctor_gives_the_install_line_and_the_caveat_where_the_package_is_all_that_lacks(
    monkeypatch, make_environment
):
    absence = "FlashAttention-3 not installed (No module named 'flash_attn_interface')"
    monkeypatch.setattr(packages, "find", lambda package: packages.Found(None, absence))
    environment = make_environment(platform="Linux x86_64")

    def told(name, *reasons):
        kernel = dataclasses.replace(BACKENDS[name], refusals=lambda call, env: list(reasons))
        return diagnosis.text(findings([doctor._try(kernel, "cpu", environment)], environment))

    assert "pip install fa3-fwd" in told("fa3", absence)
    assert "error about 5e-2" in told("fa3_fp8", absence)
    assert "pip install" not in told("fa3", absence, "compute capability 8.6, needs 9.0")


def findings(backends, environment, device="cpu") -> dict:
    """What the doctor finds, but for what it looks up on this machine."""
    known = {"environment": environment.facts(), "device": device, "comfyui": None}
    found = doctor.advise(environment, device, backends, {})
    return {**found, **known, "toggles": {}, "replaced": [], "backends": backends}


def test_doctor_begins_with_a_torch_that_cannot_use_the_card(make_environment, monkeypatch):
    python = r"C:\Program Files\ComfyUI\python_embeded\python.exe"
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setattr(sys, "platform", "win32")
    environment = make_environment(
        torch="2.14.1+cpu", cuda=None, gpus=(), cards=("NVIDIA GeForce RTX 5090",), built_for="cpu"
    )

    lines = diagnosis.text(findings([], environment)).splitlines()

    assert (
        lines[0] == "torch 2.14.1+cpu cannot use your NVIDIA GeForce RTX 5090: it is built for CPUs"
    )
    assert lines[3].startswith(f'  "{python}" -m pip install --force-reinstall torch')
    assert "PowerShell" in lines[4]


def test_doctor_fits_80_columns_but_for_what_is_copied(make_environment, monkeypatch):
    monkeypatch.setattr(
        packages,
        "find",
        lambda package: packages.Found(None, f"{package.title} not installed (no)"),
    )
    environment = make_environment(cards=("NVIDIA H100 80GB HBM3",))
    call = advice.probe_call(environment, "cuda")
    backends = [
        {
            "name": backend.name,
            "label": backend.label,
            "exact": backend.exact,
            "reasons": reasons,
            "available": not reasons,
            **doctor._package(backend, environment, "cuda", reasons),
        }
        for backend in BACKENDS.values()
        for reasons in [backend.refusals(call, environment)]
    ]

    lines = diagnosis.text(findings(backends, environment, "cuda")).splitlines()

    assert not [line for line in lines if len(line) > 80 and " -m pip install " not in line]
    assert not [line for line in lines if " -m pip install " in line and line.endswith(")")]
    assert "(compiles for an hour or more, needs the CUDA toolkit)" in "\n".join(lines)
    assert "Missing, and would gain most: fa3, 1.2x cudnn elsewhere" in "\n".join(lines)


def test_doctor_reads_a_host_without_running_it(tmp_path, capsys):
    (tmp_path / "comfy").mkdir()
    (tmp_path / "main.py").write_text("raise SystemExit")
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.33.0"')
    (tmp_path / "comfy/cli_args.py").write_text('add("--use-sage-attention")')
    (tmp_path / "run.bat").write_text("python main.py --use-sage-attention")

    cli.main(["doctor", "--device", "cpu", "--comfyui", str(tmp_path), "--json"])

    host = json.loads(capsys.readouterr().out)["comfyui"]
    assert (host["version"], host["flags"]) == ("0.33.0", ["--use-sage-attention"])
    assert host["default"] == doctor.host_default(probe())
    assert host["launchers"]["run.bat"] == ["--use-sage-attention"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["doctor", "--comfyui", "nowhere"],
            "no ComfyUI in 'nowhere'; expected a folder with main.py",
        ),
        (["doctor", "--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        (["demo", "--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        (["demo", "--device", "cpu", "--size", "100x128"], "width 100, needs a multiple of 16"),
        (["demo", "--device", "cpu", "--size", "large"], "size 'large', needs WIDTHxHEIGHT"),
        (["demo", "--device", "cpu", "--frames", "80"], "frames 80, needs 4n+1"),
        (["demo", "--device", "cpu", "--steps", "0"], "steps 0, needs at least 1"),
    ],
)
def test_wrong_arguments_are_a_sentence_and_exit_2(capsys, arguments, sentence):
    assert cli.main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_demo_runs_every_backend_and_matches_the_unpatched_model(tmp_path, capsys, empty_cache):
    pytest.importorskip("diffusers", reason="the demo's model comes from diffusers")

    code = cli.main(["demo", "--device", "cpu", "--steps", "1", "--out", str(tmp_path)])

    payload = json.loads((tmp_path / "demo.json").read_text())
    asked = {row["requested"]: row["active"] for row in payload["rows"]}
    flash = dict.fromkeys(("flash", "efficient", "cudnn", "host"), "flash")
    assert code == 0
    assert asked.pop("auto") in ("flash", "math")  # whichever was faster
    assert asked == {**flash, "math": "math"}
    assert payload["calls"] == 6 * 2 * 4  # backends, forwards, two calls in each of two blocks
    with (tmp_path / "demo.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == payload["calls"]
    out = capsys.readouterr().out
    assert "max relative error against the unpatched model" in out
    assert "Every output equals the unpatched model's to 1e-04." in out.splitlines()[-1]
    (known,) = parse(empty_cache.read_text()).values()
    assert len(known) == 2  # what auto measured of both roles is kept for the next time


@pytest.mark.parametrize("lacking", ["diffusers", "a folder"])
def test_demo_says_what_it_lacks_before_it_draws_anything(tmp_path, capfd, monkeypatch, lacking):
    out = tmp_path / "out"
    if lacking == "diffusers":
        monkeypatch.setitem(sys.modules, "diffusers", None)
        for name in [name for name in sys.modules if name.startswith("diffusers.")]:
            monkeypatch.setitem(sys.modules, name, None)
    else:
        out.write_text("a file")

    assert cli.main(["demo", "--device", "cpu", "--out", str(out)]) == 2

    err = capfd.readouterr().err
    assert err.startswith("wanattn: ") and "denoising" not in err
    assert ("the demo needs diffusers" if lacking == "diffusers" else "cannot be written") in err


@pytest.mark.parametrize(
    ("error", "device", "told"),
    [
        (
            0.0,
            "cpu",
            "On this CPU flash and math run, flash 4.0x as fast as math at 4,096 tokens. "
            "An NVIDIA card adds cuDNN and mem-efficient. "
            "Every output equals the unpatched model's to 1e-04.",
        ),
        (
            float("nan"),
            "cuda:0",
            "On this RTX flash and math run, flash 4.0x as fast as math at 4,096 tokens. "
            "The output under math is wrong.",
        ),
    ],
)
def test_demo_ends_with_what_it_means(error, device, told, monkeypatch):
    monkeypatch.setattr(demo, "probe", lambda: dataclasses.replace(probe(), cards=()))
    rows = [{"active": name, "device": device} for name in ("math", "flash", "host")]
    payload = {"rows": rows, "environment": {"gpu": "RTX"}}
    times = {"flash": 0.5, "math": 2.0}

    outcomes = [demo.Outcome("flash", 0.0), demo.Outcome("math", error)]
    assert demo.meaning(payload, times, outcomes, 1e-4) == told


def test_a_demo_on_the_cpu_names_the_card_that_torch_leaves_out(monkeypatch):
    facts = {"gpus": (), "cards": ("NVIDIA GeForce RTX 5090",), "built_for": "cpu"}
    monkeypatch.setattr(demo, "probe", lambda: dataclasses.replace(probe(), **facts))

    told = demo.meaning({"rows": [], "environment": {}}, {"flash": 1.0}, [], 1e-4)

    assert (
        "cannot use your NVIDIA GeForce RTX 5090: it is built for CPUs only; wanattn doctor" in told
    )
    assert "An NVIDIA card adds" not in told


def test_the_profilers_own_lines_stay_off_the_console():
    script = """
import os, runpy
console = runpy.run_path({!r})
with console["without_profiler_lines"]() as stream:
    os.write(2, b"USDT:2026 profiler_start\\na warning\\n")
    stream.write("the bar\\n")
os.write(2, b"after\\n")
""".format(str(ROOT / "commands" / "console.py"))

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert sorted(done.stderr.splitlines()) == ["a warning", "after", "the bar"]
    assert done.stderr.splitlines()[-1] == "after"


WITHOUT = """
import runpy, sys
sys.modules.update(dict.fromkeys(["torch", "psutil"]))
sys.argv = ["wanattn", "doctor"]
runpy.run_path(r"{path}", run_name="__main__")
"""


def test_a_python_without_torch_gets_a_sentence_and_not_a_traceback():
    bare = [sys.executable, "-c", WITHOUT.format(path=ROOT / "__main__.py")]

    done = subprocess.run(bare, capture_output=True, text=True, encoding="utf-8")

    assert done.returncode == 2
    assert done.stderr.startswith("wanattn: ")
    assert " has no torch, psutil, which every command needs." in done.stderr
    assert done.stderr.endswith("-m pip install torch psutil\n")


def test_an_error_of_our_own_is_not_taken_for_a_missing_package():
    with pytest.raises(ModuleNotFoundError):
        say_absent(ModuleNotFoundError("No module named 'wanattn.x'", name="wanattn.x"))


def test_doctor_does_not_say_all_is_well_of_a_card_that_torch_cannot_use(monkeypatch, capsys):
    """It goes on with the CPU, since the card's first value would end it."""
    card = Gpu("NVIDIA GeForce RTX 5090", (12, 0), 2**34)
    facts = {"gpus": (card,), "cards": (card.name,), "built_for": "CUDA 12.6", "code": ("sm_90",)}
    monkeypatch.setattr(doctor, "probe", lambda: dataclasses.replace(probe(), **facts))
    monkeypatch.setattr(doctor, "default_device", lambda: "cuda")

    code = cli.main(["doctor"])

    out = capsys.readouterr().out
    assert code == 1
    assert "cannot use your NVIDIA GeForce RTX 5090" in " ".join(out.split("\n")[:2])
    assert "and this card is sm_120" in out and "whl/cu130" in out and "device cpu" in out


@pytest.mark.parametrize("way", WAYS)
def test_python_runs_the_pack_where_nothing_is_installed(helped, way):
    """By its folder also in ComfyUI's portable Python, which looks for modules in no current folder."""
    if way != "by its folder" and sys.flags.isolated:
        pytest.skip("this Python, as the one under Wine, looks for modules in no current folder")

    done = helped[way].ended()

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("examples:")
