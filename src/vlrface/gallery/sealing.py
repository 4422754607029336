"""Encryption at rest: AES-256-GCM for each value, by the package `cryptography`; or none.

A sealed value is a nonce of 12 random bytes, the encrypted bytes and a tag of 16. What it is about (the column and the
person) is authenticated with it, so that a value moved to another person's row does not open. Keys for values and for
digests are derived from the given one (HKDF-SHA256), so that none is used for two things.
"""

import base64
import binascii
import hashlib
import hmac
import os
from typing import Final, Protocol, runtime_checkable

from vlrface.types import VlrfaceError

KEY_VARIABLE: Final = "VLRFACE_GALLERY_KEY"
"""Environment variable of the key: 64 hexadecimal digits, or 32 bytes in base64."""

_KEY_BYTES = 32
_NONCE_BYTES = 12
_DIGEST_BYTES = 16
_HOW = "make one with `openssl rand -hex 32`, and keep it: without it nobody can read the gallery"


@runtime_checkable
class Seal(Protocol):
    """How values are written to disk."""

    def close(self, value: bytes, about: bytes) -> bytes:
        """What is stored."""
        ...

    def open(self, stored: bytes, about: bytes) -> bytes:
        """The value again; VlrfaceError if it was changed, is about something else or the key is another."""
        ...

    def digest(self, value: bytes) -> bytes:
        """16 bytes that equal values share."""
        ...


class Plain:
    """No encryption."""

    def close(self, value: bytes, about: bytes) -> bytes:  # noqa: ARG002 (as Seal has it)
        """The value itself."""
        return value

    def open(self, stored: bytes, about: bytes) -> bytes:  # noqa: ARG002
        """The value itself."""
        return stored

    def digest(self, value: bytes) -> bytes:
        """BLAKE2b."""
        return hashlib.blake2b(value, digest_size=_DIGEST_BYTES).digest()


class AesGcm:
    """AES-256-GCM with a random nonce for each value."""

    def __init__(self, key: bytes) -> None:
        """Derive the keys.

        Args:
            key: 32 bytes.

        Raises:
            VlrfaceError: another number of bytes.
            ModuleNotFoundError: the package `cryptography` is missing.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        if len(key) != _KEY_BYTES:
            raise VlrfaceError(f"a gallery key has {_KEY_BYTES} bytes, not {len(key)}: {_HOW}")
        derived = HKDF(SHA256(), 2 * _KEY_BYTES, salt=None, info=b"vlrface gallery 1").derive(key)
        self._cipher = AESGCM(derived[:_KEY_BYTES])
        self._digest_key = derived[_KEY_BYTES:]

    def close(self, value: bytes, about: bytes) -> bytes:
        """Nonce, encrypted value and tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, about)

    def open(self, stored: bytes, about: bytes) -> bytes:
        """The value again."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], about)
        except (InvalidTag, ValueError) as error:
            raise VlrfaceError("an encrypted value does not open: another key, or the file was changed") from error

    def digest(self, value: bytes) -> bytes:
        """Keyed, so that a known face or name cannot be looked for without the key."""
        return hmac.digest(self._digest_key, value, "sha256")[:_DIGEST_BYTES]


def key_from_environment() -> bytes | None:
    """The key in `KEY_VARIABLE`; None if it is not set.

    Raises:
        VlrfaceError: it is no key.
    """
    text = os.environ.get(KEY_VARIABLE, "").strip()
    if not text:
        return None
    try:
        key = bytes.fromhex(text) if len(text) == 2 * _KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != _KEY_BYTES:
        raise VlrfaceError(f"{KEY_VARIABLE} is no key of 64 hexadecimal digits or 32 bytes in base64: {_HOW}")
    return key
