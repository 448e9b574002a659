"""The stand-alone report in a real browser: what it shows, by keyboard too, and that text stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from wanattn.attention.report.html import render

HERE = Path(__file__).parent
ARTEFACTS = HERE.parent / "artefacts"
ELEMENTS = "[...document.querySelectorAll('.wanattn *')].map(each => each.tagName).join(' ')"


def fixture(name: str) -> dict:
    return json.loads((HERE / "fixtures" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def open_report(browser, tmp_path):
    """Opens a payload's report from disk; the test fails if the page reports an error or asks for anything else."""
    problems, contexts = [], []

    def open_report(payload: dict, **options):
        path = tmp_path / "report.html"
        path.write_text(render(payload), encoding="utf-8")
        context = browser.new_context(viewport={"width": 900, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: problems.append(message.text) if message.type == "error" else None,
        )
        page.on(
            "request",
            lambda request: problems.append(request.url) if is_foreign(request.url) else None,
        )
        page.goto(path.as_uri())
        page.wait_for_selector(".wanattn .headline:not(:empty)")
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert not problems


def is_foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:text/javascript,"))


def test_the_headline_says_what_was_asked_and_what_ran(open_report):
    page = open_report(fixture("expert"))

    assert plain(page, ".headline") == "auto \u2192 flash 50 %, cuDNN 50 %, math <1 %"
    assert plain(page, ".state") == "\u2713finished10 steps \u00b7 1,600 calls \u00b7 51.2 s"
    assert plain(page, ".fallbacks").startswith(
        "\u26a0 1 of 1,600 calls fell back to math: cudnn: OutOfMemoryError"
    )
    assert "peak 29.4 GiB \u00b7 NVIDIA H100" in plain(page, ".machine")


def test_a_run_without_fallback_says_so(open_report):
    page = open_report(fixture("running"))

    assert plain(page, ".fine") == "\u2713 no call fell back"
    assert not page.locator(".fallbacks").is_visible()


def test_a_lying_backend_is_an_alarm_in_words(open_report):
    page = open_report(fixture("lying"))

    assert plain(page, "header .alarm") == (
        "\u2715 in 3 of 40 calls the profiler saw another backend than the one that was forced"
    )
    assert plain(page, "td.alarm") == "\u2715 profiled"


def test_the_table_opens_a_rows_reasons(open_report):
    page = open_report(fixture("expert"))
    button = page.get_by_role("button", name="why math")

    assert page.locator(".reasons li:visible").count() == 0
    button.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert page.locator(".reasons li:visible").text_content().startswith("cudnn: OutOfMemoryError")


def test_the_table_opens_what_the_profiler_saw(open_report):
    page = open_report(fixture("running"))
    page.get_by_role("button", name="proof of cuDNN").click()

    assert page.locator(".reasons li:visible").all_text_contents() == [
        "operator aten::_scaled_dot_product_cudnn_attention",
        "kernel cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128",
    ]


def test_pointing_at_a_cell_tells_its_facts(open_report):
    page = open_report(fixture("expert"))
    area = page.locator("svg.cells").first.bounding_box()
    page.mouse.move(area["x"] + area["width"] * 12.5 / 40, area["y"] + area["height"] * 5.5 / 10)

    assert plain(page, ".facts").startswith("self, step 5, block 12\u26a0 auto \u2192 math912 ms")


def test_the_grid_can_be_walked_by_keyboard(open_report):
    page = open_report(fixture("expert"))
    grid = page.locator("svg.cells").first
    grid.focus()
    assert (
        plain(page, ".facts .place") == "self, step 5, block 12"
    )  # starts where something fell back

    for key in ("ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert plain(page, ".facts .place") == "self, step 6, block 13"
    page.keyboard.press("End")
    assert plain(page, ".facts .place") == "self, step 6, block 39"
    assert plain(page, ".facts .active") == "auto \u2192 cuDNN"


def test_every_control_can_be_reached_by_keyboard(open_report):
    page = open_report(fixture("expert"))
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.className.baseVal ?? document.activeElement.tagName"
            )
        )
    assert {"INPUT", "cells", "bars", "BUTTON", "DIV"} <= set(reached)


def test_the_colour_switch_works_by_keyboard(open_report):
    page = open_report(fixture("expert"))
    page.get_by_role("radio", name="backend").focus()
    page.keyboard.press("ArrowRight")

    assert page.get_by_role("radio", name="time").is_checked()
    assert page.locator("svg.cells path.level6").count() > 0
    assert re.search(r"^35\.5.*912 ms, by ratio$", plain(page, ".ramp"))
    page.keyboard.press("ArrowRight")
    assert "TFLOP/s" in plain(page, ".ramp")


