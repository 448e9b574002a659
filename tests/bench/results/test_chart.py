from __future__ import annotations

import html.parser
import re
import sys
import warnings

import pytest
import torch
from wanattn.bench.results import chart, table
from wanattn.tests.bench.made import results, row

pytest.importorskip("matplotlib", reason="charts need matplotlib")

HOSTILE = "<script>alert(1)</script>$a_$ & \u65b0\u3057 \udce4\x01"


def words(found) -> list[str]:
    """Every text of the figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in chart.figure(found).findobj(Text) if text.get_text()]


def test_each_place_has_its_bars_fastest_first_with_the_times_beside():
    found = results(
        row("flash", 407.0),
        row("cudnn", 246.0),
        row("flash", 2.7, part="text"),
        row("cudnn", 1.5, part="text"),
        row("fa3", reason="not installed"),
    )

    places = chart.figure(found).axes

    assert [[bar.get_width() for bar in place.patches] for place in places] == [
        [246.0, 407.0],
        [1.5, 2.7],
    ]
    names = [label.get_text() for label in places[0].get_yticklabels()]
    assert names == ["cudnn", "flash"]
    beside = [text.get_text() for text in places[0].texts]
    assert beside == ["246 ms", "1.65x faster", "407 ms", "baseline"]
    title, *_ = words(found)
    assert "NVIDIA H100" in " ".join(words(found)) and title
    assert any("No times: fa3." in text for text in words(found))


def test_whiskers_reach_from_the_shortest_to_the_longest_time():
    shaky = row("flash", 100.0, spread=0.2)

    [place] = chart.figure(results(shaky)).axes

    ends = [tuple(line.get_xdata()) for line in place.lines]
    assert (min(shaky.times), max(shaky.times)) in ends


def test_a_very_slow_backend_does_not_hide_the_others():
    found = results(row("flash", 10.0), row("cudnn", 5.0), row("math", 900.0))

    [place] = chart.figure(found).axes

    assert place.get_xlim()[1] < 40.0
    assert "900 ms" in [text.get_text() for text in place.texts]


@pytest.mark.parametrize("count", [1, 20, 60, 200])
def test_any_number_of_bars_can_be_drawn(count):
    backends = ("flash", "cudnn", "fa3", "sage")
    rows = [row(backends[i % 4], 10.0 + i, frames=1 + 4 * (i // 4)) for i in range(count)]

    image = chart.image(results(*rows))

    assert image.shape[0] == 1 and image.shape[3] == 3
    assert 100 < image.shape[1] < 8000 and image.shape[2] == 900
    assert image.min() >= 0 and image.max() <= 1
    flash = torch.tensor([0xE6, 0x9F, 0x00]) / 255
    assert (image - flash).abs().amax(-1).lt(0.01).sum() > 500


def test_what_finds_no_room_is_counted():
    rows = [row("flash", 10.0, frames=1 + 4 * i) for i in range(100)]

    assert any("20 rows are not drawn." in text for text in words(results(*rows)))


def test_nothing_measured_is_a_picture_that_says_so():
    empty = results(row("flash", reason="no"), finished=False)

    assert chart.image(empty).shape[0] == 1
    assert any("Nothing was measured." in text for text in words(empty))


@pytest.mark.parametrize("suffix", [".png", ".html", ".PNG"])
def test_hostile_names_are_drawn_without_a_warning(tmp_path, suffix):
    path = tmp_path / f"chart{suffix}"
    found = results(row(HOSTILE, 4.0, part=HOSTILE, size=HOSTILE), gpu=HOSTILE, baseline=HOSTILE)
    found.notes.append(HOSTILE)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chart.save(found, path)

    start = b"\x89PNG" if suffix.lower() == ".png" else b"<!doctype html>"
    assert path.read_bytes().startswith(start)


class Page(html.parser.HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.words = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_stands_alone_and_holds_everything(tmp_path):
    found = results(row("flash", 407.0), row(HOSTILE, 246.0), server=HOSTILE)
    found.notes.append("A note.")
    chart.save(found, tmp_path / "a.html")

    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))

    assert "script" not in page.tags and {"svg", "table"} <= page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    links = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert all(link.startswith(("#", "data:")) for link in links)
    words = " ".join(page.words)
    for part in (table.headline(found), "A note.", "407 ms", "fa3-fwd", "memory_gib", "79.2"):
        assert part in words
    assert "<script>alert(1)</script>$a_$ & \u65b0\u3057 ??" in words
    assert not re.search(r"url\((?!#)", words)


def test_without_matplotlib_it_is_an_import_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(ImportError):
        chart.image(results(row(ms=1.0)))
