"""A large collection: chunks made of sentences and vectors that another one has."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from django.db import transaction

from rag.embedder import Vectors
from rag.keyword_index import terms_for
from rag.models import (
    Chunk,
    ChunkVector,
    Collection,
    Cut,
    Document,
    DocumentState,
    Index,
    IndexState,
    VectorState,
    Version,
)
from rag.packed_vectors import pack, unpack
from rag.validators import new_uid

CHUNKS_OF_A_DOCUMENT = 100
SENTENCES = 7
NEARNESS = 0.5  # of a second chunk's vector, and of noise, in a new one
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to make chunks of: sentences, and real vectors, one in each row."""

    sentences: Sequence[str]
    vectors: Vectors
    embedding: str


def material_of(collection: Collection) -> Material:
    """Take the material of a collection that is complete."""
    index = collection.indexes.get(state=IndexState.ACTIVE)
    chunks = Chunk.objects.filter(index=index).order_by("pk")
    sentences = [
        sentence
        for text in chunks.values_list("text", flat=True).iterator()
        for sentence in _SENTENCE.split(text)
    ]
    rows = ChunkVector.objects.filter(chunk__index=index).order_by("pk")
    vectors = unpack(list(rows.values_list("data", flat=True)))
    return Material(sentences, vectors, index.embedding)


def make_chunks(collection: Collection, material: Material, count: int) -> None:
    """Store so many chunks, which have their vectors and are found at once."""
    index = collection.indexes.get(state=IndexState.ACTIVE)
    index.embedding, index.dimension = material.embedding, material.vectors.shape[1]
    index.save()
    draw, noise = random.Random(1), np.random.default_rng(1)  # noqa: S311 - figures
    for begin in range(0, count, CHUNKS_OF_A_DOCUMENT):
        size = min(CHUNKS_OF_A_DOCUMENT, count - begin)
        vectors = _vectors(material.vectors, size, noise)
        _make_document(index, list(_texts(material.sentences, size, draw)), vectors)


@transaction.atomic
def _make_document(index: Index, texts: Sequence[str], vectors: Vectors) -> None:
    document = Document.objects.create(
        collection=index.collection, uid=new_uid(), filename="made up.txt"
    )
    version = Version.objects.create(
        document=document,
        sha256=new_uid() * 2,
        size=sum(map(len, texts)),
        state=DocumentState.READY,
        chunks=len(texts),
        chunks_done=len(texts),
    )
    Cut.objects.create(index=index, version=version, chunks=len(texts))
    chunks = Chunk.objects.bulk_create(
        Chunk(
            index=index,
            version=version,
            uid=new_uid(),
            seq=seq,
            start=0,
            end=len(text),
            tokens=len(text) // 4,
            text=text,
            terms=terms_for(text, title="", heading_path=()),
            vector_state=VectorState.EMBEDDED,
        )
        for seq, text in enumerate(texts)
    )
    ChunkVector.objects.bulk_create(
        ChunkVector(chunk=chunk, data=pack(vector))
        for chunk, vector in zip(chunks, vectors, strict=True)
    )
    Document.objects.filter(pk=document.pk).update(current=version, newest=version)


def _texts(sentences: Sequence[str], count: int, draw: random.Random) -> Iterator[str]:
    for _ in range(count):
        yield " ".join(draw.choice(sentences) for _ in range(SENTENCES))


def _vectors(real: Vectors, count: int, noise: np.random.Generator) -> Vectors:
    """Make vectors that lie among the real ones: a store is quick with clusters only."""
    first, second = noise.integers(len(real), size=(2, count))
    step = noise.normal(size=(count, real.shape[1])) / np.sqrt(real.shape[1])
    made = real[first] + NEARNESS * real[second] + NEARNESS * step
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    vectors: Vectors = made.astype(np.float32)
    return vectors
