"""Whatever a client does to its history, the session follows."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, strategies as st

from tests.memory.conversation import (
    Message,
    Session,
    assistant,
    call,
    laid,
    planned,
    result,
    said,
    stored_turns,
    user,
)


class Client:
    """A client that keeps its history, and sends all of it, or only what is new."""

    def __init__(self, *, sends_history: bool) -> None:
        self.sends_history = sends_history
        self.session = Session()
        self.view: list[Message] = []
        self.count = 0

    def fresh(self, make: Callable[[str], Message]) -> Message:
        self.count += 1
        return make(f"number {self.count}")

    def request(
        self,
        *,
        answer: Message | None,
        is_retry: bool = False,
        is_partial: bool = False,
    ) -> None:
        """Send the view, have it answered, and read the answer."""
        questions = [n for n, m in enumerate(self.view) if m["role"] == "user"]
        sent = self.view if self.sends_history else self.view[questions[-1] :]
        self.count += 1
        name = f"r-{self.count}"
        done = planned(
            self.session.active,
            sent,
            answer,
            request_id=name,
            is_retry=is_retry,
            is_partial=is_partial,
        )
        self.session.execute(done, request_id=name, is_partial=is_partial)
        if answer:
            self.view = [*self.view, answer]

    def say(self, *, rounds: int = 0, is_partial: bool = False) -> None:
        self.view = [*self.view, self.fresh(user)]
        for _ in range(rounds):
            self.request(answer=self.fresh(lambda text: call(f'{{"q": "{text}"}}')))
            self.view = [*self.view, self.fresh(result)]
        self.request(answer=self.fresh(assistant), is_partial=is_partial)

    def repeat(self, *, has_sign: bool) -> None:
        """Ask the last question again; without a sign of it only the history tells."""
        if not self.view or not (has_sign or (self.sends_history and self.last > 0)):
            return
        self.view = self.view[: self.last + 1]
        self.request(answer=self.fresh(assistant), is_retry=has_sign)

    def edit(self, back: int) -> None:
        """Put another question in place of one before, but the very first."""
        questions = [n for n, m in enumerate(self.view) if m["role"] == "user"][1:]
        if not questions or not self.sends_history:
            return
        self.view = self.view[: questions[-1 - back % len(questions)]]
        self.say()

    def fail(self) -> None:
        """Ask, be answered and not learn of it; then ask once more."""
        self.say()
        self.view = self.view[:-1]
        self.request(answer=self.fresh(assistant), is_retry=True)

    @property
    def last(self) -> int:
        return max(n for n, m in enumerate(self.view) if m["role"] == "user")


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("say"),
            st.fixed_dictionaries(
                {"rounds": st.integers(0, 2), "is_partial": st.booleans()}
            ),
        ),
        st.tuples(
            st.just("repeat"), st.fixed_dictionaries({"has_sign": st.booleans()})
        ),
        st.tuples(st.just("edit"), st.fixed_dictionaries({"back": st.integers(0, 5)})),
        st.tuples(st.just("fail"), st.just({})),
    ),
    max_size=10,
)


@given(STEPS, st.booleans())
def test_what_is_kept_is_always_what_the_client_has(steps, sends_history):
    client = Client(sends_history=sends_history)
    for name, options in steps:
        getattr(client, name)(**options)
        kept = [turn.content_hash for turn in client.session.active]
        assert kept == [said(message).content_hash for message in client.view]
    everything = [turn.content_hash for turn in client.session.turns]
    assert len(everything) == len(set(everything))


WORDS = st.sampled_from(
    [
        user("yes"),
        user("no"),
        assistant("ok"),
        assistant("well"),
        call("{}"),
        result("r"),
    ]
)


@given(
    st.lists(WORDS, max_size=8),
    st.lists(WORDS, max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_whatever_comes_the_plan_can_be_executed(stored, sent, is_retry, is_partial):
    turns = stored_turns(stored)
    found = planned(
        turns, sent, assistant("a1"), is_retry=is_retry, is_partial=is_partial
    )
    lies = laid(turns, sent, is_retry=is_retry)
    assert found.supersede <= {turn.seq for turn in turns}
    assert len(found.new) <= len(sent) + 1
    assert lies.last_before <= len(turns)
    again = Session()
    again.turns = list(turns)
    again.execute(found, request_id="r-2", is_partial=is_partial)
    if sent and sent[-1]["role"] == "user" and found.has_answer:
        assert [turn.role for turn in again.active[-2:]] == ["user", "assistant"]
        assert again.active[-2].content_hash == said(sent[-1]).content_hash
