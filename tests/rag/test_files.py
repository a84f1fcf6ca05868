"""Files of documents are whole or not there, and no name leads out of their folder."""

from __future__ import annotations

import os
import stat
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from rag.files import (
    ORIGINAL,
    TEXT,
    DocumentFiles,
    clean_filename,
    stored_folder,
    version_folder,
)

UID = uuid.uuid4().hex


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("filename", "clean"),
    [
        ("leave.pdf", "leave.pdf"),
        ("../../etc/passwd", "passwd"),
        (r"C:\Users\me\Plan 2026.docx", "Plan 2026.docx"),
        ("folder/", "document"),
        ("..", "document"),
        ("", "document"),
        (" \u200b\x00 ", "document"),
        ("a\r\nb\t\u202egnp.exe", "a b gnp.exe"),
        ("u\u0308ber.txt", "\u00fcber.txt"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("x." + "y" * 300, "x." + "y" * 253),
    ],
)
def test_a_name_loses_its_path_and_what_cannot_be_seen(
    filename: str, clean: str
) -> None:
    assert clean_filename(filename) == clean


@given(st.text())
def test_any_name_becomes_one_visible_line(filename: str) -> None:
    clean = clean_filename(filename)
    assert 0 < len(clean) <= 255
    assert not set(clean) & set("/\\\r\n\0")
    assert clean.strip() == clean
    assert clean_filename(clean) == clean


def test_a_file_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    files = DocumentFiles(tmp_path / "documents")
    folder = version_folder(UID)
    assert files.put(folder, ORIGINAL, b"one") == files.path(folder, ORIGINAL)
    files.put(folder, ORIGINAL, b"two")
    files.put(folder, TEXT, b"")
    assert files.read(folder, ORIGINAL) == b"two"
    assert names(files.root / folder) == [ORIGINAL, TEXT]
    modes = {
        stat.S_IMODE(path.stat().st_mode): path.is_dir()
        for path in [files.root, *files.root.rglob("*")]
    }
    assert modes == {0o700: True, 0o600: False}


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    files = DocumentFiles(tmp_path)
    folder = stored_folder(UID)
    files.put(folder, ORIGINAL, b"whole")
    with pytest.raises(TypeError):
        files.put(folder, ORIGINAL, "no bytes")  # type: ignore[arg-type]  # what fails
    assert names(tmp_path / folder) == [ORIGINAL]
    assert files.read(folder, ORIGINAL) == b"whole"


@pytest.mark.parametrize(
    "folder",
    ["versions/..", "versions", "", "../x", f"other/{UID}", f"versions/{UID}/x"],
    ids=["above", "all", "none", "outside", "other", "below"],
)
def test_no_other_folder_is_ever_touched(tmp_path: Path, folder: str) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"")
    files = DocumentFiles(tmp_path)
    for touch in (files.remove, lambda name: files.put(name, TEXT, b"")):
        with pytest.raises(ValueError, match="no folder"):
            touch(folder)
    assert kept.exists()


def test_what_is_removed_is_gone_and_may_be_removed_again(tmp_path: Path) -> None:
    files = DocumentFiles(tmp_path)
    files.put(version_folder(UID), ORIGINAL, b"x")
    assert files.remove(version_folder(UID))
    assert files.remove(version_folder(UID))
    assert not list((tmp_path / "versions").iterdir())
    with pytest.raises(FileNotFoundError):
        files.read(version_folder(UID), ORIGINAL)


def test_only_folders_that_are_old_enough_are_told(tmp_path: Path) -> None:
    files = DocumentFiles(tmp_path)
    assert list(files.folders(before_s=time.time())) == []  # noqa: TID251 - a file's time
    old, new = uuid.uuid4().hex, uuid.uuid4().hex
    for folder in (version_folder(old), stored_folder(old), version_folder(new)):
        files.put(folder, ORIGINAL, b"x")
    for folder in (version_folder(old), stored_folder(old)):
        os.utime(tmp_path / folder, (1_000, 1_000))
    (tmp_path / "versions" / "stranger").mkdir()
    os.utime(tmp_path / "versions" / "stranger", (1_000, 1_000))
    told = {version_folder(old), stored_folder(old)}
    assert set(files.folders(before_s=2_000)) == told
