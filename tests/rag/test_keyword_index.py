"""The keyword index finds chunks by their words, the best first, on either database."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from rag import keyword_index
from rag.keyword_index import keyword_scores, optimize, rebuild
from rag.keyword_terms import MAX_QUERY_TERMS, MAX_TERM, query_terms, terms_for
from rag.models import Chunk, Document
from tests.postgresql import migrated_database
from tests.rag.keyword_scenes import make_chunks, make_index, make_version, run_sql

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aiou" for c in "lmnrtxzbdfgkpvhq"]


@pytest.fixture(scope="module")
def postgresql(
    postgresql_template: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Make a migrated database of our own, under the alias it gives."""
    with (
        django_db_blocker.unblock(),
        migrated_database(postgresql_template) as alias,
    ):
        yield alias


@pytest.fixture(
    params=[pytest.param("sqlite", marks=pytest.mark.django_db), "postgresql"]
)
def using(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Give the alias of a migrated database; PostgreSQL's is not rolled back."""
    if request.param == "sqlite":
        yield "default"
    else:
        alias = request.getfixturevalue("postgresql")
        with django_db_blocker.unblock():
            yield alias


def found(using: str, index: int, query: str, limit: int = 30) -> list[int]:
    return list(keyword_scores([index], query, limit=limit, using=using))


def test_the_chunk_that_has_more_and_rarer_words_is_first(using: str) -> None:
    index = make_index(using)
    rows = make_chunks(
        index,
        [
            "leave for parents",
            "leave of an office",
            "leave the house",
            "a zebra grazes",
        ],
    )
    scores = keyword_scores([index.pk], "parental parents' leave", limit=9, using=using)
    assert next(iter(scores)) == rows[0].pk
    assert set(scores) == {row.pk for row in rows[:3]}
    assert all(score > 0 for score in scores.values())
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


def test_scores_are_those_of_bm25(using: str) -> None:
    index = make_index(using)
    make_chunks(
        make_index(using), ["leave leave"] * 9
    )  # another index counts for nothing
    texts = ["leave leave leave office", "leave", "office hours are long in the summer"]
    rows = make_chunks(index, texts)
    got = keyword_scores([index.pk], "leave office", limit=9, using=using)
    tokens = [Counter(terms_for(t, title="", heading_path=()).split()) for t in texts]
    usual = sum(sum(each.values()) for each in tokens) / len(tokens)
    for row, each in zip(rows, tokens, strict=True):
        length = 0.25 + 0.75 * sum(each.values()) / usual
        expected = sum(
            math.log(1 + (3 - 2 + 0.5) / (2 + 0.5)) * n * 2.2 / (n + 1.2 * length)
            for n in (each["leav"], each["offic"])
        )
        assert got[row.pk] == pytest.approx(expected)


def test_only_as_many_as_are_wanted_are_given(using: str) -> None:
    index = make_index(using)
    rows = make_chunks(index, [f"leave {'x ' * n}" for n in range(5)])
    assert found(using, index.pk, "leave", limit=2) == [rows[0].pk, rows[1].pk]
    assert found(using, index.pk, "leave", limit=0) == []


@pytest.mark.parametrize(
    "query",
    ["", "who are you", "?!", "unheard", '"', "* NEAR ( OR ) -^:{}", "terms:leave OR"],
)
def test_a_query_without_a_known_word_finds_nothing(using: str, query: str) -> None:
    index = make_index(using)
    make_chunks(index, ["parental office"])
    assert keyword_scores([index.pk], query, limit=9, using=using) == {}


@pytest.mark.parametrize(
    "query",
    [
        'leave"',
        'leave" OR "office',
        "leave* NOT leave",
        "{terms} : leave",
        "leave\x00'",
    ],
)
def test_nothing_in_a_query_is_syntax(using: str, query: str) -> None:
    index = make_index(using)
    (row, _) = make_chunks(index, ["leave", "something else"])
    assert row.pk in found(using, index.pk, query)


def test_words_of_any_script_are_found(using: str) -> None:
    index = make_index(using)
    texts = [
        "Grüße aus Zürich",
        "नमस्ते दुनिया",
        "私は猫が好き",
        "Σίσυφος ΟΔΟΣ",
        "ﬁn'al o'clock",
    ]
    rows = make_chunks(index, texts)
    queries = ["zürich", "नमस्ते", "猫が", "οδος", "O\u2019Clock"]
    for row, query in zip(rows, queries, strict=True):
        assert found(using, index.pk, query) == [row.pk]


def test_a_word_of_any_length_is_found(using: str) -> None:
    index = make_index(using)
    (row,) = make_chunks(index, ["z" * 100_000 + " short"])
    assert found(using, index.pk, "z" * 90_000) == [row.pk]
    assert max(map(len, row.terms.split())) == MAX_TERM


def test_a_query_of_any_length_is_answered(using: str) -> None:
    index = make_index(using)
    rows = make_chunks(index, WORDS)
    assert len(query_terms(" ".join(WORDS))) == MAX_QUERY_TERMS
    assert rows[0].pk in found(using, index.pk, " ".join(WORDS) * 20)


def test_the_title_and_the_headings_are_found_as_the_text_is() -> None:
    terms = terms_for(
        "Fourteen weeks.", title="Handbook", heading_path=("Leave", "Long")
    )
    assert terms.split(" ") == ["handbook", "leav", "long", "fourteen", "week"]
    assert terms_for("?", title="", heading_path=()) == ""


def test_only_the_version_that_is_found_is_found(using: str) -> None:
    index = make_index(using)
    old = make_version(index)
    (row,) = make_chunks(index, ["leave"], version=old)
    make_chunks(index, ["leave"], version=make_version(index, is_current=False))
    assert found(using, index.pk, "leave") == [row.pk]
    Document.objects.using(using).filter(pk=old.document_id).update(current=None)
    assert found(using, index.pk, "leave") == []


def test_only_the_indexes_that_are_asked_answer(using: str) -> None:
    one, two, three = (make_index(using) for _ in range(3))
    (a,), (b,), _ = (make_chunks(index, ["leave"]) for index in (one, two, three))
    assert found(using, one.pk, "leave") == [a.pk]
    scores = keyword_scores([one.pk, two.pk, two.pk], "leave", limit=9, using=using)
    assert set(scores) == {a.pk, b.pk}
    assert keyword_scores([], "leave", limit=9, using=using) == {}
    assert keyword_scores([0], "leave", limit=9, using=using) == {}


@pytest.mark.parametrize("few", [keyword_index.FEW, 0])
def test_only_the_documents_that_are_meant_answer(
    using: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyword_index, "FEW", few)
    index = make_index(using)
    make_chunks(index, ["leave leave"] * 20)
    version = make_version(index)
    (row,) = make_chunks(index, ["leave and much more of it"], version=version)
    for documents, expected in [
        ([version.document_id], [row.pk]),
        ([], []),
        ([0], []),
    ]:
        scores = keyword_scores(
            [index.pk], "leave", limit=3, document_pks=documents, using=using
        )
        assert list(scores) == expected


def test_what_changes_is_found_as_it_is_now(using: str) -> None:
    index, other = make_index(using), make_index(using)
    (row, _) = make_chunks(index, ["old word", "old stays"])
    chunk = Chunk.objects.using(using).filter(pk=row.pk)
    chunk.update(terms="new word")
    assert found(using, index.pk, "new") == [row.pk]
    assert found(using, index.pk, "word") == [row.pk]
    assert row.pk not in found(using, index.pk, "old")
    chunk.update(terms="")
    assert found(using, index.pk, "new word") == []
    chunk.update(terms="new", index=other)
    assert found(using, other.pk, "new") == [row.pk]
    chunk.delete()
    assert found(using, other.pk, "new") == []


def test_a_rebuilt_index_finds_the_same(using: str) -> None:
    index = make_index(using)
    rows = make_chunks(index, ["leave office", "leave", "?"])
    rows[1].delete()
    before = keyword_scores([index.pk], "leave", limit=9, using=using)
    assert list(before) == [rows[0].pk]
    run_sql(using, "DELETE FROM rag_indexsize")
    assert found(using, index.pk, "leave") == []
    rebuild(using=using)
    assert keyword_scores([index.pk], "leave", limit=9, using=using) == before
    Chunk.objects.using(using).all().delete()
    assert found(using, index.pk, "leave") == []


def test_an_optimized_index_finds_the_same(using: str) -> None:
    index = make_index(using)
    rows = make_chunks(index, ["leave office", "leave", "leave soon"])
    assert optimize(using=using)
    rows[1].delete()
    assert optimize(using=using)
    assert set(found(using, index.pk, "leave")) == {rows[0].pk, rows[2].pk}


def test_the_ten_best_are_those_of_a_full_reading(using: str) -> None:
    """Of words as common as in real texts, in more chunks than are ever ranked."""
    draw, index = random.Random(5), make_index(using)  # noqa: S311 - texts, no secrets
    shares = [1 / (rank + 3) for rank in range(len(WORDS))]
    texts = [
        " ".join(draw.choices(WORDS, shares, k=draw.randint(10, 60)))
        for _ in range(2_500)
    ]
    rows = make_chunks(index, texts)
    counts = [Counter(row.terms.split()) for row in rows]
    usual = sum(sum(each.values()) for each in counts) / len(counts)
    frequencies = Counter(term for each in counts for term in each)

    def full(terms: list[str]) -> list[float]:
        worth = {
            t: math.log(1 + (len(rows) - frequencies[t] + 0.5) / (frequencies[t] + 0.5))
            for t in terms
        }
        return [
            sum(
                worth[t]
                * each[t]
                * 2.2
                / (each[t] + 1.2 * (0.25 + 0.75 * sum(each.values()) / usual))
                for t in terms
            )
            for each in counts
        ]

    kept, positions = 0, {row.pk: place for place, row in enumerate(rows)}
    for _ in range(12):
        query = " ".join(draw.choices(WORDS, shares, k=8))
        scores = full(query_terms(query))
        tenth = sorted(scores, reverse=True)[9]
        best = found(using, index.pk, query, limit=10)
        kept += sum(scores[positions[pk]] >= tenth - 1e-9 for pk in best)
    assert kept >= 0.9 * 120
