"""Encryption at rest fails closed and shows nothing; keys are checked without a look-up."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest
from hypothesis import given, strategies as st

from gateway.crypto import (
    MARK,
    Secret,
    SecretUnreadable,
    checksum,
    decrypt,
    digest,
    encrypt,
    mint_api_key,
    new_encryption_key,
)
from gateway.errors import ConfigurationError

OLD, NEW = new_encryption_key(), new_encryption_key()
CANARY = "sk-canary-8d2f"


@given(st.text(min_size=1))
def test_what_was_encrypted_comes_back(text: str) -> None:
    stored = encrypt(text, [OLD])
    assert stored.startswith(MARK)
    assert decrypt(stored, [OLD]) == text


def test_ciphertext_does_not_hold_the_text_and_differs_each_time() -> None:
    first, second = encrypt(CANARY, [OLD]), encrypt(CANARY, [OLD])
    assert CANARY not in first
    assert first != second


def test_the_first_key_encrypts_and_every_key_decrypts() -> None:
    stored = encrypt(CANARY, [OLD])
    assert decrypt(stored, [NEW, OLD]) == CANARY
    rotated = encrypt(CANARY, [NEW, OLD])
    assert decrypt(rotated, [NEW]) == CANARY
    with pytest.raises(SecretUnreadable):
        decrypt(rotated, [OLD])


@pytest.mark.parametrize(
    "stored", ["", CANARY, "enc:v1:", "enc:v1:" + CANARY, "enc:v2:x"]
)
def test_what_no_key_opens_fails_closed(stored: str) -> None:
    with pytest.raises(SecretUnreadable) as caught:
        decrypt(stored, [OLD])
    assert CANARY not in str(caught.value)


@given(st.data())
def test_a_changed_ciphertext_is_never_read(data: st.DataObject) -> None:
    stored = encrypt(CANARY, [OLD])
    # The last characters hold bits that base64 ignores.
    position = data.draw(st.integers(len(MARK), len(stored) - 5))
    changed = (
        stored[:position]
        + ("A" if stored[position] != "A" else "B")
        + stored[position + 1 :]
    )
    with pytest.raises(SecretUnreadable):
        decrypt(changed, [OLD])


@pytest.mark.parametrize("keys", [[], ["short"], [OLD, "not base64 at all"]])
def test_bad_keys_are_a_configuration_error_that_does_not_repeat_them(
    keys: list[str],
) -> None:
    with pytest.raises(ConfigurationError, match="AILB_ENCRYPTION_KEYS") as caught:
        encrypt(CANARY, keys)
    assert "short" not in str(caught.value)


@pytest.mark.parametrize(
    "secret", [Secret(plain=CANARY), Secret(ciphertext=encrypt(CANARY, [OLD]))]
)
def test_a_secret_shows_itself_only_to_who_asks(secret: Secret) -> None:
    assert bool(secret)
    assert secret.reveal([OLD]) == CANARY
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}", "%s" % secret):  # noqa: UP031 - old ways, too
        assert text.strip("[]") == "Secret('***')"


def test_an_empty_secret_is_stored_as_nothing() -> None:
    for empty in (Secret(plain=""), Secret()):
        assert not empty
        assert empty.stored([OLD]) == ""
        assert empty.reveal([OLD]) == ""


def test_stored_ciphertext_is_kept_as_it_is() -> None:
    stored = encrypt(CANARY, [OLD])
    assert Secret(ciphertext=stored).stored([]) == stored


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret(plain="a") == Secret(plain="a") != Secret(plain="b")
    assert len({Secret(plain="a"), Secret(plain="a")}) == 1
    assert Secret(plain="a") != "a"


def test_a_traceback_does_not_show_the_secret() -> None:
    with pytest.raises(SecretUnreadable) as caught:
        Secret(ciphertext="enc:v1:" + "x" * 40).reveal([OLD])
    shown = "".join(traceback.format_exception(caught.value))
    assert "x" * 40 not in shown


def test_pickling_a_secret_does_not_happen_unseen() -> None:
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(Secret(plain=CANARY))


def test_a_minted_key_has_its_parts_and_its_checksum() -> None:
    key = mint_api_key()
    prefix, public_id, rest = key.split("_")
    assert (prefix, len(public_id), len(rest)) == ("ailb", 12, 49)
    assert checksum(key[:-6]) == key[-6:]
    assert len({mint_api_key() for _ in range(100)}) == 100


@given(st.text())
def test_a_checksum_is_six_letters_or_digits(text: str) -> None:
    assert len(checksum(text)) == 6
    assert checksum(text).isalnum()


def test_a_digest_depends_on_key_and_pepper_and_shows_neither() -> None:
    assert digest("key", "pepper") == digest("key", "pepper")
    assert (
        len({digest("key", "pepper"), digest("kez", "pepper"), digest("key", "peppes")})
        == 3
    )
    assert len(digest("key", "pepper")) == 64


def test_a_secret_may_be_copied_with_the_row_that_holds_it() -> None:
    secret = Secret(plain=CANARY)
    assert copy.deepcopy([secret]) == [secret] == [copy.copy(secret)]
