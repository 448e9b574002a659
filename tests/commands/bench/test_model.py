"""wanattn bench model with diffusers' transformer, on the CPU and with tiny blocks."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch
from wanattn.attention.backends import BACKENDS, Backend, register
from wanattn.attention.choose.measure.timings import parse
from wanattn.attention.wan import Variant, Video
from wanattn.bench.results.row import Results
from wanattn.commands.bench.model.contender import Contender, described
from wanattn.commands.bench.model.race import Race, forward, random_inputs
from wanattn.commands.bench.model.shape import Shape
from wanattn.commands.bench.model.steps import denoised, schedule

pytest.importorskip("diffusers", reason="diffusers not installed")
from wanattn.commands.bench.model.diffusers import DiffusersDenoiser, build

CPU = torch.device("cpu")
FULL = "CUDA out of memory. Tried to allocate 20 GiB."
TINY = Shape(Variant("tiny", heads=2, blocks=2, pixels=16), ffn_dim=256, channels=16, layers=2)
CLIP = Video(64, 48, 5)  # 24 tokens


class Steps:
    """A Progress that keeps what it is told, and may end the benchmark."""

    def __init__(self, last: int | None = None) -> None:
        self.total, self.done, self.told, self.last = 0.0, 0.0, [], last

    def begin(self, total: float) -> None:
        self.total = total

    def advance(self, units: float, what: str) -> None:
        self.done += units
        self.told.append(what.partition(",")[0])
        if len(self.told) == self.last:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def denoiser():
    return DiffusersDenoiser(TINY, torch.float32, CPU, seed=0)


@pytest.fixture
def named():
    """Registers backends for one test."""
    before = dict(BACKENDS)

    def add(name, run=None, refusals=lambda call, environment: []):
        flash = BACKENDS["flash"]
        register(Backend(name, name, refusals, run or flash.run, flash.tolerance))

    yield add
    BACKENDS.clear()
    BACKENDS.update(before)


def race(denoiser, backends, clips=(CLIP,), steps=None, rounds=2, **more):
    results = Results("model", {}, baseline=backends[0])
    Race(denoiser, backends, results, steps or Steps(), rounds, **more).run(clips)
    return results


def test_each_backend_gets_a_row_with_what_it_took(denoiser):
    steps = Steps()

    results = race(denoiser, ["host", "flash", "cudnn", "math", "auto", "unpatched"], steps=steps)

    rows = {row.backend: row for row in results.rows}
    assert list(rows) == ["host", "flash", "cudnn", "math", "auto", "unpatched"]
    assert rows["cudnn"].reason == "cuDNN does not exist on cpu"
    assert rows["cudnn"].times == [] and rows["cudnn"].first is None
    del rows["cudnn"]
    assert all(len(row.times) == 2 and min(row.times) > 0 and row.first for row in rows.values())
    ran = {backend: row.active for backend, row in rows.items()}
    assert ran.pop("auto").replace("self ", "").replace("text ", "").startswith(("flash", "math"))
    assert ran == {"host": "flash", "flash": "flash", "math": "math", "unpatched": ""}
    assert rows["auto"].tuning > 0
    assert [row.tuning for row in rows.values() if row.backend != "auto"] == [None] * 4
    assert rows["host"].error is None and rows["unpatched"].error == 0
    assert 0 < rows["math"].error < 1e-5
    assert steps.done == steps.total > 0


def test_a_row_says_what_was_measured(denoiser):
    row = race(denoiser, ["flash"]).rows[0]

    facts = (row.part, row.model, row.size, row.frames, row.dtype, row.heads, row.q_len)
    assert facts == ("forward", "tiny", "64x48", 5, "float32", 2, 24)
    assert row.peak_gib is None and row.kv_len is None


def test_auto_measures_anew_and_keeps_what_it_found(denoiser, empty_cache):
    found = []
    for _ in range(2):
        assert race(denoiser, ["auto"]).rows[0].tuning > 0
        found.append(empty_cache.read_text())

    assert len(*parse(found[1]).values()) == 2 and found[0] != found[1]


def test_what_auto_found_is_a_note(denoiser):
    notes = race(denoiser, ["host", "auto"]).notes

    assert [note.partition(":")[0] for note in notes] == ["auto", "auto"]
    assert "self 24: " in notes[0] and "text 24 x 512: " in notes[1] and "math" in notes[0]


def test_backends_take_turns_and_each_round_begins_with_another(denoiser):
    steps = Steps()

    race(denoiser, ["host", "flash", "math"], steps=steps)

    assert steps.told == ["host", "flash", "math"] * 2 + ["flash", "math", "host"]


def test_sizes_follow_each_other(denoiser):
    rows = race(denoiser, ["flash", "math"], [CLIP, Video(64, 48, 9)]).rows

    assert [(row.frames, row.backend, row.q_len) for row in rows] == [
        (5, "flash", 24),
        (5, "math", 24),
        (9, "flash", 36),
        (9, "math", 36),
    ]


def test_an_interrupt_comes_through_and_leaves_what_was_measured(denoiser):
    results = Results("model", {}, baseline="host")

    with pytest.raises(KeyboardInterrupt):
        Race(denoiser, ["host", "flash"], results, Steps(last=3)).run([CLIP])

    assert [len(row.times) for row in results.rows] == [1, 0]
    assert all(row.first and row.active for row in results.rows)


def test_a_kernel_that_breaks_leaves_its_reason_and_no_time_of_another(denoiser, named):
    def run(*tensors):
        raise RuntimeError("no kernel image\nand much more")

    named("broken", run)

    host, broken, math_ = race(denoiser, ["host", "broken", "math"]).rows

    assert broken.times == [] and broken.error is None
    assert broken.reason == "self calls ran on flash: RuntimeError: no kernel image"
    assert len(host.times) == len(math_.times) == 2


def test_calls_to_text_that_went_elsewhere_are_told(denoiser, named):
    named("selfish", refusals=lambda call, _: [] if call.role == "self" else ["short keys"])

    results = race(denoiser, ["host", "selfish"])

    assert results.rows[1].active == "self selfish, text flash"
    assert len(results.rows[1].times) == 2
    assert results.notes == ["selfish: text calls ran on flash: short keys"]


class Failing:
    """A denoiser that runs out of memory in one contender's forward number `at`, 0 for before the first."""

    def __init__(self, denoiser, backend, at):
        self.shape, self.dtype, self.device = denoiser.shape, denoiser.dtype, denoiser.device
        self.source, self._denoiser, self._backend, self._left = "", denoiser, backend, at

    def contender(self, backend):
        contender = self._denoiser.contender(backend)
        if backend == self._backend and not self._left:
            raise torch.OutOfMemoryError(FULL)
        return (
            dataclasses.replace(contender, run=self._run) if backend == self._backend else contender
        )

    def _run(self, latent, text, sigma):
        self._left -= 1
        if not self._left:
            raise torch.OutOfMemoryError(FULL)
        return latent


