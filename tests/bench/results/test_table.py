from __future__ import annotations

import pytest
from wanattn.bench.results import compare, table
from wanattn.bench.results.words import duration, error, percent
from wanattn.tests.bench.made import results, row


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0.0123, "0.0123 ms"),
        (1.5, "1.50 ms"),
        (39.94, "39.9 ms"),
        (246.4, "246 ms"),
        (3788.0, "3788 ms"),
        (18987.0, "18.99 s"),
        (93_100.0, "93.10 s"),
        (1_234_567.0, "1235 s"),
        (0.001, "0.0010 ms"),
    ],
)
def test_times_are_read_without_counting_digits(ms, words):
    assert duration(ms) == words


def test_small_numbers_are_short():
    assert [error(5.44e-2), error(0.0), error(None)] == ["5.4e-2", "0", ""]
    assert [percent(0.0042), percent(0.123)] == ["0.4 %", "12 %"]


def columns(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_table_lines_up_and_has_no_empty_column():
    found = results(
        row("cudnn", 246.0, error=2.3e-3, flops=141 * 10**12, rate=798.0),
        row("flash", 407.0, error=2.3e-3),
        row("sage", 308.0, error=1.3e-2),
    )

    text = table.text(found)

    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    head, _, *rows = columns(text)
    expected = ["part", "backend", "time", "spread", "vs flash", "95 %"]
    assert head == [*expected, "TFLOP/s", "of matmul", "error"]
    assert [cells[:6] for cells in rows] == [
        ["self 82,992", "cudnn", "246 ms", "0.4 %", "1.65x faster", "1.64 to 1.67"],
        ["", "sage (approximate)", "308 ms", "0.4 %", "1.32x faster", "1.31 to 1.33"],
        ["", "flash", "407 ms", "0.4 %", "baseline", ""],
    ]
    assert rows[0][6:] == ["573", "72 %", "2.3e-3"]
    assert text.isascii()


@pytest.mark.parametrize(
    ("benchmark", "heads", "word"),
    [
        ("kernels", ["error", "GiB"], "error"),
        ("model", ["difference", "peak GiB"], "difference"),
        ("workflow", ["error", "peak GiB"], "error"),
    ],
)
def test_each_depth_says_what_its_errors_and_its_memory_are(benchmark, heads, word):
    slow, fast = row("flash", 4.0), row("sage", 1.0, error=1e-2)
    slow.peak_gib, slow.benchmark, fast.benchmark = 29.3, benchmark, benchmark
    found = results(slow, fast)
    found.benchmark = benchmark

    text = table.text(found)

    assert columns(text)[0][-2:] == heads
    assert f"sage is approximate ({word} 1.0e-2)" in text


def test_the_headline_names_what_times_depend_on():
    line = table.text(results(row(ms=1.0))).splitlines()[0]

    assert line == (
        "wanattn bench kernels on NVIDIA H100 80GB HBM3, torch 2.11.0+cu130, CUDA 13.0, "
        "wanattn 0.1.0, 2026-11-22"
    )


def test_reasons_are_told_once_with_their_places():
    absent = "flash-attn not installed\n(No module)"
    rows = [row("flash", 4.0, frames=frames) for frames in (25, 49, 81)]
    rows += [row("fa2", frames=frames, reason=absent) for frames in (25, 49, 81)]
    rows += [row("math", 9.0, frames=25), row("math", frames=49, reason="too large"), row("math")]

    remarks = table.remarks(results(*rows))

    assert remarks == [
        "fa2: flash-attn not installed (No module) (all places)",
        "math: too large (1 of 3 places)",
        "math: not measured (1 of 3 places)",
    ]


def test_foreign_names_do_not_break_the_table():
    text = table.text(results(row("a|b", 4.0, part="Node\n12"), row("flash", 8.0, part="Node\n12")))

    assert "| Node 12 82,992 | a\\|b " in text


def test_a_workflow_shows_what_takes_time():
    def node(part, backend, ms):
        plain = {"heads": None, "q_len": None, "kv_len": None, "dtype": ""}
        made = row(backend, ms, part=part, settings="4step_81f", **plain)
        made.benchmark = "workflow"
        return made

    rows = [node("run", "host", 93_000.0), node("run", "auto", 61_000.0)]
    rows += [node("KSampler 3", "host", 43_000.0), node("KSampler 3", "auto", 28_000.0)]
    rows += [node("SaveVideo 9", "host", 80.0), node("SaveVideo 9", "auto", 81.0)]
    found = results(*rows, baseline="host")

    text = table.text(found)

    assert [cells[0] for cells in columns(text)[2:]] == ["run", "", "KSampler 3", ""]
    assert "SaveVideo 9: each below 1 % of the longest" in text
    assert "### 14b, 832x1216, 81 frames: 4step_81f" in text
    assert table.answer(found).startswith(
        "Use auto: 1.52x faster than host in the whole run at 832x1216, 81 frames "
        "(61.00 against 93.00 s, 95 % interval 1.51 to 1.54); "
    )


ANSWERS = {
    "what to use, what it gains, what else": (
        results(
            row("flash", 407.0),
            row("cudnn", 246.0),
            row("fa3_fp8", 149.0, error=5.4e-2),
            row("efficient", 783.0),
        ),
        "Use cudnn: 1.65x faster than flash in self-attention at 832x1216, 81 frames "
        "(246 against 407 ms, 95 % interval 1.64 to 1.67); nothing to install. "
        "fa3_fp8 is approximate (error 5.4e-2) and would be 2.73x faster than flash.",
    ),
    "a package that is needed": (
        results(row("flash", 407.0), row("fa4", 211.0), row("cudnn", 246.0)),
        "needs flash-attn-4, which is installed.",
    ),
    "of those as fast the one that needs no package": (
        results(row("flash", 407.0), row("fa3", 210.0), row("cudnn", 211.0)),
        "(211 against 407 ms, 95 % interval 1.92 to 1.94; fa3 is the same within 1.2 %); nothing to install.",
    ),
    "what auto ran counts as a package": (
        results(
            row("flash", 407.0), row("auto", 200.0, active="self fa3, text cudnn", tuning=900.0)
        ),
        "it ran self fa3, text cudnn, choosing took 900 ms once, needs fa3-fwd, which is installed.",
    ),
    "nothing beats the baseline": (
        results(row("flash", 200.0), row("cudnn", 199.5), row("math", 900.0)),
        "Stay with flash: nothing exact is faster beyond noise in self-attention at 832x1216, 81 frames "
        "(200 ms, spread 0.4 %; cudnn is the same within 1.0 %).",
    ),
    "the baseline alone": (
        results(row("flash", 200.0)),
        "Stay with flash: no other exact backend was measured in self-attention",
    ),
    "noise": (
        results(row("flash", 210.0, spread=0.3), row("cudnn", 200.0, spread=0.3)),
        "Stay with flash: nothing exact is faster beyond noise in self-attention at 832x1216, 81 frames "
        "(210 ms, spread 30 %; cudnn is the same within 78 %, more rounds would tell more).",
    ),
    "measured once": (
        results(row("flash", 400.0, rounds=1), row("cudnn", 200.0, rounds=1)),
        "cudnn was 2.00x as fast as flash in self-attention at 832x1216, 81 frames "
        "(200 against 400 ms), but measured once, which proves nothing",
    ),
    "no baseline there": (
        results(row("flash", reason="no"), row("cudnn", 200.0)),
        "(200 ms, spread 0.4 %); the baseline flash was not measured there",
    ),
    "no baseline at all": (
        results(row("cudnn", 200.0), baseline=""),
        "no baseline was measured, so there is no gain to tell.",
    ),
    "stopped": (
        results(row("flash", 400.0), row("cudnn", 200.0), row("fa3"), finished=False),
        "Stopped early: 1 row was not measured, so this may change.",
    ),
    "CPU": (
        results(row("flash", 400.0), row("math", 800.0), gpu=None),
        "Measured on a CPU: it says nothing about a GPU.",
    ),
    "nothing": (
        results(row("flash", reason="no"), row("cudnn", reason="no")),
        "Nothing could be measured; each reason is listed.",
    ),
    "approximate only": (
        results(row("sage", 300.0)),
        "Only approximate backends were measured: the shortest is sage in self-attention",
    ),
    "another winner elsewhere": (
        results(
            row("flash", 400.0),
            row("fa3", 200.0),
            *(row(name, ms, part="text") for name, ms in (("flash", 2.7), ("cudnn", 1.5))),
            row("fa3", 1.7, part="text"),
        ),
        "Elsewhere another is faster: cudnn in text attention at 832x1216, 81 frames; "
        "auto finds that by itself.",
    ),
    "another winner elsewhere that auto never asks": (
        results(
            *(row(name, ms) for name, ms in (("flash", 400.0), ("fa3", 200.0))),
            *(row(name, ms, part="text") for name, ms in (("flash", 2.7), ("torch_fa3", 1.5))),
        ),
        "Elsewhere another is faster: torch_fa3 in text attention at 832x1216, 81 frames.",
    ),
    "a host that runs an approximate kernel": (
        results(row("host", 200.0, active="attention_sage"), row("flash", 400.0), baseline="flash"),
        "host is approximate and would be 2.00x faster than flash.",
    ),
    "an approximate baseline that nothing exact beats": (
        results(row("host", 100.0, active="attention_sage"), row("cudnn", 150.0), baseline="host"),
        "Fastest of the exact backends is cudnn in self-attention at 832x1216, 81 frames (150 ms, spread 0.4 %); "
        "host, which is approximate (attention_sage), is 1.50x faster (100 ms, spread 0.4 %).",
    ),
    "an approximate baseline that an exact one beats": (
        results(row("host", 300.0, active="attention_sage"), row("cudnn", 150.0), baseline="host"),
        "Use cudnn: 2.00x faster than host",
    ),
}


@pytest.mark.parametrize(("found", "words"), ANSWERS.values(), ids=ANSWERS)
def test_the_answer_says(found, words):
    assert words in table.answer(found)


def test_an_approximate_baseline_is_not_compared_with_itself():
    found = results(
        row("host", 100.0, active="attention_sage"), row("cudnn", 150.0), baseline="host"
    )

    assert "would be" not in table.answer(found)


def test_a_workflow_is_decided_by_the_whole_run_and_not_by_a_node():
    """However long the client's clock made the sampler."""
    rows = [
        row(name, ms, part=part)
        for part, times in (("KSampler 5", (500.0, 500.0)), ("run", (400.0, 300.0)))
        for name, ms in zip(("host", "auto"), times, strict=True)
    ]
    for each in rows:
        each.benchmark = "workflow"
    found = results(*rows, baseline="host")

    assert table.answer(found).startswith("Use auto: 1.33x faster than host in the whole run")


def test_a_backend_with_a_wrong_output_is_not_recommended():
    found = results(
        row("flash", 400.0),
        row("cudnn", 100.0, error=float("inf")),
        row("fa4", 90.0, reason="wrong"),
    )

    assert table.answer(found).startswith("Stay with flash")
    assert "wrong" in table.text(found)


def test_one_label_is_in_the_title_and_several_are_a_column():
    one = results(row("flash", 4.0, settings="a"), row("cudnn", 2.0, settings="a"))
    two = results(row("flash", 4.0, settings="a"), row("cudnn", 2.0, settings="b"))

    assert "bfloat16, 40 heads: a\n" in table.text(one)
    assert "settings" not in columns(table.text(one))[0]
    assert [cells[2] for cells in columns(table.text(two))] == ["settings", "--------", "b", "a"]


def test_the_answer_ends_the_text():
    found = results(row("flash", 407.0), row("cudnn", 246.0))

    assert table.text(found).endswith(f"**{table.answer(found)}**")


def test_nothing_measured_yet_can_be_shown():
    assert "Nothing could be measured" in table.text(results(finished=False))


def test_an_earlier_file_is_compared_row_by_row():
    old = results(row("sub_quad", 900.0), row("flash", 4.0, part="text"), torch="2.10.0")
    new = results(row("flash", 450.0), row("cudnn", 300.0), row("fa3", 3.0, part="image"))

    text = table.compared(compare.verdicts(old, new), "old.csv")

    assert text.startswith("### Against old.csv")
    assert columns(text)[2:] == [
        [
            "14b, 832x1216, 81 frames, bfloat16",
            "self 82,992",
            "flash, then sub_quad",
            "900 ms",
            "450 ms",
            "2.00x faster",
            "1.90 to 2.10",
        ],
        ["", "", "cudnn, then sub_quad", "900 ms", "300 ms", "3.00x faster", "2.86 to 3.15"],
    ]
    assert "- 2 faster\n- Different: torch: 2.10.0 then, 2.11.0+cu130 now" in text
    clip = "14b, 832x1216, 81 frames, bfloat16"
    assert f"- Only in old.csv: 1 row: flash in text, {clip}" in text
    assert f"- Only measured now: 1 row: fa3 in image, {clip}" in text


def test_an_earlier_file_of_other_places_says_so():
    comparison = compare.verdicts(results(row(ms=1.0, frames=25)), results(row(ms=1.0)))

    assert "No row of it is of the same place" in table.compared(comparison, "old.csv")
