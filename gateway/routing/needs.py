"""What a request needs of a deployment before it is worth a try (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.kinds import Operation

EXPECTED_OUTPUT_TOKENS = 256  # of each choice, when the client did not say


@dataclass(frozen=True, slots=True)
class Needs:
    """What decides whether a deployment can serve a request.

    `capabilities` are field names of `gateway.snapshot.Capabilities` that must not be
    False: only those that no dialect may drop or emulate. `prompt_tokens` is an
    estimate (a token for every four characters of text, media not counted), good for
    comparing with a context window and for nothing that is billed. `max_tokens` is the
    longest answer the client accepts, None when it did not say; `choices` how many
    answers it wants.
    """

    operation: Operation
    capabilities: frozenset[str] = frozenset()
    prompt_tokens: int = 0
    max_tokens: int | None = None
    choices: int = 1

    @property
    def output_tokens(self) -> int:
        """Tokens of output to reckon with before there is any."""
        if self.operation is not Operation.CHAT:
            return 0
        return (self.max_tokens or EXPECTED_OUTPUT_TOKENS) * self.choices
