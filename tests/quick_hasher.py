"""The hash of the tests' own passwords: as in production, for a thousandth of the work."""

from __future__ import annotations

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class QuickHasher(PBKDF2PasswordHasher):
    """Real processes check what it made, and hash it again themselves."""

    iterations = 1_000
