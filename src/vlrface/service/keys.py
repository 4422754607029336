"""API keys: who may ask, and what.

A key is `vlrf_ID_SECRET` with 256 random bits of secret. The file keeps SHA-256 of the whole key. A slow hash (scrypt)
is made for passwords, of which there are few enough to try; 2²⁵⁶ secrets cannot be tried at any speed, and a slow hash
on every request would be a way to keep the service busy.
"""

import hashlib
import hmac
import json
import os
import secrets
import stat
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from vlrface.files import cannot_write, written_atomically
from vlrface.locks import InUseError, locked
from vlrface.types import VlrfaceError

Role = Literal["read", "enrol", "admin"]
"""What a key may do: read answers; also enrol; also remove and read the audit."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
_PREFIX = "vlrf"
_VERSION = 1
_LOOK_AGAIN_S = 1.0
_LONGEST_NAME = 80
_WAIT_S = 10.0


@dataclass(frozen=True)
class Key:
    """What is kept of a key.

    Attributes:
        id: names it, in logs and the audit too.
        name: whose it is, for people.
        role: what it may do.
        sha256: of the whole key, hexadecimal.
        created: UTC, ISO 8601.
        revoked: the same; None while it is good.
    """

    id: str
    name: str
    role: Role
    sha256: str
    created: str
    revoked: str | None = None

    @property
    def actor(self) -> str:
        """How the audit calls whoever has it."""
        return f"{self.name} ({self.id})" if self.name else self.id

    def may(self, role: Role) -> bool:
        """Whether the role is within this key's."""
        return ROLES.index(self.role) >= ROLES.index(role)


def create_key(path: Path, role: Role, name: str = "") -> str:
    """Make a key and add it to the file, which is made if there is none, readable by its owner alone.

    Returns:
        The key. It is kept nowhere and cannot be shown again.

    Raises:
        VlrfaceError: the name is too long or has control characters, the file is no file of keys, or others do not
            stop changing it.
        OSError: it cannot be written.
    """
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise VlrfaceError(f"a key's name has at most {_LONGEST_NAME} printable characters")
    with _changing(path):
        known = read_keys(path) if path.exists() else ()
        identity = secrets.token_hex(4)
        while any(key.id == identity for key in known):
            identity = secrets.token_hex(4)
        text = f"{_PREFIX}_{identity}_{secrets.token_urlsafe(32)}"
        _write(path, (*known, Key(identity, name, role, _digest(text), _now())))
    return text


def revoke_key(path: Path, identity: str) -> Key:
    """Make a key worthless; a running service knows within a second.

    Raises:
        VlrfaceError: no such key, one that is revoked already, no file of keys, or others do not stop changing it.
        OSError: it cannot be written.
    """
    read_keys(path)  # before a lock is left beside a file that is none
    with _changing(path):
        known = read_keys(path)
        found = next((key for key in known if key.id == identity), None)
        if found is None:
            raise VlrfaceError(f"{path}: no key {identity!r}. `vlrface keys list {path}` shows them")
        if found.revoked:
            raise VlrfaceError(f"{path}: the key {identity} was revoked already, {found.revoked}")
        gone = replace(found, revoked=_now())
        _write(path, tuple(gone if key is found else key for key in known))
    return gone


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys in a file, revoked ones too, in the order in which they were made.

    Raises:
        VlrfaceError: no such file, or no file of keys.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VlrfaceError(
            f"{path}: cannot be read ({error.strerror}). Make one with `vlrface keys create {path} --role admin`"
        ) from error
    except ValueError as error:
        raise VlrfaceError(f"{path}: not a file of keys ({error}). Restore it, or make another") from error
    if not isinstance(values, dict) or values.get("version") != _VERSION or not isinstance(values.get("keys"), list):
        raise VlrfaceError(f"{path}: not a file of keys of version {_VERSION}. Restore it, or make another")
    keys = tuple(_key(path, value) for value in values["keys"])
    if len({key.id for key in keys}) < len(keys):
        raise VlrfaceError(f"{path}: two keys have the same id. Restore it, or make another")
    return keys


class KeyRing:
    """The keys of a file, read again when it changes. An unreadable file opens to nobody."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            VlrfaceError: as `read_keys`, or it holds no good key.
        """
        self._path = path
        self._keys = {key.id: key for key in read_keys(path)}
        self._state = _state(path)
        self._looked = time.monotonic()
        self.fault = ""
        if all(key.revoked for key in self._keys.values()):
            raise VlrfaceError(f"{path}: holds no good key. Make one with `vlrface keys create {path} --role admin`")

    def find(self, presented: str) -> Key | None:
        """The good key that was presented; None if there is none."""
        self._refresh()
        parts = presented.split("_", 2)
        known = self._keys.get(parts[1]) if len(parts) == 3 else None
        # Compared in constant time, and also where nothing is known: an id is not secret, but costs nothing to hide.
        equal = hmac.compare_digest(_digest(presented), known.sha256 if known else "0" * 64)
        return known if known and equal and not known.revoked else None

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_AGAIN_S:
            return
        self._looked = now
        state = _state(self._path)
        if state == self._state:
            return
        try:
            self._keys = {key.id: key for key in read_keys(self._path)}
            self._state, self.fault = state, ""
        except VlrfaceError as error:
            self._keys, self._state, self.fault = {}, None, str(error)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _key(path: Path, value: Any) -> Key:
    wrong = VlrfaceError(f"{path}: an entry is no key. Restore the file, or make another")
    if not isinstance(value, Mapping):
        raise wrong
    texts = [value.get(name) for name in ("id", "name", "role", "sha256", "created")]
    revoked = value.get("revoked")
    if not all(isinstance(text, str) for text in texts) or not isinstance(revoked, str | None):
        raise wrong
    if texts[2] not in ROLES or len(str(texts[3])) != 64:
        raise wrong
    return Key(*texts, revoked=revoked)  # pyright: ignore[reportArgumentType] (checked above)


@contextmanager
def _changing(path: Path) -> Generator[None]:
    """Let nobody else change the file between reading and writing it.

    The lock is that of an empty file beside it, which stays: the file of keys itself is replaced by each change.
    """
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(path.with_name(f".{path.name}.lock"), _WAIT_S))
        except InUseError as error:
            raise VlrfaceError(
                f"{path}: others have been changing it for more than {_WAIT_S:.0f} s. Try again"
            ) from error
        except OSError as error:
            raise cannot_write(path, error) from error
        yield


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    """A new file is readable by its owner alone; one that is there keeps its mode and owner: a service reads it."""
    path = path.resolve()  # a link stays one
    before = path.stat() if path.exists() else None
    with written_atomically(path, mode=0o600 if before is None else stat.S_IMODE(before.st_mode)) as temporary:
        values = {"version": _VERSION, "keys": [asdict(key) for key in keys]}
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        if before is not None and sys.platform != "win32":
            with suppress(PermissionError):  # only root gives files away
                os.chown(temporary, before.st_uid, before.st_gid)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
