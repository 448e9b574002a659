"""Checkpoints in 8 bits, from the host and from a pack, and numbers that are too large: what attention gets of them."""

from __future__ import annotations

import sys

import pytest
import torch
from wanattn.tests.host import packs
from wanattn.tests.host.sampling import sample

BACKENDS = ["auto", "flash", "math", "efficient", "fa3", "sage", "host"]


@pytest.fixture(scope="module")
def fp8(comfy, tmp_path_factory):
    import comfy.sd
    from wanattn.tests.host import tiny

    path = tiny.save_wan_fp8(tmp_path_factory.mktemp("fp8"), "t2v")
    with torch.inference_mode():  # as the host's executor
        return comfy.sd.load_diffusion_model(str(path))


@pytest.fixture(scope="module")
def gguf(comfy, tmp_path_factory):
    """Loaded by the pack's own node."""
    import folder_paths
    from wanattn.tests.host import tiny

    pack = packs.load("ComfyUI-GGUF")
    sys.path.append(str(packs.folder() / ".site"))
    pytest.importorskip("gguf", reason="gguf not installed")
    folder = tmp_path_factory.mktemp("gguf")
    path = tiny.save_wan_gguf(folder, "t2v")
    folder_paths.add_model_folder_path("unet_gguf", str(folder))
    with torch.inference_mode():
        yield packs.node(pack, "UnetLoaderGGUF")(unet_name=path.name)[0]
    sys.path.remove(str(packs.folder() / ".site"))


@pytest.fixture
def quantised(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("quantised", ["fp8", "gguf"], indirect=True)
@torch.inference_mode()
def test_attention_of_quantised_weights_is_that_of_any_other(workbench, quantised, backend):
    """The layers give what they compute in, and never eight bits: every kernel gets it, or says why not."""
    patched = workbench.backend(quantised, backend)
    latent = sample(patched)
    report = workbench.report(patched)

    assert latent.isfinite().all()
    assert torch.allclose(latent, sample(quantised), rtol=5e-2, atol=5e-2)
    assert {line["dtype"] for line in report.lines} <= {"float32", "bfloat16", "float16"}
    assert report.payload["account"] == {**report.payload["account"], "past": []}
    ran = {line["active"] for line in report.lines}
    if backend in ("flash", "math"):
        assert ran == {backend}
    if backend in ("efficient", "fa3", "sage"):
        assert all("does not exist on cpu" in line["reason"] for line in report.lines)
    assert not any("not finite" in note for note in report.payload["notes"])


@pytest.mark.parametrize("backend", ["flash", "math", "host"])
def test_float16_that_overflows_before_attention_is_no_fault_of_the_kernel(
    load, workbench, monkeypatch, backend
):
    """As in a black video: a layer before the second block's attention runs over."""
    model = load("t2v")
    block = model.model.diffusion_model.blocks[1]
    patched = workbench.backend(model, backend)
    with torch.inference_mode():
        hook = block.self_attn.v.register_forward_hook(
            lambda module, given, out: (out.half() * 65504).to(out.dtype)
        )
        try:
            sample(patched)
        finally:
            hook.remove()
    notes = workbench.report(patched).payload["notes"]

    (note,) = [each for each in notes if "not finite" in each]
    assert note.startswith("not finite before attention, seen in step 0, block 1 (self calls, ")
    assert note.endswith("the model or the latent, not the kernel")
