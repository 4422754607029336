"""One file per checkpoint: tensors in safetensors, the rest as JSON in its header. Nothing is executed on reading.

Two kinds are written by training, both atomically:

- `best.safetensors`: the weights that serve, "recognizer.*", and the card (resolved configuration, calibration,
  statistics of the unrecognizable faces, figures);
- `last.safetensors`: all that a resumed run needs: the weights being trained, "recognizer.*", prototypes and optimiser;
  no random state, because batches and dropout depend on the seed and the step alone. The weights that serve are
  "averaged.module.*" if the run averages, else "recognizer.*"; statistics and calibration are those of the last
  validation, absent before the first.
"""

import errno
import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from vlrface.files import printable, written_atomically
from vlrface.run_folder import CARD_KEY
from vlrface.types import VlrfaceError

_CHECKSUM_KEY = "vlrface.crc32"


class DamagedCheckpointError(VlrfaceError):
    """A checkpoint that cannot be read: truncated, or with other bytes than were written."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Tensors by dotted name, and a card of JSON values.

    Attributes:
        tensors: for example "recognizer.backbone.conv.weight"; `group` gives those of one prefix.
        card: JSON values; training writes "version", "config", "data_fingerprint", "threads", "step", "figures",
            "fingerprint", "statistics", "calibration" and more.
    """

    tensors: Mapping[str, Tensor]
    card: Mapping[str, Any]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name starts with `prefix.`, without it."""
        start = f"{prefix}."
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}

    def save(self, path: Path) -> None:
        """Write the file atomically: a reader sees the old checkpoint or the new one.

        Raises:
            OSError: it cannot be written; the message names `path`, and the old checkpoint is as it was.
        """
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.tensors.items()}
        with written_atomically(path) as temporary:
            try:
                card = json.dumps(dict(self.card))
                metadata = {CARD_KEY: card, _CHECKSUM_KEY: _checksum(card, tensors)}
                save_file(tensors, temporary, metadata=metadata)
            except SafetensorError as error:  # how safetensors reports a full disk; no OSError
                number = re.search(r"os error (\d+)", str(error))
                raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint.

        Raises:
            DamagedCheckpointError: the file is truncated, or holds other bytes than were written.
            VlrfaceError: it is missing, or not a checkpoint of vlrface.
        """
        check_name(path)
        if not path.is_file():
            raise VlrfaceError(
                f"{path}: no such checkpoint. `vlrface train RECIPE --out DIR` writes DIR/best.safetensors"
            )
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, OSError) as error:
            raise DamagedCheckpointError(
                f"{path}: damaged or not a safetensors file ({error}). Take another checkpoint"
            ) from error
        if CARD_KEY not in metadata:
            raise VlrfaceError(f"{path}: safetensors, but no vlrface checkpoint (its header has no {CARD_KEY!r} card)")
        # Files of earlier versions have no checksum.
        if _CHECKSUM_KEY in metadata and metadata[_CHECKSUM_KEY] != _checksum(metadata[CARD_KEY], tensors):
            raise DamagedCheckpointError(f"{path}: damaged (its checksum is another). Take another checkpoint")
        try:
            return cls(tensors, json.loads(metadata[CARD_KEY]))
        except ValueError as error:
            raise DamagedCheckpointError(f"{path}: damaged (its card is no JSON). Take another checkpoint") from error


def check_name(path: Path) -> None:
    """Refuse a path that safetensors could write but not read.

    Raises:
        VlrfaceError: it is not UTF-8.
    """
    name = str(path.absolute())
    if printable(name) != name:
        raise VlrfaceError(
            f"{printable(name)}: a checkpoint's path must be UTF-8. Rename the folder, or choose another"
        )


def read_card(path: Path) -> dict[str, Any] | None:
    """The card of a checkpoint, without its tensors; None where no checkpoint of vlrface is."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(CARD_KEY)
    except (SafetensorError, OSError):
        return None
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def _checksum(card: str, tensors: Mapping[str, Tensor]) -> str:
    """Of card, names, shapes and bytes: tells a file that rotted, which a length does not. No guard against intent."""
    found = zlib.crc32(card.encode())
    for name in sorted(tensors):
        found = zlib.crc32(f"{name} {tuple(tensors[name].shape)}".encode(), found)
        found = zlib.crc32(tensors[name].contiguous().reshape(-1).view(uint8).numpy().data, found)
    return f"{found:08x}"


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that tell one set of weights from another (SHA-256 over names, shapes and bytes)."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.flatten().view(-1).numpy().tobytes())
    return digest.hexdigest()[:16]
