"""wanattn bench model with the host's own model, on the CPU."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from wanattn.attention.wan import Variant, Video
from wanattn.bench.results.row import Results
from wanattn.commands.bench.model.race import Race, forward, random_inputs
from wanattn.commands.bench.model.shape import Shape
from wanattn.commands.bench.model.steps import denoised
from wanattn.tests.host.hosts import REPOSITORY, current_host, version_of

CPU = torch.device("cpu")
SHAPES = {
    "14b": Shape(Variant("14b", heads=2, blocks=2, pixels=16), 256, channels=16, layers=2),
    "5b": Shape(Variant("5b", heads=2, blocks=2, pixels=32), 256, channels=48, layers=2),
}
CLIP = Video(128, 64, 5)


class Quiet:
    def begin(self, total):
        pass

    def advance(self, units, what):
        pass


@pytest.fixture(scope="module")
def build(workbench_nodes):
    from wanattn.commands.bench.model.comfyui import HostDenoiser

    made = {}

    def build(name, dtype=torch.float32):
        if (name, dtype) not in made:
            made[name, dtype] = HostDenoiser(SHAPES[name], dtype, CPU, seed=0)
        return made[name, dtype]

    return build


@pytest.fixture(scope="module")
def workbench_nodes(comfy):
    """The pack's nodes, loaded into the host of this process as the benchmark does it."""
    from wanattn.nodes.host import program as host

    before = sys.path[:]
    host.load(current_host(), cpu=True)
    yield host
    sys.path[:] = before


def measure(denoiser, *backends):
    results = Results("model", {}, baseline=backends[0])
    Race(denoiser, backends, results, Quiet(), rounds=2).run([CLIP])
    return results, {row.backend: row for row in results.rows}


@pytest.mark.parametrize("name", ["14b", "5b"])
def test_each_backend_runs_in_the_hosts_own_model(build, name):
    names = ["host", "unpatched", "flash", "math", "sub_quad", "split", "auto", "efficient"]

    results, rows = measure(build(name), *names)

    assert list(rows) == names
    assert rows.pop("efficient").reason.startswith("mem-efficient does not exist on cpu")
    assert all(len(row.times) == 2 and row.first for row in rows.values())
    ran = {backend: row.active for backend, row in rows.items()}
    assert ran.pop("auto") and ran.pop("host") in ("flash", "sub_quad")  # as it was started
    assert ran.pop("unpatched") == ""
    assert all(backend == active for backend, active in ran.items())
    assert rows["unpatched"].error == 0
    assert all(row.error < 1e-4 for row in rows.values() if row.backend != "host")
    assert rows["sub_quad"].error > 0  # something else did run
    assert rows["auto"].tuning > 0
    tokens = SHAPES[name].variant.tokens(CLIP)
    assert any(f"auto: self {tokens}: " in note for note in results.notes)


@pytest.mark.parametrize(("name", "clip"), [("14b", CLIP), ("5b", CLIP), ("5b", Video(80, 48, 5))])
def test_the_tokens_are_counted_as_the_host_s_model_makes_them(build, name, clip):
    """The 5b's latent of 80x48 has 5 columns and 3 rows, its patches are 2x2."""
    denoiser = build(name)
    contender = denoiser.contender("flash")

    output, _ = forward(contender, random_inputs(denoiser, clip, 0))

    calls = {row.call for row in contender.recorder.snapshot().rows}
    assert {call.q_len for call in calls} == {SHAPES[name].variant.tokens(clip)}
    assert output.shape == SHAPES[name].latent(clip)


@pytest.mark.parametrize("name", ["14b", "5b"])
def test_the_host_detects_what_is_built_as_this_model(build, comfy, name):
    import comfy.model_detection
    from wanattn.commands.bench.model.comfyui import unet_config

    model = build(name)._patcher.model
    weights = {f"x.{key}": value for key, value in model.diffusion_model.state_dict().items()}

    found = comfy.model_detection.model_config_from_unet(weights, "x.")
    detected = comfy.model_detection.detect_unet_config(weights, "x.")

    assert type(found) is type(model.model_config)
    expected = unet_config(SHAPES[name])
    assert {key: expected[key] for key in detected} == detected


