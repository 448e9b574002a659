from __future__ import annotations

import csv
import dataclasses
import json

import pytest
import torch
from wanattn.attention.backends import BACKENDS, packages
from wanattn.attention.choose.timings import parse
from wanattn.attention.environment import probe
from wanattn.commands import doctor
from wanattn.commands import main as cli


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


def test_doctor_text_gives_the_reason(capsys):
    cli.main(["doctor", "--device", "cpu"])

    text = capsys.readouterr().out
    assert "backend cudnn (cuDNN): not available: cuDNN does not exist on cpu" in text
    assert f"torch: {torch.__version__}" in text


def test_doctor_gives_the_install_line_and_the_caveat_where_the_package_is_all_that_lacks(
    monkeypatch, make_environment
):
    absence = "FlashAttention-3 not installed (No module named 'flash_attn_interface')"
    monkeypatch.setattr(packages, "find", lambda package: packages.Found(None, absence))
    environment = make_environment(platform="Linux x86_64")

    def told(name, *reasons):
        kernel = dataclasses.replace(BACKENDS[name], refusals=lambda call, env: list(reasons))
        findings = {
            "environment": {},
            "toggles": {},
            "device": "cpu",
            "comfyui": None,
            "backends": [doctor._try(kernel, "cpu", environment)],
        }
        return doctor.text(findings)

    assert "to install: " in told("fa3", absence) and "pip install fa3-fwd" in told("fa3", absence)
    assert "error about 5e-2" in told("fa3_fp8", absence)
    assert "to install" not in told("fa3", absence, "compute capability 8.6, needs 9.0")


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
    assert "max relative error against the unpatched model" in capsys.readouterr().out
    (known,) = parse(empty_cache.read_text()).values()
    assert len(known) == 2  # what auto measured of both roles is kept for the next time
