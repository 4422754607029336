"""What a gallery's file says about itself."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from vlrface.gallery.answers import Info, Template
from vlrface.gallery.database import create_database
from vlrface.gallery.sealing import KEY_VARIABLE, AesGcm, Plain, Seal
from vlrface.types import VlrfaceError

_KNOWN_TEXT: Final = b"vlrface gallery"


def create_sqlite(path: Path, info: Info, key: bytes | None) -> None:
    """Make an empty gallery.

    Raises:
        VlrfaceError: there is a file already, or the key is none.
        OSError: it cannot be written.
    """
    settings: dict[str, str | int | bytes] = {
        "space": info.space,
        "dim": info.dim,
        "model_name": info.model_name,
        "template": info.template,
        "keeps_pictures": int(info.keeps_pictures),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if key is not None:
        settings["key_check"] = AesGcm(key).close(_KNOWN_TEXT, b"key_check")
    create_database(path, settings)


def seal_of(path: Path, settings: Mapping[str, Any], key: bytes | None) -> Seal:
    """What the values are sealed by.

    Raises:
        VlrfaceError: the key is missing or wrong.
    """
    check = settings.get("key_check")
    if check is None:
        return Plain()
    if key is None:
        raise VlrfaceError(f"{path}: an encrypted gallery. Give its key in the environment variable {KEY_VARIABLE}")
    seal = AesGcm(key)
    try:
        seal.open(check, b"key_check")
    except VlrfaceError as error:
        raise VlrfaceError(f"{path}: encrypted with another key than the one in {KEY_VARIABLE}") from error
    return seal


def info_of(path: Path, settings: Mapping[str, Any]) -> Info:
    """What the gallery is for.

    Raises:
        VlrfaceError: a setting is missing or none.
    """
    try:
        template: Template = "recognizability" if settings["template"] == "recognizability" else "mean"
        return Info(
            space=str(settings["space"]),
            dim=int(settings["dim"]),
            model_name=str(settings["model_name"]),
            template=template,
            keeps_pictures=bool(settings["keeps_pictures"]),
            encrypted="key_check" in settings,
        )
    except (KeyError, ValueError) as error:
        raise VlrfaceError(f"{path}: a damaged gallery (setting {error}). Restore it from a copy") from error
