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


class CollectionNotFound(Exception):
    """There is no such collection for whoever asks, or it may not be read: never which."""


class DocumentNotFound(Exception):
    """The collection has no such document."""


class FileNotKept(Exception):
    """The tenant has no such file."""


class DocumentNotReady(Exception):
    """What was asked for is not there before the document has been parsed."""


class NameTaken(Exception):
    """The tenant has a collection of this name, or everybody reads one of it."""


class InvalidField(Exception):
    """What was sent cannot be taken; `param` names the field at fault."""

    def __init__(self, message: str, param: str) -> None:
        """`message` is one sentence for the caller."""
        super().__init__(message)
        self.message = message
        self.param = param
