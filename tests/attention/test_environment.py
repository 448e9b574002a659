from __future__ import annotations

import sys

import pytest
from wanattn.attention import environment
from wanattn.attention.environment import Environment, Gpu, nvidia_version, probe


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


@pytest.mark.parametrize(
    ("windows", "nvidia"),
    [
        ("32.0.15.8180", "581.80"),
        ("31.0.15.3742", "537.42"),
        ("", ""),
        ("10.0", ""),
        ("a.b.c.defg", ""),
    ],
)
def test_windows_numbers_nvidias_drivers_in_its_own_way(windows, nvidia):
    assert nvidia_version(windows) == nvidia


def test_what_torch_was_built_for_is_known_on_any_machine():
    assert probe().built_for.split()[0] in ("cpu", "CUDA", "ROCm", "XPU")
    assert all(probe().cards)


def test_a_driver_that_windows_lists_is_taken_before_what_it_serves(monkeypatch):
    adapters = {"Intel(R) UHD": "31.0.101.2115", "NVIDIA GeForce RTX 5090": "32.0.15.8180"}
    monkeypatch.setattr(environment, "_adapters", lambda: adapters)
    monkeypatch.setattr(sys, "platform", "win32")

    assert environment._driver() == "581.80"
    if environment.default_device() == "cpu":
        assert environment._cards() == tuple(adapters)


@pytest.mark.parametrize(
    ("device", "card"),
    [
        ("cuda:1", "second"),
        ("cuda:7", "listed"),
        ("cpu", ""),
        ("mps", "listed"),
        ("xpu:0", "listed"),
    ],
)
def test_what_computes_on_a_device_has_the_name_that_torch_or_the_system_gives(device, card):
    gpus = (Gpu("first", (9, 0), 2**36), Gpu("second", (9, 0), 2**36))
    machine = Environment("2.11.0", "3.12.3", "Linux x86_64", gpus=gpus, cards=("listed", "other"))

    assert machine.card(device) == card
    assert Environment("2.11.0", "3.12.3", "Linux x86_64").card(device) == ""


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  581.80  Tue\nGCC version:  gcc 12\n",
            "581.80",
        ),
        ("NVRM version: unknown\n", None),
        (None, None),
    ],
)
def test_a_driver_that_does_not_say_its_version_has_none(tmp_path, monkeypatch, text, driver):
    told = tmp_path / "version"
    if text:
        told.write_text(text, encoding="utf-8")
    monkeypatch.setattr(environment, "_adapters", dict)
    monkeypatch.setattr(environment, "Path", lambda path: told)
    monkeypatch.setattr(environment.torch.version, "cuda", None)

    assert environment._driver() == driver


def test_a_device_that_cannot_be_used_is_told_with_torch_s_first_sentence(monkeypatch):
    def zeros(*arguments, **options):
        raise RuntimeError("no such device\nand a page more")

    monkeypatch.setattr(environment.torch, "zeros", zeros)

    with pytest.raises(ValueError, match=r"^device 'xpu' cannot be used: no such device$"):
        environment.require("xpu")


@pytest.mark.parametrize(
    ("number", "version"),
    [(8907, "8.9.7"), (90000, "9.0.0"), (91002, "9.10.2"), (100100, "10.1.0"), (None, None)],
)
def test_cudnn_is_told_as_its_maker_writes_it(make_environment, number, version):
    assert make_environment(cudnn=number).facts()["cudnn"] == version


def test_what_torch_keeps_for_itself_is_free_memory(monkeypatch):
    """On a card: 5 GiB that the driver has left, and 2 of the 3 that torch keeps."""
    cuda, gib = environment.torch.cuda, 2**30
    monkeypatch.setattr(cuda, "mem_get_info", lambda device: (5 * gib, 80 * gib))
    monkeypatch.setattr(cuda, "memory_reserved", lambda device: 3 * gib)
    monkeypatch.setattr(cuda, "memory_allocated", lambda device: gib)

    assert environment.free_memory("cuda:0") == 7 * gib
    assert environment.free_memory("cpu") > 0
    assert environment.free_memory("mps") is None
