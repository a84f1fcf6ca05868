"""Embeddings and vectors, and what is built on them: document collections."""
