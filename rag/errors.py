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
