"""The GPU that a workflow benchmark names is the one that the server used."""

import pytest
from wanattn.commands.bench.workflow import machine

SYSTEM = {
    "comfyui_version": "0.33.0",
    "pytorch_version": "2.11.0+cu130",
    "python_version": "3.12.3 (main)",
    "os": "linux",
}
H100 = "cuda:0 NVIDIA H100 80GB HBM3 : cudaMallocAsync"
TOLD = {  # by the diagnostics, who ask torch
    "wanattn": "1.0.0",
    "torch": "2.11.0+cu130",
    "cuda": "13.0",
    "gpu": "NVIDIA H100 80GB HBM3",
    "capability": "9.0",
    "memory_gib": 79.2,
    "platform": "Linux x86_64",
}
NONE = {**TOLD, "gpu": None, "capability": None, "memory_gib": None, "cuda": None}


def stats(*devices):
    return {"system": SYSTEM, "devices": devices}


def device(name, kind, index=None, gib=79.1):
    return {"name": name, "type": kind, "index": index, "vram_total": int(gib * 2**30)}


def learnt(told, *devices):
    known = machine.learn(machine.facts(stats(*devices)), told)
    return known["gpu"], known["memory_gib"], known.get("capability")


def test_gpu_goes_by_its_own_name():
    assert learnt(TOLD, device(H100, "cuda", 0)) == ("NVIDIA H100 80GB HBM3", 79.2, "9.0")


def test_server_that_uses_the_cpu_of_a_machine_with_a_gpu_has_none():
    assert learnt(TOLD, device("cpu", "cpu", gib=500)) == (None, None, None)


@pytest.mark.parametrize(
    ("given", "gpu"),
    [
        (device("mps", "mps"), "mps"),
        (device("xpu:0 Intel Arc A770", "xpu", 0), "Intel Arc A770"),
        (device("privateuseone", "privateuseone", 0), "privateuseone"),
    ],
)
def test_gpu_that_torch_does_not_count_among_its_own_stays(given, gpu):
    assert learnt(NONE, given) == (gpu, 79.1, None)


def test_second_gpu_is_not_taken_for_the_first():
    second = device("cuda:1 NVIDIA RTX 4090 : native", "cuda", 1, gib=24)
    assert learnt(TOLD, second, device(H100, "cuda", 0)) == ("NVIDIA RTX 4090", 24.0, None)


def test_server_that_names_no_device_leaves_it_to_the_diagnostics():
    assert learnt(TOLD) == ("NVIDIA H100 80GB HBM3", 79.2, "9.0")


def test_what_the_diagnostics_know_better_takes_the_place():
    known = machine.learn(machine.facts(stats(device("cpu", "cpu"))), {**TOLD, "torch": None})
    assert (known["platform"], known["torch"], known["comfyui"]) == (
        "Linux x86_64",
        "2.11.0+cu130",
        "0.33.0",
    )
