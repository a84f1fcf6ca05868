"""`manage.py ingest` alone turns files into documents that are found."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings
from typing_extensions import override

from rag.management.found_files import find_files
from rag.models import Chunk, Collection, Document, Version, Visibility
from tests.memory.scenes import make_scope

pytestmark = pytest.mark.django_db

LEAVE = "# Leave\n\nThe parental leave is fourteen weeks long.\n"


class Terminal(io.StringIO):
    """Somebody looks at this one."""

    @override
    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with two documents, and things that are none of it."""
    folder = tmp_path / "handbook"
    files = {
        "leave.md": LEAVE,
        "more/travel.txt": "Trains are paid for, and so are bicycles.",
        ".hidden.txt": "hidden",
        ".git/config.txt": "hidden",
        "../outside/secret.txt": "outside",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "secret.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    return folder


@pytest.fixture
def ingest(
    settings: Settings, tmp_path: Path, embedder_folders: Sequence[Path]
) -> Callable[..., tuple[str, str]]:
    """Give the command; it gives what it says."""
    settings.ENABLE_RAG = True
    settings.AILB_DOCUMENTS_DIR = tmp_path / "documents"
    make_scope("default")

    def run(
        *paths: Path, terminal: io.StringIO | None = None, **options: object
    ) -> tuple[str, str]:
        said, told = io.StringIO(), terminal or io.StringIO()
        options = {"create": True, **options}
        try:
            call_command(
                "ingest", "handbook", *map(str, paths), stdout=said, stderr=told,
                **options,
            )  # fmt: skip
        except CommandError as error:
            return f"{said.getvalue()}{error}", told.getvalue()
        return said.getvalue(), told.getvalue()

    return run


Ingest = Callable[..., tuple[str, str]]


def states() -> dict[str, str]:
    rows = Document.objects.values_list("filename", "newest__state")
    return dict(rows)


# --- Which files ------------------------------------------------------------------------


def test_a_folder_gives_what_is_in_it_and_not_hidden(folder: Path) -> None:
    found = find_files([folder], is_recursive=True)
    assert [str(path.relative_to(folder)) for path in found] == [
        "leave.md",
        "more/travel.txt",
    ]
    assert find_files([folder], is_recursive=False) == [folder / "leave.md"]


def test_a_file_that_is_named_is_taken_whatever_its_name(folder: Path) -> None:
    named = [folder / ".hidden.txt", folder / "leave.md", folder / "more/../leave.md"]
    assert find_files(named, is_recursive=True) == named[:2]
    for missing in (folder / "none", Path("/dev/null")):
        with pytest.raises(FileNotFoundError):
            find_files([missing], is_recursive=True)


# --- The command ------------------------------------------------------------------------


def test_a_folder_becomes_documents_that_are_found(
    ingest: Ingest, folder: Path
) -> None:
    said, told = ingest(folder, attributes='{"year": 2026}')
    assert said == "handbook: 2 added, 2 ready.\n"
    assert told.splitlines() == [
        f"added: {folder}/leave.md",
        f"added: {folder}/more/travel.txt",
        "ready: leave.md (1 chunks)",
        "ready: travel.txt (1 chunks)",
    ]
    for document in Document.objects.all():
        assert document.current is not None
        assert document.current == document.newest
        assert document.attributes == {"year": 2026}
    assert Chunk.objects.filter(vector__isnull=False).count() == 2

    collection = Collection.objects.get()
    collection.visibility = Visibility.KEYS  # nobody's but the operator's
    collection.save()
    (folder / "leave.md").write_text(LEAVE.replace("fourteen", "sixteen"))
    said, told = ingest(folder, create=False)
    assert said == "handbook: 1 replaced, 1 unchanged, 1 ready.\n"
    assert Document.objects.count() == Version.objects.count() == 2
    assert "sixteen" in Chunk.objects.get(text__startswith="# Leave").text


def test_two_files_of_one_name_are_both_kept_and_told(
    ingest: Ingest, folder: Path
) -> None:
    (folder / "more" / "leave.md").write_text("# Leave\n\nOf another country.")
    _, told = ingest(folder, wait=False)
    assert f"several: {folder}/leave.md, {folder}/more/leave.md" in told
    assert Document.objects.filter(filename="leave.md").count() == 2
    first = Document.objects.get(newest__size=len(LEAVE))
    (folder / "leave.md").write_text("# Leave\n\nAnother text.")
    said, _ = ingest(folder, wait=False)
    assert said.startswith("handbook: 1 replaced, 2 unchanged")
    first.refresh_from_db()
    assert first.newest is not None
    assert first.newest.number == 2


def test_a_new_file_does_not_take_the_place_of_one_that_is_still_there(
    ingest: Ingest, folder: Path
) -> None:
    (folder / "more" / "leave.md").write_text("# Leave\n\nOf another country.")
    ingest(folder / "more", wait=False)
    said, _ = ingest(folder, wait=False)
    assert said.startswith("handbook: 1 added, 2 unchanged")


def test_what_fails_is_told_with_its_reason_and_the_rest_is_done(
    ingest: Ingest, folder: Path
) -> None:
    (folder / "program.bin").write_bytes(b"\x7fELF\0\0\0")
    (folder / "broken.docx").write_bytes(b"PK\x03\x04 and nothing of an archive")
    said, told = ingest(folder)
    assert said.endswith("2 of 4 files failed.")
    assert f"failed: {folder}/program.bin: This file cannot be read" in told
    assert "failed: broken.docx: This file is damaged" in told
    assert states() == {
        "leave.md": "ready", "travel.txt": "ready", "broken.docx": "failed"
    }  # fmt: skip


def test_a_terminal_gets_a_bar_and_only_the_lines_that_matter(
    ingest: Ingest, folder: Path
) -> None:
    (folder / "program.bin").write_bytes(b"\x7fELF\0\0\0")
    terminal = Terminal()
    _, told = ingest(folder, terminal=terminal)
    assert "\r\x1b[2K[....." in told
    assert "  0% 0 of 3 files" in told
    assert "failed: " in told
    assert "added: " not in told
    assert told.endswith("\r\x1b[2K")


def test_it_indexes_itself_once_no_background_process_does(
    ingest: Ingest, folder: Path
) -> None:
    lease = apps.get_model("gateway", "Lease").objects.create(
        name="jobs", holder="other", expires_at=timezone.now() + timedelta(seconds=2)
    )
    _, told = ingest(folder)
    assert told.count("The background process indexes them.") == 1
    assert set(states().values()) == {"ready"}
    finished = Version.objects.earliest("finished_at").finished_at
    assert finished is not None
    assert finished > lease.expires_at


def test_without_waiting_documents_are_queued(ingest: Ingest, folder: Path) -> None:
    said, _ = ingest(folder, wait=False)
    assert said == "handbook: 2 added.\n"
    assert set(states().values()) == {"queued"}


def test_what_indexing_needs_and_is_away_ends_the_wait(
    ingest: Ingest, folder: Path, settings: Settings, tmp_path: Path
) -> None:
    settings.EMBEDDING_MODEL = str(tmp_path / "none")
    said, _ = ingest(folder)
    assert said.startswith("What was brought is kept and waits. ")
    assert str(tmp_path / "none") in said
    assert Document.objects.count() == 2


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"tenant": "none"}, "There is no tenant 'none'"),
        ({"create": False}, "has no collection 'handbook': add --create"),
        ({"attributes": "{"}, "--attributes is no JSON"),
        ({"attributes": "[]"}, "--attributes cannot be taken"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is(
    ingest: Ingest, folder: Path, options: dict[str, object], refusal: str
) -> None:
    said, _ = ingest(folder, **options)
    assert refusal in said
    assert not Document.objects.exists()


def test_without_a_tenant_the_only_collection_of_the_name_is_meant(
    ingest: Ingest, folder: Path
) -> None:
    said, _ = ingest(folder, tenant=make_tenant("sales"), wait=False)
    said, _ = ingest(folder, create=False, wait=False)
    assert said == "handbook: 2 unchanged.\n"
    said, _ = ingest(folder, tenant=make_tenant("legal"), wait=False)
    said, _ = ingest(folder, wait=False)
    assert "Several tenants have a collection 'handbook' (legal, sales)" in said


def make_tenant(name: str) -> str:
    make_scope(name)
    return name


def test_paths_that_lead_to_nothing_are_refused(ingest: Ingest, tmp_path: Path) -> None:
    said, _ = ingest(tmp_path / "none")
    assert said == f"There is no file or folder {tmp_path / 'none'}."
    (tmp_path / "empty").mkdir()
    said, _ = ingest(tmp_path / "empty")
    assert said.startswith("There are no files")
    assert not Collection.objects.exists()


def test_switched_off_it_says_how_to_switch_it_on(
    ingest: Ingest, folder: Path, settings: Settings
) -> None:
    settings.ENABLE_RAG = False
    said, _ = ingest(folder)
    assert said == "Documents are switched off: set ENABLE_RAG=true."
