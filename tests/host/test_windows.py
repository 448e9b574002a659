"""The pack in a real ComfyUI under a Windows Python: it loads, and the tiny graph runs as without it."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from wanattn.tests.host.graph import experts
from wanattn.tests.host.windows import WindowsServer, copy_pack, find_windows
from wanattn.tests.host.workbench import read_report

NODES = {"WanAttnBackend", "WanAttnRule", "WanAttnDiagnostics", "WanAttnReport", "WanAttnBenchmark"}


@pytest.fixture(scope="module")
def windows(comfy, tmp_path_factory):
    from wanattn.tests.host import tiny

    try:
        folder = find_windows()
    except LookupError as error:
        pytest.skip(f"windows leg skipped: {error}")
    base = tmp_path_factory.mktemp("windows")
    copy_pack(base)
    models = base / "models" / "diffusion_models"
    models.mkdir(parents=True)
    tiny.save_wan(models, "t2v", 1, "high_noise")
    tiny.save_wan(models, "t2v", 2, "low_noise")
    server = WindowsServer(folder, base)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def run(windows):
    """Both experts with the pack and without it."""
    windows.run(experts())
    windows.run(experts(None, "plain"))
    latents = [
        load_file(windows.files(f"{prefix}/latent", ".latent")[-1])["latent_tensor"]
        for prefix in ("experts", "plain")
    ]
    names = ("high_noise", "low_noise")
    reports = [read_report(windows.output, f"experts/{name}") for name in names]
    return SimpleNamespace(latents=latents, reports=reports)


def test_it_loads_without_an_error(windows):
    assert "custom_nodes/wanattn" in windows.log().replace("\\", "/")
    assert windows.failed_imports() == []
    assert set(windows.get("/object_info")) >= NODES


def test_both_experts_run_on_the_backend_that_was_asked_for(run):
    for report in run.reports:
        assert report.payload["environment"]["platform"].startswith("Windows")
        assert {row["active"] for row in report.payload["rows"]} == {"flash"}
        assert report.payload["runs"][-1]["state"] == "finished"


def test_the_picture_is_the_one_of_an_unpatched_model(run):
    ours, plain = run.latents

    assert ours.isfinite().all()
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_a_file_on_windows_has_the_same_lines_as_elsewhere(windows, run):
    for suffix in (".csv", ".json", ".html"):
        (path,) = windows.files("experts/high_noise", suffix)
        assert b"\r\n" not in path.read_bytes()
