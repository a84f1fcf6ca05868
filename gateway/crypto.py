"""Encryption of provider credentials at rest, and digests of keys; fails closed."""

from __future__ import annotations

import base64
import hmac
import os
import re
import secrets
import string
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from typing_extensions import override

from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

MARK = "enc:v1:"  # how stored ciphertext begins
KEY_PREFIX = "ailb_"
PUBLIC_ID_LENGTH = 12
SECRET_LENGTH = 43  # base62 characters: 256 bits
CHECKSUM_LENGTH = 6
BASE62 = string.digits + string.ascii_letters
ENCRYPTION_KEY_BYTES = 32
_KEY = re.compile(rf"{KEY_PREFIX}([0-9A-Za-z]{{1,32}})_[0-9A-Za-z]+")


class SecretUnreadable(ConfigurationError):
    """Ciphertext that none of the encryption keys opens."""

    code = "credential_unreadable"


class Secret:
    """A text that shows itself only to who asks: `reveal()`.

    Holds either plain text or stored ciphertext; `str` and `repr` show neither.
    """

    __slots__ = ("_ciphertext", "_plain")

    def __init__(self, *, plain: str | None = None, ciphertext: str = "") -> None:
        """Give exactly one of the two."""
        self._plain = plain
        self._ciphertext = ciphertext

    @override
    def __repr__(self) -> str:
        """Show nothing but whether there is something."""
        return "Secret('***')" if self else "Secret('')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        """Say whether there is a secret at all."""
        return bool(self._plain or self._ciphertext)

    @override
    def __eq__(self, other: object) -> bool:
        """Equal when they hold the same thing in the same form."""
        if not isinstance(other, Secret):
            return NotImplemented
        return (self._plain, self._ciphertext) == (other._plain, other._ciphertext)

    @override
    def __hash__(self) -> int:
        """Agree with equality."""
        return hash((self._plain, self._ciphertext))

    def __copy__(self) -> Secret:
        """Give itself: it never changes."""
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        """Give itself: it never changes."""
        return self

    @override
    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a cache or queue would hold the plain text."""
        raise TypeError("A secret is not pickled.")

    def reveal(self, keys: Sequence[str]) -> str:
        """Give the plain text.

        Raises:
            SecretUnreadable: None of the keys opens the ciphertext.

        """
        if self._plain is not None:
            return self._plain
        return decrypt(self._ciphertext, keys) if self._ciphertext else ""

    def stored(self, keys: Sequence[str]) -> str:
        """Give the form that may be written: ciphertext, or empty for no secret."""
        if self._plain is None:
            return self._ciphertext
        return encrypt(self._plain, keys) if self._plain else ""


def check_encryption_keys(keys: Sequence[str]) -> None:
    """Look at keys as Fernet will.

    Raises:
        ConfigurationError: There is none, or one is not a Fernet key.

    """
    if not keys:
        raise ConfigurationError("AILB_ENCRYPTION_KEYS holds no key.")
    for key in keys:
        try:
            is_key = len(base64.urlsafe_b64decode(key)) == ENCRYPTION_KEY_BYTES
        except ValueError:
            is_key = False
        if not is_key:
            raise ConfigurationError(
                "AILB_ENCRYPTION_KEYS holds a value that is not a Fernet key "
                "(32 bytes, URL-safe base64)."
            )


@lru_cache(maxsize=8)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    # Here, as it takes 7 MiB, and most processes never open a secret.
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415

    check_encryption_keys(keys)
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(plain: str, keys: Sequence[str]) -> str:
    """Encrypt with the first key; the result begins with MARK."""
    return MARK + _cipher(tuple(keys)).encrypt(plain.encode()).decode()


def decrypt(ciphertext: str, keys: Sequence[str]) -> str:
    """Decrypt with whichever key opens it.

    Raises:
        SecretUnreadable: No key does. The ciphertext is never returned as if it were
            the secret.

    """
    if not ciphertext.startswith(MARK):
        raise SecretUnreadable("A stored secret is not in the expected form.")
    from cryptography.fernet import InvalidToken  # noqa: PLC0415  # as below

    try:
        token = ciphertext[len(MARK) :].encode()
        return _cipher(tuple(keys)).decrypt(token).decode()
    except InvalidToken as error:
        raise SecretUnreadable(
            "A stored secret cannot be read with the present AILB_ENCRYPTION_KEYS."
        ) from error


def new_encryption_key() -> str:
    """Make a Fernet key."""
    return base64.urlsafe_b64encode(os.urandom(ENCRYPTION_KEY_BYTES)).decode()


def checksum(text: str) -> str:
    """CRC-32 as six base62 characters: junk is refused without a look-up."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, remainder = divmod(number, len(BASE62))
        digits = BASE62[remainder] + digits
    return digits


def mint_api_key(*, public_id: str | None = None) -> str:
    """Make a virtual key: `ailb_<public id>_<secret><checksum>`.

    The secret has 256 random bits. A rotated key keeps its public id.
    """
    public_id = public_id or random_base62(PUBLIC_ID_LENGTH)
    head = f"{KEY_PREFIX}{public_id}_{random_base62(SECRET_LENGTH)}"
    return head + checksum(head)


def random_base62(length: int) -> str:
    """Draw base62 characters, each with nearly six random bits."""
    return "".join(secrets.choice(BASE62) for _ in range(length))


def is_junk(token: str) -> bool:
    """Say whether a token claims to be of our making and cannot be: its sum is wrong."""
    if not token.startswith(KEY_PREFIX):
        return False
    return checksum(token[:-CHECKSUM_LENGTH]) != token[-CHECKSUM_LENGTH:]


def public_id_of(token: str) -> str | None:
    """Read the public id off a key of our making; None for any other text."""
    found = _KEY.fullmatch(token)
    return None if found is None or is_junk(token) else found.group(1)


def new_pepper() -> str:
    """Make a secret to digest keys under: 256 random bits."""
    return secrets.token_urlsafe(32)


def digest(token: str, pepper: str) -> str:
    """HMAC-SHA-256 of a key under the pepper, in hex: what is stored of it."""
    mac = _keyed(pepper).copy()
    mac.update(token.encode())
    return mac.hexdigest()


@lru_cache(maxsize=8)
def _keyed(pepper: str) -> hmac.HMAC:
    """Prepare the pepper once: OpenSSL takes longer for it than for a key."""
    return hmac.new(pepper.encode(), digestmod="sha256")
