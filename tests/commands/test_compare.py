"""wanattn compare, on pictures and videos that were made with a known distance."""

from __future__ import annotations

import json
import math
import sys

import pytest
from wanattn.commands import compare
from wanattn.commands import main as cli
from wanattn.commands.frames import files

numpy = pytest.importorskip("numpy", reason="numpy not installed")
Image = pytest.importorskip("PIL.Image", reason="pillow not installed")
pytest.importorskip("skimage", reason="scikit-image not installed")

GREY = 100
HIGH, WIDE = 24, 32


def picture(value=GREY, width=WIDE):
    """[height, width, 3] with some structure."""
    return (numpy.indices((HIGH, width)).sum(0)[..., None] + [value, 0, 0]).astype("uint8")


def save(path, frame):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(frame).save(path)
    return path


@pytest.fixture
def folders(tmp_path):
    """Two folders of eleven frames, alike but in the tenth, which is off by 6 in one of its three channels."""
    for number in range(1, 12):
        save(tmp_path / "a" / f"f_{number}.png", picture(GREY + number))
        off = 6 if number == 10 else 0
        save(tmp_path / "b" / f"f_{number}.png", picture(GREY + number + off))
    return tmp_path / "a", tmp_path / "b"


def told(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main(["compare", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err.rpartition("\r")[2].strip()


def test_the_furthest_frame_is_named_by_its_number(folders, capsys):
    code, out, _ = told(capsys, *folders)

    one = 10 * math.log10(255**2 / 12)  # 6 squared, in one of three channels
    whole = 10 * math.log10(255**2 / (12 / 11))
    assert code == 0 and out.startswith("11 frames of 32x24\n")
    assert f"PSNR  {whole:.2f} dB over all, least {one:.2f} dB in frame 10\n" in out
    assert "in frame 10\nFurthest apart is one value by 6 of 255, in frame 10." in out


def test_json_holds_every_frame_and_no_infinity(folders, capsys):
    _, out, _ = told(capsys, *folders, "--json")

    found = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert [frame["frame"] for frame in found["frames"]] == list(range(1, 12))
    assert found["frames"][0] == {
        "frame": 1,
        "size": "32x24",
        "error": 0,
        "ssim": 1,
        "largest": 0,
        "psnr": None,
    }
    assert found["frames"][9]["largest"] == 6 and 0.5 < found["frames"][9]["ssim"] < 1


def test_equal_ones_are_said_to_be_equal(folders, capsys):
    assert (
        told(capsys, folders[0], folders[0])[1] == "11 frames of 32x24: the same in every value.\n"
    )


def test_ssim_is_the_one_of_wang_and_others(folders):
    """Of two flat pictures only the means count: (2ab + C1) / (a² + b² + C1), C1 = (0.01 * 255)²."""
    flat = [numpy.full((HIGH, WIDE, 3), value, "uint8") for value in (100, 120)]

    (found,) = compare.distances([tuple(flat)])

    c1 = (0.01 * 255) ** 2
    assert found.ssim == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1), rel=1e-6)
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / 400))


def test_one_file_may_hold_both_side_by_side(tmp_path, capsys):
    gap = numpy.zeros((HIGH, 8, 3), "uint8")
    both = numpy.concatenate([picture(), gap, picture(GREY + 3)], 1)
    path = save(tmp_path / "both.png", both)

    assert "by 3 of 255" in told(capsys, path)[1]
    assert told(capsys, path, "--gap", 7)[0] == 2
    assert "need two pictures of one width" in told(capsys, path, "--gap", 80)[2]


def test_a_video_is_read_and_its_loss_is_said(tmp_path, capsys):
    av = pytest.importorskip("av", reason="av not installed")
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDE, HIGH, "yuv420p"
        for value in (100, 110, 120):
            frame = av.VideoFrame.from_ndarray(picture(value), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for number, value in enumerate((100, 110, 120)):
        save(tmp_path / "b" / f"{number}.png", picture(value))

    code, out, _ = told(capsys, path, tmp_path / "b")

    assert code == 0 and out.startswith("3 frames of 32x24\n")
    assert out.endswith("Saving as .mp4 may lose detail, which is in these figures too.\n")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda b: (b / "f_11.png").unlink(), "the second ends after frame 10, needs as many"),
        (
            lambda b: save(b / "f_2.png", picture(width=40)),
            "frame 2 is 40x24 in the second, needs 32x24 as in the first",
        ),
        (lambda b: (b / "f_1.png").write_bytes(b"none"), "cannot be read as a picture"),
        (lambda b: [file.unlink() for file in b.iterdir()], "holds no picture, needs one of .png"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(folders, capsys, change, sentence):
    change(folders[1])

    code, out, err = told(capsys, *folders)

    assert code == 2 and out == "" and sentence in err


@pytest.mark.parametrize(
    ("name", "sentence"), [("a.txt", "needs one of .png"), ("no", "not there")]
)
def test_other_files_are_refused(tmp_path, capsys, name, sentence):
    (tmp_path / "a.txt").write_text("words")

    assert sentence in told(capsys, tmp_path / name, tmp_path / name)[2]


def test_a_missing_package_comes_with_its_line(folders, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)

    code, _, err = told(capsys, *folders)

    assert code == 2 and "compare needs scikit-image" in err and "pip install scikit-image" in err


def test_frame_ten_comes_after_frame_nine(folders):
    assert [file.stem for file in files(folders[0])][8:] == ["f_9", "f_10", "f_11"]
