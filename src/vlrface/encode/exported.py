"""What `vlrface export` writes into its .onnx files beside the graph, and how it is read again. No torch, no onnx."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from vlrface.encode.card import ModelCard
from vlrface.encode.model_file import MAX_MODEL_BYTES, graph_sha256, metadata_of, with_metadata
from vlrface.encode.views import Views
from vlrface.files import written_atomically
from vlrface.images.framing import Framing
from vlrface.metrics.calibration import Calibration
from vlrface.types import VlrfaceError

CARD_KEY: Final = "vlrface.card"
"""Key of the card among the metadata of the model."""

INPUT: Final = "crops"
EMBEDDING: Final = "embedding"
RECOGNIZABILITY: Final = "recognizability"
ATTENTION: Final = "attention"
"""Names of the graph's input and outputs."""

Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class ExportCard:
    """What an exported model says of itself.

    Attributes:
        version: of vlrface that exported it.
        experiment: name of the experiment that trained it.
        fingerprint: of the weights, as the checkpoint has it.
        precision: of the graph.
        config: the resolved configuration, JSON values.
        framing: which window of a crop the network sees.
        recognizability: whether the graph gives an index.
        calibration: what the index means; None where nobody knows.
        graph: `graph_sha256` of the graph that was written.
        parity: figures of the export beside the network that it was made of, by name.
        views: windows of a crop that are seen and averaged, see `encode.views`.
    """

    version: str
    experiment: str
    fingerprint: str
    precision: Precision
    config: Mapping[str, Any]
    framing: Framing
    recognizability: bool
    calibration: Calibration | None
    graph: str
    parity: Mapping[str, float]
    views: Views = 1

    @property
    def space(self) -> str:
        """Which embeddings of one view may be compared: those of the same weights in the same precision."""
        return self.fingerprint if self.precision == "float32" else f"{self.fingerprint}-{self.precision}"

    def meta(self) -> dict[str, Any]:
        """What `Faces` made by the exported model say of it, in the words of a checkpoint's."""
        return {
            "version": self.version,
            "fingerprint": self.space,
            "calibration": self.calibration and self.calibration.to_json(),
            "experiment": self.experiment,
            "seed": self.config.get("seed"),
            "config": dict(self.config),
            "precision": self.precision,
        }

    def to_json(self) -> str:
        """As it stands in the file."""
        return json.dumps({**asdict(self), "calibration": self.calibration and self.calibration.to_json()})

    @classmethod
    def from_json(cls, text: str) -> "ExportCard":
        """What `to_json` gave.

        Raises:
            VlrfaceError: it is something else.
        """
        try:
            values: dict[str, Any] = {"views": 1, **json.loads(text)}
            if set(values) != {field.name for field in fields(cls)}:
                raise ValueError("other keys than this version of vlrface has")
            values["framing"] = Framing(**values["framing"])
            calibration = values["calibration"]
            values["calibration"] = None if calibration is None else Calibration.from_json(calibration)
            texts = [values[key] for key in ("version", "experiment", "fingerprint", "precision", "graph")]
            texts_only = all(isinstance(each, str) for each in texts) and isinstance(values["recognizability"], bool)
            known = values["precision"] in get_args(Precision) and values["views"] in get_args(Views)
            if not texts_only or not known:
                raise ValueError("values of another kind")
            return cls(**values)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise VlrfaceError(f"not the card of an export ({error}). Export the model again") from error

    def model_card(self) -> ModelCard:
        """How its graph takes crops, in the words of a foreign model's card."""
        return ModelCard(
            name=self.experiment,
            order="rgb",
            layout="nhwc",
            framing=self.framing,
            embedding=EMBEDDING,
            recognizability=RECOGNIZABILITY if self.recognizability else None,
        )


def read_export_card(path: Path) -> ExportCard | None:
    """The card of an exported model; None for an .onnx file that `vlrface export` did not write.

    Raises:
        VlrfaceError: the file cannot be read, its card is damaged, or its graph is another than was exported.
    """
    try:
        if not 0 < path.stat().st_size <= MAX_MODEL_BYTES:
            return None  # what reads the model says so
        data = path.read_bytes()
    except OSError as error:
        raise VlrfaceError(f"{path}: cannot be read ({error.strerror}). Give an .onnx file") from error
    try:
        text = metadata_of(data).get(CARD_KEY)
        found = graph_sha256(data)
    except ValueError:
        return None
    if text is None:
        return None
    try:
        card = ExportCard.from_json(text)
    except VlrfaceError as error:
        raise VlrfaceError(f"{path}: {error}") from error
    if card.graph != found:
        raise VlrfaceError(f"{path}: its graph is another than was exported, or damaged. Export the model again")
    return card


def write_card(source: Path, card: ExportCard, output: Path) -> None:
    """An exported model with another card, atomically; `output` may be `source`.

    Raises:
        VlrfaceError: the source is none, or its graph is not the card's.
    """
    found = read_export_card(source)
    if found is None or found.graph != card.graph:
        raise VlrfaceError(f"{source}: not the exported model of this card. Export the checkpoint (`vlrface export`)")
    with written_atomically(output) as temporary:
        temporary.write_bytes(with_metadata(source.read_bytes(), CARD_KEY, card.to_json()))
