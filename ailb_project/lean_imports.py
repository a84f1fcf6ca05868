"""Keeps libraries from loading what they merely offer, and no code of ours asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_if_missing(*packages: str) -> Iterator[None]:
    """Import within this as on a machine that does not have some packages.

    None in sys.modules makes an import raise ModuleNotFoundError, as the language
    reference says (5.3.1, the module cache); who tries an import and can go on without
    it does so. A package that is loaded already stays, and afterwards all can be
    imported again.
    """
    hidden = [name for name in packages if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # see above
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