@pytest.mark.parametrize("at", [0, 1, 2])
def test_want_of_memory_takes_one_backend_out(denoiser, at):
    steps = Steps()

    results = race(Failing(denoiser, "math", at), ["host", "math", "flash"], steps=steps)

    host, out, flash = results.rows
    assert out.reason == f"OutOfMemoryError: {FULL}"
    assert out.times == []
    assert len(host.times) == len(flash.times) == 2
    assert steps.done == steps.total


def test_the_seed_decides_weights_and_inputs(denoiser):
    def output(seed, weights):
        made = DiffusersDenoiser(TINY, torch.float32, CPU, weights)
        return forward(made.contender("unpatched"), random_inputs(made, CLIP, seed))[0]

    same = forward(denoiser.contender("unpatched"), random_inputs(denoiser, CLIP, 0))[0]
    assert torch.equal(output(0, 0), same)
    assert same.isfinite().all() and same.std() > 0.01
    assert not torch.equal(output(1, 0), same)
    assert not torch.equal(output(0, 1), same)


def test_diffusers_model_is_built_as_a_checkpoint_is_loaded():
    model = build(TINY, torch.bfloat16, CPU)
    expected = build(TINY, torch.float32, CPU)

    assert torch.equal(model.rope.freqs_cos, expected.rope.freqs_cos)
    kinds = {name: weight.dtype for name, weight in model.named_parameters()}
    assert kinds["blocks.0.attn1.to_q.weight"] == torch.bfloat16
    assert kinds["blocks.0.scale_shift_table"] == torch.float32
    assert kinds["condition_embedder.time_embedder.linear_1.weight"] == torch.float32
    assert torch.get_default_dtype() == torch.float32
    made = DiffusersDenoiser(TINY, torch.bfloat16, CPU, seed=0)
    assert forward(made.contender("flash"), random_inputs(made, CLIP, 0))[0].isfinite().all()


def test_what_ran_is_told_by_role_where_roles_differ():
    same = {"self": Counter(cudnn=40), "text": Counter(cudnn=40)}
    assert described(same) == "cudnn"
    assert described({**same, "text": Counter(flash=30, math=10)}) == (
        "self cudnn, text flash 30 + math 10"
    )
    assert described({}) == ""


def test_the_difference_by_step_is_a_note(denoiser, named):
    flash = BACKENDS["flash"]
    named("rough", lambda *inputs: flash.run(*inputs) * 1.01)
    progress = Steps()

    found = race(denoiser, ["host", "cudnn", "flash", "rough"], steps=progress, walk=3)
    notes = [note for note in found.notes if "by step" in note]

    assert notes[0] == "flash, 5 frames, difference by step: 0.0e+00, 0.0e+00, 0.0e+00"
    name, _, told = notes[1].partition(": ")
    off = [float(word) for word in told.split(", ")]
    assert name == "rough, 5 frames, difference by step" and len(notes) == 2
    assert 0 < off[0] < off[1] < off[2] < 0.1
    assert progress.done == progress.total


def test_steps_go_from_noise_to_none_and_undo_the_velocity(denoiser):
    """A model whose velocity is the noise itself leaves nothing."""
    assert schedule(2) == pytest.approx([1, 5 / 6, 0])
    noise, text = random_inputs(denoiser, CLIP, 0)
    still = Contender("host", lambda latent, text, sigma: noise)

    walk = list(denoised(denoiser, still, (noise, text), 2))

    torch.testing.assert_close(walk[0], noise * 5 / 6)
    torch.testing.assert_close(walk[1], torch.zeros_like(noise))
