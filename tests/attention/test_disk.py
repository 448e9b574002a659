"""A file is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import os
import sys

import pytest
from wanattn.attention import disk, filename, patience


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("older")
    return target


def names(path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


@pytest.mark.parametrize("content", ["new \u65b0\n", b"\xff\x00"])
def test_text_and_bytes_take_the_place_of_what_was_there(path, content):
    disk.write(path, content)

    wanted = content if isinstance(content, bytes) else content.encode()
    assert path.read_bytes() == wanted and names(path) == ["a.json"]


def test_whoever_reads_meanwhile_sees_the_old_file(path):
    with disk.draft(path) as part:
        part.write_text("ne")
        assert path.read_text() == "older"
        part.write_text("new")

    assert path.read_text() == "new" and names(path) == ["a.json"]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), ValueError("bug")])
def test_what_ends_in_the_middle_leaves_the_old_file_alone(path, error, keep):
    """Half a new one is worth nothing, not even to `keep`."""
    with pytest.raises(type(error)), disk.draft(path, keep) as part:
        part.write_text("ne")
        raise error

    assert path.read_text() == "older" and names(path) == ["a.json"]


def test_a_draft_that_was_never_written_is_an_error(path):
    with pytest.raises(FileNotFoundError), disk.draft(path):
        pass

    assert path.read_text() == "older"


@pytest.fixture
def locked(monkeypatch):
    def replace(part, target):
        raise PermissionError(13, "used by another program", str(target))

    monkeypatch.setattr(os, "replace", replace)


def test_a_file_that_cannot_be_replaced_stays(path, locked):
    with pytest.raises(PermissionError):
        disk.write(path, "new")

    assert path.read_text() == "older" and names(path) == ["a.json"]


def test_the_new_one_is_kept_beside_it_where_that_is_asked_for(path, locked):
    with pytest.raises(disk.NotReplaced) as raised:
        disk.write(path, "new", keep=True)

    assert raised.value.kept == disk.spare(path) and raised.value.kept.read_text() == "new"
    assert isinstance(raised.value.__cause__, PermissionError)
    assert path.read_text() == "older" and names(path) == ["a.json", "a.json.part"]


def test_a_file_that_stays_open_is_replaced_or_the_new_one_is_kept(path, monkeypatch):
    """Windows replaces none that somebody has open, other systems do."""
    monkeypatch.setattr(patience, "SECONDS", 0.05)
    refused = None

    with path.open() as held:
        try:
            disk.write(path, "new", keep=True)
        except disk.NotReplaced as error:
            refused = error
        assert held.read() == "older"

    assert (refused is not None) == (sys.platform == "win32")
    assert (refused.kept if refused else path).read_text() == "new"
    assert path.read_text() == ("older" if refused else "new")


def test_a_path_of_more_than_260_letters_is_written_or_told(tmp_path):
    folder = tmp_path.joinpath(*["long" * 20] * 3)
    path = folder / "a.csv"
    try:
        folder.mkdir(parents=True)
        disk.write(path, "new")
    except OSError as error:
        assert sys.platform == "win32", error
        assert "and Windows takes 259" in filename.explained(error, path)
    else:
        assert path.read_bytes() == b"new" and names(path) == ["a.csv"]
    assert len(str(path)) > 260


def test_lines_end_alike_on_every_system(path):
    disk.write(path, "a\nb\n")

    assert path.read_bytes() == b"a\nb\n"


def test_what_was_kept_is_not_swept_away(path):
    disk.spare(path).write_text("the only copy")
    dead, alive = (path.with_name(f"a.json.{number}-1.part") for number in (1, 2))
    for draft in (disk.spare(path), dead, alive):
        draft.touch()
    for draft in (disk.spare(path), dead):
        os.utime(draft, (0, 0))

    disk.sweep(path)

    assert names(path) == ["a.json", "a.json.2-1.part", "a.json.part"]


def test_a_link_is_written_through(path, link):
    name = link(path.with_name("link.json"), path)

    disk.write(name, "new")

    assert name.is_symlink() and path.read_text() == "new"


def test_reading_ends(path, tmp_path):
    assert disk.read(path, 5) == disk.read(path, 6) == b"older"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        disk.read(path, 4)
    with pytest.raises(OSError):
        disk.read(tmp_path, 5)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a name")
def test_a_pipe_or_a_device_is_not_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for odd in (pipe, "/dev/zero"):
        with pytest.raises(OSError, match="needs a regular file"):
            disk.read(odd, 5)
