"""Conversations over weeks, with questions and the turns that answer them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from string import Formatter

EPISODES = Path(__file__).with_name("conversations.txt")
BEGIN_S = int(datetime(2026, 3, 2, 8, tzinfo=UTC).timestamp())
DAY_S = 86_400
EPISODES_OF_A_SITTING = 10
TURNS_OF_A_CHATTER = 3  # about
_FIELDS = Formatter()

POOLS: Mapping[str, Sequence[str]] = {
    name: tuple(word.strip() for word in words.split(","))
    for name, words in {
        "person": "Marta, Oskar, Priya, Jonas, Leila, Tobias, Ines, Kwame, Greta, Rafael, "
        "Yuki, Hanna, Emil, Noor, Clara, Viktor, Amara, Felix",
        "city": "Porto, Krakow, Bergen, Lyon, Ghent, Trieste, Graz, Malmo, Seville, "
        "Tartu, Basel, Cork",
        "company": "Nordlicht, Halden Foods, Brightwater, Quarry Street, Lumen Rail, "
        "Ostara, Pinehill, Veridian",
        "hobby": "pottery, climbing, chess, gardening, knitting, rowing, astronomy, "
        "baking, photography",
        "thing": "drill, tent, sewing machine, projector, ladder, cello case, bread tin, "
        "suitcase, telescope",
        "animal": "greyhound, tabby cat, parrot, rabbit, tortoise, beagle, hedgehog, "
        "cockatoo",
        "petname": "Biscuit, Juniper, Captain, Pepper, Mango, Socks, Thimble, Waffle",
        "cuisine": "Lebanese, Korean, Peruvian, Georgian, Greek, Vietnamese, Ethiopian",
        "joint": "hip, knee, shoulder, wrist, ankle, elbow",
        "project": "Heron, Basalt, Lantern, Meridian, Copper, Tundra, Sparrow, Anvil, "
        "Orchard",
        "part": "importer, login page, scheduler, payment step, search field, mail queue",
        "database": "PostgreSQL, MariaDB, SQLite, Cassandra, DuckDB, MongoDB",
        "place": "gym, library, station, sauna, studio, harbour, theatre, workshop",
        "book": "The Salt Road, Winter Ledger, A Quiet Engine, Glass Harbour, Nine Bells, "
        "The Orchard Keeper, Paper Tigers, Low Tide",
        "nut": "cashews, hazelnuts, prawns, walnuts, sesame sauce",
        "small": "three, four, five, six",
        "street": "Tanner's Row, Mill Lane, Chapel Hill, Rope Walk, Station Parade",
        "department": "logistics, research, billing, support, design",
        "tea": "rooibos, peppermint tea, oolong, fennel tea",
        "instrument": "accordion, harp, viola, clarinet, zither",
        "island": "Corsica, Gotland, Crete, Bornholm, Sardinia",
        "weekday": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday",
        "month": "January, April, May, July, August, October, November",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn: who said what, and when (unix time; 0 where nobody knows)."""

    speaker: str
    text: str
    at_s: int = 0

    @property
    def unit(self) -> str:
        """Give what is embedded and indexed."""
        return f"{self.speaker}: {self.text}"


class Wording(StrEnum):
    """How near the words of a question are to those of the turn that answers it."""

    OWN = "own words"
    NEIGHBOUR = "words of the turn before"
    OTHER = "other words"


