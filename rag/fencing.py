"""The fence around quoted text in a prompt, and what keeps a text inside it (pure)."""

from __future__ import annotations

import hashlib
import hmac
import re

DELIMITER_LENGTH = 12
MEMORY = "memory"
SOURCES = "sources"

_LINE_ENDS = re.compile("\r\n?|[\x85\u2028\u2029]")
# Control characters but tab and line feed, and everything that shows as nothing: soft
# hyphens, joiners, marks of direction, fillers, variation selectors, tags, surrogates.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
# The second sign of a mark: without it there is none.
_MARK = re.compile(
    rf"(?<=[<\uff1c])[<\uff1c](?=\s*(?:{MEMORY}|{SOURCES}|end)\b)", re.IGNORECASE
)


def delimiter_of(secret: bytes | str, *parts: str) -> str:
    """Give the fence's delimiter: equal for equal parts, not to be guessed without the secret.

    Made of what a request is told apart by, the question and where it stands, so that
    every round of a tool loop has the same.
    """
    key = secret.encode() if isinstance(secret, str) else secret
    told = "".join(f"{len(part)}:{part}" for part in parts)
    digest = hmac.new(key, told.encode("utf-8", "replace"), hashlib.sha256)
    return digest.hexdigest()[:DELIMITER_LENGTH]


def fence(kind: str, text: str, *, delimiter: str) -> str:
    """Put the two marks around a text that `confine` or the caller has made safe.

    `kind` is MEMORY or SOURCES.
    """
    return f"<<{kind} {delimiter}>>\n{text}\n<<end {delimiter}>>"


def confine(text: str, *, delimiter: str) -> str:
    """Make a text unable to end a fence of any kind or to open one; never longer."""
    seen = re.sub(re.escape(delimiter), "-", sanitise(text), flags=re.IGNORECASE)
    return _MARK.sub("(", seen)


def sanitise(text: str) -> str:
    r"""Strip what cannot be seen; every kind of line end becomes a \n, tabs stay."""
    return _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
