"""What a file that was given as a model is, told from its name and first bytes: neither numpy nor torch.

A wrong file is so refused before anything heavy is imported, with what it is and what is wanted.
"""

import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from vlrface.data.folder import IMAGE_SUFFIXES
from vlrface.run_folder import BEST_NAME, LAST_NAME
from vlrface.types import VlrfaceError

_BEGINNINGS: Final = (
    *((b"\xff\xd8\xff", "a picture"), (b"\x89PNG", "a picture"), (b"GIF8", "a picture"), (b"BM", "a picture")),
    *((b"SQLite format 3\0", "a gallery or another database"), (b"PAR1", "a Parquet table"), (b"%PDF", "a document")),
    *((b"\x80\x02", "a pickle of PyTorch"), (b"\x80\x04", "a pickle of Python"), (b"\x1f\x8b", "an archive")),
)
_ENDINGS: Final = {
    **dict.fromkeys(IMAGE_SUFFIXES, "a picture"),
    ".py": "a recipe, which `vlrface train` makes a checkpoint of",
    ".json": "a JSON file",
    ".csv": "a table",
    ".txt": "a text",
    ".html": "a page",
}
_SHOWN: Final = 3


def check_model(path: Path, *, onnx: bool = True) -> None:
    """Refuse what cannot be a model, by its name and first bytes.

    Args:
        path: a checkpoint, a run's folder, or an .onnx file.
        onnx: whether an .onnx file will do.

    Raises:
        VlrfaceError: missing, or something else; the message says what and what is wanted.
    """
    wanted = "a checkpoint (.safetensors), a run's folder" + (" or an .onnx file" if onnx else "")
    wanted = wanted if onnx else wanted.replace(",", " or", 1)
    if path.is_dir():
        _check_run(path, wanted)
        return
    if not path.exists():
        raise VlrfaceError(
            f"{path}: no such checkpoint, run folder or model. Give {wanted}; `vlrface train RECIPE --out DIR` writes "
            f"DIR/{BEST_NAME}"
        )
    if path.suffix == ".onnx":
        if onnx:
            return
        raise VlrfaceError(f"{path}: an .onnx file, not what one is made of. Give {wanted}, from which it came")
    kind = kind_of(path)
    if kind:
        raise VlrfaceError(f"{path}: {kind}, no model. Give {wanted}")


def check_there(*paths: Path | None) -> None:
    """Refuse data that are not there.

    Raises:
        VlrfaceError: with the first that is missing.
    """
    for path in paths:
        if path is not None and not path.exists():
            raise VlrfaceError(f"{path}: no such file or folder")


def _check_run(folder: Path, wanted: str) -> None:
    if (folder / BEST_NAME).is_file():
        return
    if (folder / LAST_NAME).is_file():
        raise VlrfaceError(
            f"{folder}: a run that has not been validated yet, without {BEST_NAME}. Let it go on (vlrface train), or "
            f"give {folder / LAST_NAME}"
        )
    with suppress(OSError):
        runs = sorted(path.parent for path in folder.glob(f"*/{BEST_NAME}"))
        if runs:
            more = ", …" if len(runs) > _SHOWN else ""
            listing = ", ".join(map(str, runs[:_SHOWN])) + more
            raise VlrfaceError(f"{folder}: a folder of runs, not a run's. Give one of them: {listing}")
    raise VlrfaceError(f"{folder}: a folder without {BEST_NAME}, so not a run's. Give {wanted}")


def kind_of(path: Path) -> str:
    """What a file is, in words; "" if it is a checkpoint by its first bytes, or is called one.

    Raises:
        VlrfaceError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise VlrfaceError(f"{path}: cannot be read ({error.strerror}). Check its permissions") from error
    if not head:
        return "an empty file"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= os.path.getsize(path):
        return ""  # safetensors: the length of a header, and the header
    if head.startswith(b"PK"):
        return _zipped(path)
    found = next((kind for beginning, kind in _BEGINNINGS if head.startswith(beginning)), "")
    found = found or _ENDINGS.get(path.suffix.lower(), "")
    # A checkpoint that is damaged is named as one by its reader.
    return found or ("" if path.suffix == ".safetensors" else "a file of another kind")


def _zipped(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a damaged archive"
    if "embeddings.npy" in names:
        return "a Faces file, of embeddings"
    if any(name.endswith("/data.pkl") for name in names):
        return "weights of PyTorch (.pt), whose network is not said"
    return "arrays of numpy (.npz)" if any(name.endswith(".npy") for name in names) else "an archive"
