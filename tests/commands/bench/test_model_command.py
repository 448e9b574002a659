"""What wanattn bench model makes of its options, and which model it takes."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from wanattn.attention.wan import Variant, Video
from wanattn.bench.results.row import Results
from wanattn.commands import main as cli
from wanattn.commands.bench import main as command
from wanattn.commands.bench.model import command as model
from wanattn.commands.bench.model.shape import SHAPES, Shape
from wanattn.tests.child import children

diffusers = pytest.importorskip("diffusers", reason="diffusers not installed")
from wanattn.commands.bench.model.diffusers import build  # noqa: E402

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[3]


class Quiet:
    """A Progress for nobody."""

    def begin(self, total: float) -> None:
        pass

    def advance(self, units: float, what: str) -> None:
        pass


def options_of(*arguments):
    return command.parser_of(model.BENCHMARK).parse_args(arguments)


@pytest.mark.parametrize(("name", "billions"), [("14b", 14.3), ("5b", 5.0)])
def test_sizes_are_those_of_the_real_models(name, billions):
    shape = SHAPES[name]
    weights = build(shape, torch.bfloat16, torch.device("meta")).parameters()
    numbers = sum(weight.numel() for weight in weights)

    assert numbers / 1e9 == pytest.approx(billions, abs=0.05)
    assert shape.parameters == pytest.approx(numbers, rel=0.002)
    clip = Video(832, 1216, 81)
    assert math.prod(shape.latent(clip)[2:]) // 4 == shape.variant.tokens(clip)
    # Measured on an H100 with ComfyUI's 14b at this size: 34.35 GiB.
    if name == "14b":
        assert shape.bytes_for(clip, torch.bfloat16) / 2**30 == pytest.approx(34.35, abs=0.5)


def test_too_little_memory_says_how_many_blocks_fit(monkeypatch, make_environment):
    free = 20 * 2**30
    monkeypatch.setattr(model, "probe", lambda: make_environment(free_memory=lambda device: free))
    clip, dtype = Video(832, 1216, 25), torch.bfloat16

    with pytest.raises(ValueError) as error:
        model.require_memory(SHAPES["14b"], clip, dtype, torch.device("cuda"))

    sentence, _, layers = str(error.value).rpartition("use --layers ")
    assert sentence == (
        "14b in bfloat16 at 832x1216, 25 frames, needs about 29.2 GiB, 20.0 GiB free on cuda; "
    )
    fits = model.with_layers(SHAPES["14b"], int(layers))
    assert fits.bytes_for(clip, dtype) <= free
    assert model.with_layers(SHAPES["14b"], int(layers) + 1).bytes_for(clip, dtype) > free


def test_defaults_on_a_gpu_and_on_a_cpu():
    shape, dtype, clips = model.chosen(options_of(), torch.device("cuda"))
    assert (shape, dtype) == (SHAPES["14b"], torch.bfloat16)
    assert [(clip.size, clip.frames) for clip in clips] == [
        ("832x1216", 25),
        ("832x1216", 49),
        ("832x1216", 81),
    ]
    shape, dtype, clips = model.chosen(options_of("--frames", "9,5"), CPU)
    assert (shape.name, dtype) == ("5b (1 of 30 blocks)", torch.float32)
    assert [(clip.size, clip.frames) for clip in clips] == [("128x128", 5), ("128x128", 9)]


def test_every_exact_backend_that_can_run_takes_part(make_call, make_environment, monkeypatch):
    monkeypatch.setattr(model, "probe", make_environment)

    names = model.contenders(options_of(), make_call())
    assert names[0] == "host" and names[-1] == "auto"
    assert {"flash", "efficient", "cudnn"} <= set(names) and "math" not in names
    assert model.contenders(options_of("--backends", "auto,math"), make_call()) == ["auto", "math"]
    against = options_of("--backends", "auto,host", "--against", "flash")
    assert model.contenders(against, make_call()) == ["flash", "auto", "host"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "100x64"], "width 100, needs a multiple of 16"),
        (
            ["--size", "48x64", "--model", "5b"],
            "width 48, needs a multiple of 32 for 5b of diffusers",
        ),
        (["--size", "big"], "size 'big', needs WIDTHxHEIGHT such as 832x1216"),
        (["--size", ""], "size '', needs WIDTHxHEIGHT such as 832x1216"),
        (["--frames", "6"], "frames 6, needs 4n+1 such as 25, 49 or 81"),
        (["--frames", "5,x"], "frames '5,x', needs numbers"),
        (["--frames", ""], "frames '', needs numbers separated by commas such as 25,49,81"),
        (["--layers", "0"], "layers 0, needs 1 to 30 for 5b"),
        (["--layers", "41", "--model", "14b"], "layers 41, needs 1 to 40 for 14b"),
        (["--backends", "warp"], "unknown backend 'warp'; expected one of auto, flash"),
        (["--against", "warp"], "unknown backend 'warp'"),
        (["--against", ""], "unknown backend ''; expected one of auto, flash"),
        (["--device", ""], "device '' cannot be used"),
        (["--device", "nowhere"], "device 'nowhere' cannot be used"),
        (["--comfyui", "nowhere"], "no ComfyUI in 'nowhere'"),
    ],
)
def test_bad_input_is_one_sentence(capsys, arguments, sentence):
    source = [] if "--comfyui" in arguments else ["--diffusers"]
    device = [] if "--device" in arguments else ["--device", "cpu"]

    assert cli.main(["bench", "model", *source, *device, *arguments]) == 2

    output, error = capsys.readouterr()
    assert output == ""
    assert sentence in error and error.count("wanattn: ") == 1


@pytest.fixture
def small(monkeypatch):
    """5b with two heads, so that whole commands take no time."""
    variant = Variant("5b", heads=2, blocks=2, pixels=32)
    shape = Shape(variant, ffn_dim=256, channels=48, layers=2)
    monkeypatch.setitem(SHAPES, "5b", shape)


def test_command_measures_diffusers_model_on_request(small, capsys):
    arguments = ["--diffusers", "--device", "cpu", "--repeat", "2", "--settings", "here", "--json"]

    assert cli.main(["bench", "model", *arguments]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["environment"]["diffusers"] and found["environment"]["comfyui"] is None
    assert (found["baseline"], found["finished"]) == ("host", True)
    assert [row["backend"] for row in found["rows"]] == ["host", "flash", "auto"]
    assert {row["settings"] for row in found["rows"]} == {"here"}
    assert {row["model"] for row in found["rows"]} == {"5b (1 of 2 blocks)"}
    assert found["notes"][0].startswith("model: diffusers ")
    assert (
        "difference: relative to the output of host (the column error in files)" in found["notes"]
    )
    (note,) = [note for note in found["notes"] if "not to choose a backend for a GPU" in note]
    assert "--model 5b --layers 1 --size 128x128 --frames 5:" in note


def test_the_note_about_a_cpu_names_only_what_was_not_asked_for(small):
    results = Results("model", {})
    tiny = ["--size", "64x64", "--frames", "1", "--backends", "host", "--repeat", "2"]
    model.measure(options_of("--diffusers", "--device", "cpu", *tiny), results, Quiet())

    (note,) = [note for note in results.notes if "on a CPU" in note]
    assert note.startswith("on a CPU the default is --model 5b --layers 1: enough to see")


def test_nothing_is_said_of_defaults_where_all_was_asked_for(small):
    results = Results("model", {})
    asked = ["--model", "5b", "--layers", "1", "--size", "64x64", "--frames", "1"]
    more = ["--backends", "host", "--repeat", "2", "--diffusers", "--device", "cpu"]
    model.measure(options_of(*asked, *more), results, Quiet())

    assert not any("on a CPU" in note for note in results.notes)


def test_without_any_comfyui_diffusers_stands_in_and_says_so(small, monkeypatch):
    monkeypatch.setattr(model, "find_host", lambda folder: None)
    results = Results("model", {})

    model.measure(options_of("--device", "cpu", "--repeat", "2"), results, Quiet())

    assert "diffusers' model was measured: no ComfyUI was found" in results.notes
    assert len(results.rows) == 3


def test_without_comfyui_and_diffusers_it_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr(model, "find_host", lambda folder: None)
    monkeypatch.setitem(sys.modules, "diffusers", None)

    with pytest.raises(RuntimeError) as error:
        model.measure(options_of("--device", "cpu"), Results("model", {}), Quiet())

    words = str(error.value)
    assert words.startswith("no ComfyUI was found; diffusers does not load (")
    assert words.endswith("-m pip install diffusers, or name ComfyUI's folder with --comfyui")


LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("wanattn", sys.argv.pop(1))
sys.modules["wanattn"] = pack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
"""
TRIED = f"""{LOAD}
import torch
from wanattn.bench.results import row
from wanattn.commands import main as cli
from wanattn.commands.bench import main as command
from wanattn.commands.bench.model import command as model
print(cli.main(["bench", "model", "--device", "cpu", "--comfyui", "."]))
before, results = sys.path[:], row.Results("model", {{}})
options = command.parser_of(model.BENCHMARK).parse_args([])
print(model.source(options, torch.device("cpu"), results).__name__)
print(results.notes, results.environment, sys.path == before)
"""


