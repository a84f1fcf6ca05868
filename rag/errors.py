"""What can be away of embeddings and vectors; each text says how to mend it."""

from __future__ import annotations


class EmbedderUnavailable(Exception):
    """There is no embedder, or it gave no answer.

    The text is one plain sentence that says what is wrong and how to mend it.
    """


class VectorStoreUnavailable(Exception):
    """The vector store does not answer.

    The text is one plain sentence that says what is wrong and how to mend it.
    """


class DocumentRefused(Exception):
    """A document is not taken, and never will be as it is.

    `code` is one of `too_large`, `too_many_pages`, `too_much_text`, `encrypted`,
    `unsupported_type`, `corrupt`, `zip_bomb`, `no_text`, `timed_out` and `out_of_memory`.
    The text is one plain sentence for the person who brought the document.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class ParserUnavailable(Exception):
    """Documents cannot be parsed at the moment, whatever is in them.

    The text is one plain sentence that says what is wrong and how to mend it.
    """
