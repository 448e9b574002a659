from __future__ import annotations

import sys

import pytest
import torch
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report import picture
from wanattn.attention.report.payload import payload_of


@pytest.fixture
def payload(make_call):
    """Two steps of two blocks whose backend has a name that a plotting library could trip over."""
    recorder = Recorder()
    recorder.begin("job", steps=2)
    for step in range(2):
        for block, active in enumerate(("flash", "pack$a_$ \udce4")):
            call = make_call(q_len=32760 + block)
            recorder.add(Record(call, "auto", active, "host", step=step, block=block))
    return payload_of(recorder.snapshot(), {})


def test_the_picture_has_the_colours_of_what_ran(payload):
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")

    image = picture.draw(payload)

    assert image.ndim == 4 and image.shape[0] == 1 and image.shape[3] == 3
    assert image.min() >= 0 and image.max() <= 1
    flash = torch.tensor([0xE6, 0x9F, 0x00]) / 255
    assert (image - flash).abs().amax(-1).lt(0.01).sum() > 100


@pytest.mark.parametrize("rows", [1, 60])
def test_no_line_of_the_picture_is_cut_off(payload, rows):
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")

    image = picture.draw({**payload, "grid": [], "rows": [payload["rows"][0]] * rows})[0]

    for edge in (image[:4], image[-4:]):
        assert (edge - image[0, 0]).abs().max() < 0.1


def test_without_matplotlib_it_says_so(payload, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(ImportError):
        picture.draw(payload)
    image = picture.write_out("The picture needs matplotlib.\nInstall it.")
    assert image.shape[0] == 1 and image.max() > 0.5


@pytest.mark.parametrize(("rows", "told"), [(60, []), (61, ["and 1 more rows"])])
def test_a_picture_has_sixty_rows_and_says_what_it_leaves_out(payload, rows, told):
    many = {**payload, "rows": [payload["rows"][0]] * rows}

    lines = picture._lines(many)

    assert [line for line in lines if line.startswith("and ")] == told
    assert sum("32,760" in line or "32760" in line for line in lines) == 60


def test_written_text_keeps_off_the_edges():
    image = picture.write_out("not installed")[0]

    edge = image[0, 0]
    inner = (image - edge).abs().amax(-1) > 0.1
    rows, columns = inner.any(1).nonzero().flatten(), inner.any(0).nonzero().flatten()
    assert rows.min() >= 12 and columns.min() >= 12
    assert rows.max() < image.shape[0] - 8 and columns.max() < image.shape[1] - 8
