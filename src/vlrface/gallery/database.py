"""The file of a gallery: SQLite, opened so that what is acknowledged stays and what is deleted is gone.

One row per face, in pages large enough for several; a whole gallery is read by one scan.

SQLite moves rows between pages when some are inserted in the middle or deleted, and leaves copies of moved rows in the
unused part of a page even with `secure_delete`. So rows here are only appended, which moves none, and one that goes is
overwritten in place by zeros of the same length; nothing that names a person or is a face lies in an index. The
write-ahead log, which holds old pages, is emptied (`wal_checkpoint(TRUNCATE)`). When many rows are zeros, they are
deleted and the whole file is written anew (`VACUUM`).
"""

import os
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vlrface.files import cannot_write, written_atomically
from vlrface.types import VlrfaceError

APPLICATION_ID: Final = 0x766C7266  # "vlrf"
SCHEMA_VERSION: Final = 1
_PAGE_BYTES = 16384
_BUSY_S = 10.0

_SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL, enrolled REAL NOT NULL);
CREATE TABLE face (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  person INTEGER NOT NULL REFERENCES person,
  recognizability REAL,
  enrolled REAL NOT NULL,
  digest BLOB NOT NULL,
  source BLOB NOT NULL,
  embedding BLOB NOT NULL
);
CREATE INDEX face_of_person ON face (person);
CREATE INDEX face_by_digest ON face (digest);
CREATE TABLE picture (face INTEGER PRIMARY KEY REFERENCES face, jpeg BLOB NOT NULL);
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  time REAL NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  person INTEGER,
  outcome TEXT NOT NULL
);
"""


def create_database(path: Path, settings: Mapping[str, str | int | bytes]) -> None:
    """Make the file with its tables, readable by its owner alone. It appears whole or not at all.

    Raises:
        VlrfaceError: there is a file already.
        OSError: it cannot be written.
    """
    if path.exists():
        raise VlrfaceError(f"{path}: there is a file already. Choose another name, or delete it first")
    with written_atomically(path, mode=0o600) as temporary:
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.executescript(_SCHEMA)
            connection.executemany("INSERT INTO setting VALUES (?, ?)", settings.items())
        finally:
            connection.close()


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit mode that any thread may use, one at a time.

    Raises:
        VlrfaceError: no such file, no gallery, a damaged one, or one of a newer version.
    """
    if not path.is_file():
        raise VlrfaceError(f"{path}: no such gallery. Make one with `vlrface gallery create {path} --model MODEL`")
    mode = "ro" if read_only else "rw"
    with explained(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}",
            uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_S, cached_statements=64,
        )  # fmt: skip
        try:
            _check(connection, path)
            if not read_only:
                connection.execute("PRAGMA journal_mode=WAL")
            for each in ("synchronous=FULL", "secure_delete=ON", "foreign_keys=ON", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {each}")
        except BaseException:
            connection.close()
            raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise VlrfaceError(f"{path}: not a gallery of vlrface")
    if version != SCHEMA_VERSION:
        raise VlrfaceError(f"{path}: a gallery of version {version}; this vlrface reads {SCHEMA_VERSION}. Update it")


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn errors of SQLite into ones that name the file and the remedy."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise VlrfaceError(
                f"{path}: another process has been writing to it for more than {_BUSY_S:.0f} s. Try again"
            ) from error
        if "readonly" in text:
            raise VlrfaceError(f"{path}: opened for reading only, or its folder cannot be written to") from error
        if "full" in text or "disk I/O" in text:
            raise cannot_write(path, OSError(0, text)) from error
        raise VlrfaceError(f"{path}: {text}. Is the file whole, and may this user read it?") from error
    except sqlite3.DatabaseError as error:
        raise VlrfaceError(f"{path}: damaged, or not a gallery ({error}). Restore it from a copy") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """All or nothing; other processes wait. On disk when the block has ended."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def blank_person(connection: sqlite3.Connection, number: int) -> int:
    """Overwrite a person, within a transaction: name, sources, embeddings, digests and pictures become zeros.

    Returns:
        How many faces the person had.
    """
    mine = "(SELECT id FROM face WHERE person = ?)"
    connection.execute(f"UPDATE picture SET jpeg = zeroblob(length(jpeg)) WHERE face IN {mine}", (number,))  # noqa: S608
    faces = connection.execute(
        "UPDATE face SET digest = zeroblob(length(digest)), source = zeroblob(length(source)), "
        "embedding = zeroblob(length(embedding)) WHERE person = ?",
        (number,),
    ).rowcount
    connection.execute("UPDATE person SET name = zeroblob(length(name)) WHERE id = ?", (number,))
    return faces


def is_blank(name: bytes) -> bool:
    """Whether a stored name says that the person was removed."""
    return not name.strip(b"\0")


def empty_log(connection: sqlite3.Connection) -> bool:
    """Put the write-ahead log into the database and cut it to nothing.

    Returns:
        Whether it is empty; False while another connection reads an older state of the file.
    """
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return busy == 0


def compact(connection: sqlite3.Connection) -> None:
    """Delete the rows of removed people and write the file anew. What is interrupted is done when it is next opened."""
    dead = "(SELECT id FROM person WHERE name = zeroblob(length(name)))"
    with transaction(connection):
        connection.execute("INSERT OR REPLACE INTO setting VALUES ('compacting', 1)")
        connection.execute(f"DELETE FROM picture WHERE face IN (SELECT id FROM face WHERE person IN {dead})")  # noqa: S608
        connection.execute(f"DELETE FROM face WHERE person IN {dead}")  # noqa: S608
        connection.execute(f"DELETE FROM person WHERE id IN {dead}")  # noqa: S608
    finish_compacting(connection)


def finish_compacting(connection: sqlite3.Connection) -> None:
    """Write the file anew if rows were deleted from it."""
    if connection.execute("SELECT 1 FROM setting WHERE name = 'compacting'").fetchone():
        connection.execute("VACUUM")
        connection.execute("DELETE FROM setting WHERE name = 'compacting'")


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that may hold bytes of a gallery: the database, its log and the log's index."""
    return tuple(Path(f"{os.fspath(path)}{suffix}") for suffix in ("", "-wal", "-shm"))