def broken_comfyui(folder):
    """An installation whose requirements are not there."""
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text('__version__ = "0.99.0"\n')
    (folder / "comfy" / "cli_args.py").write_text('print("noise")\nimport comfy_of_nobody\n')
    return folder


REASON = (
    "ComfyUI 0.99.0 does not load in this Python (ModuleNotFoundError: "
    "No module named 'comfy_of_nobody'); run wanattn with ComfyUI's own Python"
)


@pytest.fixture(scope="module", autouse=True)
def beside_a_broken_comfyui(tmp_path_factory):
    """A Python that was started in its folder, at work meanwhile."""
    folder = broken_comfyui(tmp_path_factory.mktemp("broken") / "ComfyUI")
    command = [sys.executable, "-c", TRIED, str(ROOT / "__init__.py")]
    with children({"tried": command}, folder) as started:
        yield started["tried"]


def test_a_comfyui_that_does_not_load_is_an_error_if_it_was_named_and_else_gives_way(
    beside_a_broken_comfyui,
):
    """To diffusers. It is found in the folder that the command is started in."""
    done = beside_a_broken_comfyui.ended()

    code, name, facts = done.stdout.splitlines()
    assert code == "2" and f"wanattn: {REASON}\n" in done.stderr
    assert "Traceback" not in done.stderr
    notes = [f"diffusers' model was measured: {REASON}"]
    assert name == "DiffusersDenoiser"
    assert facts == f"{notes} {{'diffusers': '{diffusers.__version__}'}} True"