def test_the_output_is_sane_in_half_precision(build):
    denoiser = build("14b", torch.bfloat16)

    output, milliseconds = forward(denoiser.contender("flash"), random_inputs(denoiser, CLIP, 0))

    assert output.shape == SHAPES["14b"].latent(CLIP)
    assert output.isfinite().all() and output.std() > 0.01
    assert milliseconds > 0


@pytest.mark.parametrize("name", ["14b", "5b"])
def test_one_step_from_noise_alone_ends_at_what_the_model_sees_in_it(build, name):
    denoiser = build(name)
    contender, inputs = denoiser.contender("host"), random_inputs(denoiser, CLIP, 0)

    (end,) = denoised(denoiser, contender, inputs, 1)

    with torch.inference_mode():
        seen = contender.run(*inputs, 1.0).float()
    torch.testing.assert_close(end, seen, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(end, inputs[0])


def test_the_users_own_timings_are_neither_read_nor_written(build, comfy):
    import folder_paths
    from wanattn.nodes.host.patch import timings_of

    path = Path(folder_paths.get_user_directory()) / "wanattn" / "timings.json"
    before = path.read_bytes() if path.exists() else None
    asked = timings_of.cache_info()

    first, second = (measure(build("14b"), "auto")[1]["auto"] for _ in range(2))

    assert first.tuning > 0 and second.tuning > 0
    assert (path.read_bytes() if path.exists() else None) == before
    assert timings_of.cache_info() == asked


def test_the_hosts_functions_are_backends(workbench_nodes):
    from comfy.ldm.modules import attention
    from wanattn.attention.record.name import name_of

    functions = workbench_nodes.functions()
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 48, 2, 128, generator=generator).transpose(1, 2) for _ in range(3))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.05)

    assert list(functions) == ["host", "sub_quad", "split"]
    assert name_of(attention.optimized_attention) in functions["host"].label
    for backend in functions.values():
        torch.testing.assert_close(backend.run(q, k, v, None, 0.05), expected, rtol=1e-4, atol=1e-4)
    assert workbench_nodes.version() == version_of(current_host())


@pytest.fixture
def command(tmp_path):
    """The command as on a machine where the pack is only a folder: run inside it, beside our nodes/."""
    (tmp_path / "wanattn").symlink_to(REPOSITORY)
    program = "import sys; from wanattn.commands.main import main; sys.exit(main())"
    program = f"import sys; sys.path.append({str(tmp_path)!r}); {program}"
    tiny = ["--size", "64x64", "--frames", "1", "--repeat", "2", "--device", "cpu"]
    start = [sys.executable, "-c", program, "bench", "model", "--comfyui", str(current_host())]
    return [*start, *tiny]


def test_command_measures_the_named_host(command, tmp_path):
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}  # timings are kept there
    done = subprocess.run(
        [*command, "--json"],
        cwd=REPOSITORY,
        env={**os.environ, **home},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    version = version_of(current_host())
    assert found["environment"]["comfyui"] == version
    assert found["notes"][0] == f"model: ComfyUI {version}'s own WanModel with random weights"
    assert [row["backend"] for row in found["rows"]] == ["host", "flash", "auto"]
    assert {row["model"] for row in found["rows"]} == {"5b (1 of 30 blocks)"}
    assert found["rows"][0]["active"] == "sub_quad"  # what this host takes on a CPU


def test_ctrl_c_keeps_what_was_measured(command, tmp_path):
    path = tmp_path / "rows.json"
    arguments = ["--repeat", "200", "--output", str(path), "--backends", "host,flash"]
    process = subprocess.Popen(
        [*command, *arguments], cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    seen = b""
    while not re.search(b"flash, 1.*host, 1", seen, re.DOTALL):  # the first one of a round
        seen += process.stderr.read1()
        assert process.poll() is None, seen.decode()
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=60)

    assert process.returncode == 130, error.decode()
    assert b"forward" in output and b"stopped" in error
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["finished"] is False
    assert found["rows"][0]["backend"] == "host" and found["rows"][0]["times"]
