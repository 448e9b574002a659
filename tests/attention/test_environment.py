from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("device", "gpu"),
    [
        ("cuda", "NVIDIA H100 80GB HBM3"),
        ("cuda:0", "NVIDIA H100 80GB HBM3"),
        ("cuda:1", None),
        ("cuda:-1", None),
        ("cuda:x", None),
        ("cpu", None),
        ("mps", None),
    ],
)
def test_facts_name_the_gpu_of_the_device_that_computes(make_environment, device, gpu):
    facts = make_environment().facts(device)

    assert facts["gpu"] == gpu
    assert (facts["capability"] is None) == (facts["memory_gib"] is None) == (gpu is None)
    assert facts["torch"]