def test_the_grid_has_text_for_who_cannot_see_it(open_report):
    page = open_report(fixture("expert"))
    grid = page.get_by_label("self attention, 40 blocks by 10 steps: cuDNN in 399, math in 1")
    page.get_by_role("button", name="as text").first.click()

    assert grid.count() == 1
    lines = page.locator(".words:visible li").all_text_contents()
    assert lines[1] == "step 5: blocks 0\u201311 cuDNN, block 12 math, blocks 13\u201339 cuDNN"


def test_the_copied_json_is_the_payload(open_report):
    payload = fixture("expert")
    page = open_report(payload, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy JSON").click()
    page.get_by_role("status").get_by_text("JSON copied").wait_for()

    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == payload
    page.get_by_role("button", name="Copy Markdown").click()
    page.get_by_role("status").get_by_text("Markdown copied").wait_for()
    assert "| self | 1\u00d740\u00d732,760\u00d7128 |" in page.evaluate(
        "navigator.clipboard.readText()"
    )


def test_hostile_text_changes_nothing_but_text(open_report):
    hostile = fixture("hostile")
    page = open_report(hostile)
    tame = open_report(tamed(hostile))

    assert page.evaluate(ELEMENTS) == tame.evaluate(ELEMENTS)
    assert page.evaluate("window.hostile") is None
    assert page.locator(".wanattn :is(img, script, b b, a, iframe)").count() == 0
    assert page.locator("td", has_text="<img src=x onerror=window.hostile=1>").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def tamed(value):
    """The same payload with harmless words; equal texts stay equal, different ones different."""
    words: dict[str, str] = {}
    known = {"auto", "cudnn", "none"}

    def tame(each):
        if isinstance(each, dict):
            return {
                (
                    key
                    if key.islower() and key.isidentifier() and key != "__proto__"
                    else tame(key)
                ): tame(item)
                for key, item in each.items()
            }
        if isinstance(each, list):
            return [tame(item) for item in each]
        if isinstance(each, str) and each not in known:
            return words.setdefault(each, f"word{chr(97 + len(words) % 26)}{len(words)}")
        return each

    return tame(value)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_report_follows_the_systems_colours(open_report, scheme):
    page = open_report(fixture("expert"), color_scheme=scheme)

    page.wait_for_selector(f".wanattn[data-tone={scheme}]")
    assert contrast(page, ".wanattn", ".dim") >= 4.5
    assert contrast(page, ".wanattn", ".fallbacks li") >= 4.5
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"report_{scheme}.png", full_page=True)


def test_nothing_moves_by_itself(open_report):
    page = open_report(fixture("running"))
    page.get_by_role("button", name="Copy JSON").hover()

    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("width", [360, 1600])
def test_any_width_works(open_report, width):
    page = open_report(fixture("large"))
    page.set_viewport_size({"width": width, "height": 900})

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("svg.cells").count() == 3


def plain(page, selector: str) -> str:
    return page.locator(selector).first.text_content().replace("\u00a0", " ")


CONTRAST = """([back, front]) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    const luminance = colour => {
        const context = canvas.getContext("2d");
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const linear = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map(value => value / 255)
            .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const [one, other] = [
        luminance(getComputedStyle(document.querySelector(back)).backgroundColor),
        luminance(getComputedStyle(document.querySelector(front)).color),
    ].sort((left, right) => right - left);
    return (one + 0.05) / (other + 0.05);
}"""


def contrast(page, back: str, front: str) -> float:
    return page.evaluate(CONTRAST, [back, f"{back} {front}"])


def test_several_devices_have_a_column_and_a_line_each(open_report):
    page = open_report(fixture("two_devices"))

    heads = page.locator(".wanattn th:visible").all_inner_texts()
    assert heads[:2] == ["role", "device"]
    assert page.locator(".wanattn .rows td:visible", has_text="cuda:1").count() == 2
    assert page.locator(".wanattn .devices li").count() == 2
    assert "351 TFLOP/s" in page.locator(".wanattn .devices").inner_text()


def test_one_device_has_no_column(open_report):
    page = open_report(fixture("expert"))

    assert "device" not in page.locator(".wanattn th:visible").all_inner_texts()
    assert page.locator(".wanattn .devices li").count() == 0
