"""How much may be added to a chat: by documents, and by what its session remembers (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.routing.needs import EXPECTED_OUTPUT_TOKENS, Needs
from gateway.snapshot import Model
from memory.config import CONTEXT_SHARE

WINDOW_MARGIN = 0.05  # of a context window, because tokens are estimated
DOCUMENTS_SHARE = 0.5  # of what is left of it


@dataclass(frozen=True, slots=True)
class Room:
    """Tokens that may be added, each None where no context window is known."""

    documents: int | None
    memory: int | None


def room_of(model: Model, needs: Needs, *, wants_documents: bool) -> Room:
    """Share out what is left of the smallest context window that takes the prompt.

    Documents may take half of it. Memory has its share of the window, as far as that is
    left beside the documents.
    """
    windows = [
        deployment.context_window
        for deployment in model.deployments
        if deployment.context_window is not None
        and deployment.capabilities.chat is not False
    ]
    if not windows:
        return Room(None, None)
    output_tokens = needs.max_tokens or EXPECTED_OUTPUT_TOKENS
    taken = needs.prompt_tokens + output_tokens
    left = {window: int(window * (1 - WINDOW_MARGIN)) - taken for window in windows}
    fitting = [window for window in windows if left[window] > 0]
    window = min(fitting or windows)
    free = max(left[window], 0)
    documents = int(free * DOCUMENTS_SHARE) if wants_documents else 0
    return Room(documents, min(free - documents, int(window * CONTEXT_SHARE)))
