"""Where a gallery is: a file, or a server of Milvus ("milvus:URI#NAME"). Secrets come from the environment."""

import os
from pathlib import Path
from typing import Final

from vlrface.encode.served import ServedModel
from vlrface.gallery import Gallery, Info, Template, key_from_environment
from vlrface.types import VlrfaceError

MILVUS: Final = "milvus:"
TOKEN_VARIABLE: Final = "VLRFACE_MILVUS_TOKEN"  # noqa: S105 (the name of one)
"""Environment variable with "user:password" or a key, for a server that asks for it."""


def open_gallery(place: str, *, space: str | None = None, read_only: bool = False) -> Gallery:
    """Open a gallery.

    Args:
        place: a file, or "milvus:URI" with "#NAME" for another than the usual.
        space: of the embeddings that will be given; None does not check.
        read_only: refuse changes; Milvus does not.

    Raises:
        VlrfaceError: no such gallery, another space, or a missing key.
    """
    if not place.startswith(MILVUS):
        return Gallery.open(Path(place), space=space, key=key_from_environment(), read_only=read_only)
    from vlrface.gallery.milvus import MilvusStore

    uri, prefix = _server(place)
    gallery = Gallery(MilvusStore(uri, prefix=prefix, token=os.environ.get(TOKEN_VARIABLE, "")))
    try:
        gallery.check_space(space)
    except VlrfaceError:
        gallery.close()
        raise
    return gallery


def check_gallery(place: str) -> None:
    """Refuse a gallery's file that is not there, before a model is loaded.

    Raises:
        VlrfaceError: no such file; a server is asked when it is opened.
    """
    if not place.startswith(MILVUS) and not Path(place).is_file():
        raise VlrfaceError(f"{place}: no such gallery. Make one with `vlrface gallery create {place} --model MODEL`")


def make_gallery(place: str, served: ServedModel, *, template: Template, keep_pictures: bool) -> bool:
    """Make an empty gallery for the embeddings of a model.

    Returns:
        Whether it is encrypted.

    Raises:
        VlrfaceError: there is one already, or the place cannot give what is asked for.
        OSError: the file cannot be written.
    """
    key = key_from_environment()
    dim = served.encoder.embedding_dim
    if not place.startswith(MILVUS):
        Gallery.create(
            Path(place), space=served.space, dim=dim, model_name=served.name, keep_pictures=keep_pictures, key=key,
            template=template,
        ).close()  # fmt: skip
        return key is not None
    from vlrface.gallery.milvus import create_milvus

    uri, prefix = _server(place)
    info = Info(served.space, dim, served.name, template, keep_pictures, key is not None)
    create_milvus(uri, info, prefix=prefix, token=os.environ.get(TOKEN_VARIABLE, ""))
    return False


def _server(place: str) -> tuple[str, str]:
    """Address and name."""
    uri, _, name = place.removeprefix(MILVUS).partition("#")
    if not uri or (name and not name.isidentifier()):
        raise VlrfaceError(
            f"{place}: give milvus:http://HOST:19530, with #NAME (letters, digits, _) for another gallery"
        )
    return uri, name or "vlrface"