MARKS = {"! ": Wording.OWN, "^ ": Wording.NEIGHBOUR, "? ": Wording.OTHER}


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the positions of all turns that answer it.

    `kind` is a Wording, or what a public set calls its own kinds.
    """

    text: str
    evidence: frozenset[int]
    kind: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """All turns in their order, over all sittings, and what is asked about them."""

    name: str
    turns: tuple[Utterance, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """A question about the line (from 0) that answers it."""

    line: int
    text: str
    wording: Wording


@dataclass(frozen=True, slots=True)
class Episode:
    """Lines by user and assistant in turn, and what can be asked about them."""

    lines: tuple[str, ...]
    asks: tuple[Ask, ...]

    @property
    def keys(self) -> list[str]:
        """Name the slots that questions tell it apart by, each once."""
        return list(dict.fromkeys(_slots("".join(ask.text for ask in self.asks))))


def generate(seed: int, *, often: int, turns: int) -> Conversation:
    """Make one up: the same at every call with the same arguments.

    Each episode that may come often comes `often` times; idle talk fills it up to about
    `turns` turns, and where there is less room for it than that, to what there is.
    """
    draw = random.Random(seed)  # noqa: S311 - words, no secrets
    kinds = read_episodes()
    chosen = [_fill(episode, _drawn(episode, draw)) for episode in kinds["once"]]
    for episode in kinds["often"]:
        chosen += _told_apart(episode, often, draw)
    room = turns - sum(len(episode.lines) + 1 for episode in chosen)
    chatter = [draw.choice(kinds["chatter"]) for _ in range(room // TURNS_OF_A_CHATTER)]
    chosen += [_fill(episode, _drawn(episode, draw)) for episode in chatter]
    draw.shuffle(chosen)
    replies = [episode.lines[0] for episode in kinds["replies"]]
    return _told(f"generated {seed}", chosen, replies, draw)


def read_episodes() -> dict[str, list[Episode]]:
    """Read what conversations are made of, by its kind."""
    kinds: dict[str, list[Episode]] = {}
    kind = ""
    for block in EPISODES.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if line[:1] != "#"]
        if lines and lines[0].startswith("= "):
            kind = lines[0][2:]
            kinds[kind] = []
        elif lines:
            kinds[kind].append(_episode(lines))
    return kinds


def _episode(lines: Sequence[str]) -> Episode:
    said: list[str] = []
    asks = []
    for line in lines:
        if wording := MARKS.get(line[:2]):
            asks.append(Ask(len(said) - 1, line[2:], wording))
        else:
            said.append(line)
    return Episode(tuple(said), tuple(asks))


def _told_apart(episode: Episode, times: int, draw: random.Random) -> Iterator[Episode]:
    """Repeat it, each time with other keys: one question has one answer."""
    keys = {name: draw.sample(POOLS[name], times) for name in episode.keys}
    for number in range(times):
        own = {name: words[number] for name, words in keys.items()}
        yield _fill(episode, {**_drawn(episode, draw), **own})


def _drawn(episode: Episode, draw: random.Random) -> dict[str, str]:
    return {name: _word(name, draw) for name in _slots("".join(episode.lines))}


def _word(slot: str, draw: random.Random) -> str:
    match slot:
        case "date":
            return f"{draw.randrange(1, 29)} {draw.choice(POOLS['month'])}"
        case "clock":
            return f"{draw.randrange(7, 22)}:{draw.choice(('05', '15', '30', '45'))}"
        case "amount":
            return f"{draw.randrange(11, 90) * 100:,} euros"
        case "number":
            return str(draw.randrange(12, 480))
        case "flight":
            return f"{draw.choice(('LX', 'TP', 'SK', 'EI'))} {draw.randrange(200, 999)}"
        case _:
            return draw.choice(POOLS[slot])


def _slots(text: str) -> list[str]:
    return [name for _, name, _, _ in _FIELDS.parse(text) if name]


def _fill(episode: Episode, words: Mapping[str, str]) -> Episode:
    return Episode(
        tuple(line.format_map(words) for line in episode.lines),
        tuple(replace(ask, text=ask.text.format_map(words)) for ask in episode.asks),
    )


def _told(
    name: str, episodes: Sequence[Episode], replies: Sequence[str], draw: random.Random
) -> Conversation:
    """Put the episodes behind each other, a few a sitting, days between two of those."""
    turns: list[Utterance] = []
    questions = []
    at_s = BEGIN_S
    for number, episode in enumerate(episodes):
        if number and number % EPISODES_OF_A_SITTING == 0:
            at_s += draw.randrange(1, 6) * DAY_S
        begin = len(turns)
        questions += [
            Question(ask.text, frozenset({begin + ask.line}), ask.wording)
            for ask in episode.asks
        ]
        ending = [draw.choice(replies)] if len(episode.lines) % 2 else []
        for line, text in enumerate([*episode.lines, *ending]):
            at_s += draw.randrange(10, 90)
            turns.append(Utterance(("user", "assistant")[line % 2], text, at_s))
    return Conversation(name, tuple(turns), tuple(questions))
