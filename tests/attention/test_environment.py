from __future__ import annotations

import contextlib
import sys
from types import SimpleNamespace

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
    [
        (8005, "8.0.5"),
        (8907, "8.9.7"),
        (90000, "9.0.0"),
        (91002, "9.10.2"),
        (100100, "10.1.0"),
        (None, None),
    ],
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


@pytest.fixture
def cards(monkeypatch):
    """A machine with two cards, as torch tells them."""

    def install(cuda, hip, count=2):
        each = SimpleNamespace(name="a card", major=9, minor=0, total_memory=80 * 2**30)
        told = {
            "is_available": bool(count),
            "device_count": count,
            "get_device_properties": each,
            "get_device_name": "a card",
            "get_arch_list": ["sm_90", "compute_90"],
        }
        for name, value in told.items():
            monkeypatch.setattr(environment.torch.cuda, name, lambda *of, value=value: value)
        monkeypatch.setattr(environment.torch.backends.cudnn, "version", lambda: 91002)
        monkeypatch.setattr(environment.torch.version, "cuda", cuda)
        monkeypatch.setattr(environment.torch.version, "hip", hip)
        return probe.__wrapped__()

    return install


@pytest.mark.parametrize(
    ("cuda", "hip", "built_for", "capability", "cudnn", "code"),
    [
        ("13.0", None, "CUDA 13.0", (9, 0), 91002, ("sm_90", "compute_90")),
        (None, "6.4", "ROCm 6.4", None, None, ()),
    ],
)
def test_a_card_is_known_by_what_torch_tells_of_it(
    cards, cuda, hip, built_for, capability, cudnn, code
):
    found = cards(cuda, hip)

    assert (found.cuda, found.hip, found.built_for) == (cuda, hip, built_for)
    assert found.gpus == (Gpu("a card", capability, 80 * 2**30),) * 2
    assert (found.cards, found.cudnn, found.code) == (("a card", "a card"), cudnn, code)
    assert found.facts()["memory_gib"] == 80.0


def test_a_torch_for_cards_on_a_machine_without_one_tells_of_none(cards):
    found = cards("13.0", None, count=0)

    assert (found.gpus, found.cuda, found.cudnn, found.code) == ((), None, None, ())
    assert found.built_for == "CUDA 13.0"


def test_a_machine_can_be_taken_as_if_it_had_one_of_its_cards():
    gpus = (Gpu("first", (9, 0), 2**36), Gpu("second", (8, 9), 2**35))
    both = Environment("2.11.0", "3.12.3", "Linux x86_64", gpus=gpus, cards=("first", "second"))

    second = both.of("cuda:1")

    assert (second.gpus, second.cards, second.torch) == (gpus[1:], ("second",), "2.11.0")
    assert both.of("cpu") is both


def test_windows_lists_its_adapters_in_numbered_keys(monkeypatch):
    keys = {
        "0000": {"DriverDesc": "Intel(R) UHD Graphics", "DriverVersion": "31.0.101.2125"},
        "0003": {"DriverDesc": "NVIDIA GeForce RTX 5090", "DriverVersion": "32.0.15.8180"},
        "0015": {"DriverDesc": "an adapter without a version"},
    }

    def value(key, name):
        if name not in key:
            raise OSError
        return key[name], 1

    @contextlib.contextmanager
    def opened(root, path):
        number = path.rpartition("\\")[2]
        if number not in keys:
            raise OSError
        yield keys[number]

    winreg = SimpleNamespace(HKEY_LOCAL_MACHINE=0, OpenKey=opened, QueryValueEx=value)
    monkeypatch.setitem(sys.modules, "winreg", winreg)
    monkeypatch.setattr(sys, "platform", "win32")

    assert environment._adapters() == {
        "Intel(R) UHD Graphics": "31.0.101.2125",
        "NVIDIA GeForce RTX 5090": "32.0.15.8180",
        "an adapter without a version": "",
    }
    assert environment._driver() == "581.80"
