"""The library that the pages of a process share."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from rag.admin.service import library

WITHOUT_NUMPY = """
import django, sys
django.setup()
from django.contrib import admin
from rag.models import Collection
assert Collection in admin.site._registry
assert not {"numpy", "chromadb", "onnxruntime"} & set(sys.modules)
"""


@pytest.mark.django_db(transaction=True)
def test_all_threads_have_one_library() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: library(), range(32)))
    assert len(made) == 1


def test_the_pages_load_nothing_that_embeds() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_NUMPY], check=True)
