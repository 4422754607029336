"""Any face network in ONNX, by ONNX Runtime or OpenVINO on the CPU.

A model from somewhere else is a program, though a harmless one: it has no way to files or network but its external data
(see `vlrface.encode.model_file`), and libraries of custom operators are never loaded. What it may still do is to take
much time and memory, as any large model does.
"""

import hashlib
import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from vlrface.encode.card import ModelCard, PictureInput, card_beside, find_card
from vlrface.encode.exported import ATTENTION, EMBEDDING, read_export_card
from vlrface.encode.model_file import read_model_file
from vlrface.images.framing import Framing, Jitter, frame
from vlrface.types import VlrfaceError

Engine = Literal["onnxruntime", "openvino", "openvino-bf16"]
"""What runs a graph."""

_DTYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_MAX_FIXED_BATCH: Final = 1024
_PREAMBLE: Final = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .* failed:)?")
_SAME: Final = 1e-3
"""Cosine distance below which two embeddings are one: eight-bit kernels round differently with the batch."""


def load_onnx(
    path: Path,
    card: Path | None = None,
    given: ModelCard | None = None,
    *,
    threads: int | None = None,
    engine: Engine = "onnxruntime",
) -> "OnnxEncoder":
    """A model with its card.

    Args:
        path: the .onnx file.
        card: its card; None for `model.onnx.json` beside it, if there is one, else what the model says itself if
            `vlrface export` wrote it.
        given: what holds against the card.
        threads: see `OnnxEncoder`.
        engine: see `OnnxEncoder`.

    Raises:
        VlrfaceError: see `OnnxEncoder`, `vlrface.encode.card.find_card` and `vlrface.encode.exported.read_export_card`.
    """
    exported = read_export_card(path) if card is None and not card_beside(path).exists() else None
    found = find_card(path, card, given) if exported is None else exported.model_card().updated(given or ModelCard())
    return OnnxEncoder(path, found, threads=threads, engine=engine)


class OnnxEncoder:
    """An ONNX model as `vlrface.encode.Encoder`.

    What the graph cannot be trusted to say is tried out on two pictures of seeded noise: the length of the embedding,
    and how many pictures it takes at once. A graph with a fixed batch is filled up with black pictures. One that fails
    with two pictures, or whose answer for a picture changes with its neighbour (one exported with a fixed reshape, or
    quantised over the batch), is given one at a time.

    Args:
        path: the .onnx file, at most 2 GiB; up to 8 GiB of external data lie in its folder.
        card: how a picture becomes the input, see `find_card`.
        threads: of the engine; None for all cores that this process may use.
        engine: "onnxruntime", "openvino", or "openvino-bf16", which computes in bfloat16 where the processor can.

    Raises:
        VlrfaceError: the engine is not installed; the file is no ONNX model, or wants files outside its folder; the
            graph does not take one colour picture or gives no embedding; the card does not fit it.
    """

    def __init__(
        self, path: Path, card: ModelCard, *, threads: int | None = None, engine: Engine = "onnxruntime"
    ) -> None:
        self.file = read_model_file(path)
        self.card = card
        self._name = str(path)
        self.engine: Engine = engine
        self._session = _session(path, threads or _cores(), engine)
        self._feed, self._dtype, shape = _picture_input(self._session, self._name)
        self._input = card.input_of(shape, self._name, raw=self._dtype is np.uint8)
        self._outputs = _outputs(self._session, card, self._name)
        self._batch, self._dim = self._tried(shape[0])

    @property
    def input(self) -> PictureInput:
        """Size and normalisation of the input."""
        return self._input

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        return self._dim

    @property
    def meta(self) -> dict[str, Any]:
        """What `Faces` made by this model say of it: file name, hashes and card, with what the graph added to it."""
        said = ModelCard(
            height=self.input.height,
            width=self.input.width,
            layout=self.input.layout,
            framing=self.card.framing or Framing(),
            embedding=self._outputs[0],
        )
        external = {"external_sha256": dict(self.file.external)} if self.file.external else {}
        card = said.updated(self.card).to_json()
        return {"model": self.file.path.name, "sha256": self.file.sha256, **external, "card": card}

    @property
    def space(self) -> str:
        """Which embeddings may be compared: those of the same weights, given the same way and taken from one output.

        Of an export, the space that its card states, unless it is not used as it was exported; of any other model, by
        hashes of its files and of how it is used, names and notes of its card apart.
        """
        used = self._used(self.input, self.card.framing or Framing(), self._outputs[0])
        digest = hashlib.sha256(json.dumps([used, dict(self.file.external)], sort_keys=True).encode()).hexdigest()[:8]
        exported = read_export_card(self.file.path)
        if exported is None:
            return f"{self.file.sha256[:16]}-{digest}"
        own = replace(self.input, order="rgb", layout="nhwc", mean=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0))
        as_exported = used == self._used(own, exported.framing, EMBEDDING)
        return exported.space if as_exported else f"{exported.space}-{digest}"

    @staticmethod
    def _used(taken: PictureInput, framing: Framing, output: str) -> dict[str, Any]:
        return {**asdict(taken), "framing": asdict(framing), "embedding": output}

    def prepare(self, crop: UInt8[ndarray, "_ _ 3"], jitter: Jitter | None = None) -> UInt8[ndarray, "_ _ 3"]:
        """The input that the model sees of an RGB crop of any size, as the card frames it, by a moved window if any."""
        return frame(crop, self.card.framing or Framing(), self.input.height, self.input.width, jitter)

    def embed_crops(
        self, images: UInt8[ndarray, "n h w 3"], *, batch_size: int = 64, flip: bool = False
    ) -> tuple[Float32[ndarray, "n d"], Float32[ndarray, " n"]]:
        """Embeddings and recognizability of crops of the input's size.

        Args:
            images: RGB pixels of the input's size; may be memory-mapped, a batch is read at a time.
            batch_size: crops per run, where the graph leaves that open.
            flip: flip fusion: the sum of the embeddings of a crop and its mirror image, as the graph gives them, and
                the mean of both recognizabilities. Twice the time.

        Returns:
            The embeddings as the graph gives them, and the output that the card names as recognizability (else NaN).

        Raises:
            VlrfaceError: the images have not the input's size, or the model fails or gives NaN or infinity.
        """
        size = (self.input.height, self.input.width, 3)
        if images.shape[1:] != size or batch_size < 1:
            raise VlrfaceError(
                f"{self._name}: pictures of {images.shape} in batches of {batch_size}; it takes (n, {size[0]}, "
                f"{size[1]}, 3) in batches from 1: make them with prepare"
            )
        embeddings = np.empty((len(images), self._dim), np.float32)
        recognizability = np.empty(len(images), np.float32)
        for start in range(0, len(images), self._batch or batch_size):
            rows = slice(start, start + (self._batch or batch_size))
            embedding, index = self._filled(images[rows])
            if flip:
                mirrored, mirrored_index = self._filled(images[rows, :, ::-1])
                embedding, index = embedding + mirrored, (index + mirrored_index) / 2
            embeddings[rows], recognizability[rows] = embedding, index
        return embeddings, recognizability

    def attention_maps(self, images: UInt8[ndarray, "n h w 3"]) -> Float32[ndarray, "n fh fw"] | None:
        """Where the network looks, in (0, 1), of crops of the input's size; None if the graph does not say."""
        if not len(images) or ATTENTION not in {each.name for each in self._session.get_outputs()}:
            return None
        maps = np.asarray(self._session.run([ATTENTION], {self._feed: self._pixels(images)})[0], np.float32)
        return maps if maps.ndim == 3 and len(maps) == len(images) else None

    def _pixels(self, images: ndarray) -> ndarray:
        """What the graph is fed: bytes as they are where it takes them so."""
        if self._dtype is np.uint8 and self.input.order == "rgb" and self.input.layout == "nhwc":
            return np.ascontiguousarray(images)
        return self.input.normalised(images).astype(self._dtype, copy=False)

    def _filled(self, images: ndarray) -> tuple[ndarray, ndarray]:
        """Run up to a whole batch, filled up where the graph's is fixed."""
        count = len(images)
        if self._batch is not None and count < self._batch:
            images = np.concatenate([images, np.zeros((self._batch - count, *images.shape[1:]), np.uint8)])
        embedding, index = self._run(images)
        return embedding[:count], index[:count]

    def _run(self, images: ndarray) -> tuple[ndarray, ndarray]:
        try:
            found = self._session.run(list(self._outputs), {self._feed: self._pixels(images)})
        except Exception as error:  # the runtime has a dozen kinds, none of them public
            raise VlrfaceError(f"{self._name}: fails on {len(images)} pictures ({_reason(error)})") from error
        embedding = self._rows(self._outputs[0], found[0], len(images))
        if embedding.shape[1] < 2:
            raise VlrfaceError(f"{self._name}: output {self._outputs[0]!r} has one value per picture: no embedding")
        if len(found) == 1:
            return embedding, np.full(len(images), np.nan, np.float32)
        index = self._rows(self._outputs[1], found[1], len(images))
        if index.shape[1] != 1:
            raise VlrfaceError(
                f"{self._name}: output {self._outputs[1]!r} has {index.shape[1]} values per picture, a recognizability "
                "has one. Name another output, or none"
            )
        return embedding, index[:, 0]

    def _rows(self, output: str, values: Any, count: int) -> Float32[ndarray, "n d"]:
        """An output as one row per picture; axes of length 1 do not count."""
        array = np.asarray(values)
        where = f"{self._name}: output {output!r}"
        lengths = [length for length in array.shape[1:] if length != 1]
        if array.ndim == 0 or len(array) != count or len(lengths) > 1 or array.dtype.kind != "f":
            raise VlrfaceError(
                f"{where} is {array.dtype} of shape {array.shape} for {count} pictures; one vector of floats per "
                "picture is needed. Name another output in the card, or export the model again with a free batch"
            )
        rows = array.reshape(count, -1).astype(np.float32)
        bad = ~np.isfinite(rows).all(axis=1)
        if bad.any():
            raise VlrfaceError(
                f"{where} has NaN or infinity for {bad.sum()} of {count} pictures. Check mean and scale of the card; a "
                "model in half precision may need to be exported in float32"
            )
        return rows

    def _tried(self, fixed: int | None) -> tuple[int | None, int]:
        """Pictures per run (None for any number), and the length of an embedding."""
        height, width = self.input.height, self.input.width
        pair = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
        pair[1] //= 4  # a dark one beside a light one: what is scaled over the batch shows
        if fixed is not None:
            images = np.resize(pair, (fixed, height, width, 3))
            return fixed, self._run(images)[0].shape[1]
        alone = np.concatenate([self._run(pair[:1])[0], self._run(pair[1:])[0]]).astype(np.float64)
        try:
            together = self._run(pair)[0].astype(np.float64)
        except VlrfaceError:
            return 1, alone.shape[1]
        norms = np.linalg.norm(alone, axis=1) * np.linalg.norm(together, axis=1)
        same = (alone * together).sum(axis=1) >= (1 - _SAME) * norms
        return None if same.all() else 1, alone.shape[1]


def _cores() -> int:
    """Cores that this process may use; not every system can say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _session(path: Path, threads: int, engine: Engine) -> Any:
    if engine != "onnxruntime":
        from vlrface.encode.openvino import OpenVinoSession

        return OpenVinoSession(path, threads, bfloat16=engine == "openvino-bf16")
    try:
        import onnxruntime
    except ImportError as error:
        raise VlrfaceError('ONNX models need onnxruntime: pip install "vlrface[onnx]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what matters arrives as an error
    options.add_session_config_entry("session.load_model_format", "ONNX")  # its other format was not checked
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen kinds, none of them public
        raise VlrfaceError(
            f"{path}: ONNX Runtime cannot load it ({_reason(error)}). Check that it is an ONNX model of standard "
            "operators, for this version of ONNX Runtime"
        ) from error


def _picture_input(session: Any, name: str) -> tuple[str, Any, list[int | None]]:
    """Name, type and shape of the one input."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        listing = ", ".join(each.name for each in inputs) or "none"
        raise VlrfaceError(
            f"{name}: the graph has {len(inputs)} inputs ({listing}), not one picture. Export it with one"
        )
    only = inputs[0]
    shape = [length if isinstance(length, int) and length > 0 else None for length in only.shape]
    if only.type not in _DTYPES or len(shape) != 4:
        raise VlrfaceError(
            f"{name}: the graph takes {only.type} of {len(shape)} axes; pictures are float, float16 or uint8 of 4 axes"
        )
    if shape[0] is not None and shape[0] > _MAX_FIXED_BATCH:
        raise VlrfaceError(f"{name}: the graph takes {shape[0]} pictures at once, more than {_MAX_FIXED_BATCH}")
    return only.name, _DTYPES[only.type], shape


def _outputs(session: Any, card: ModelCard, name: str) -> tuple[str, ...]:
    """Names of the outputs that are asked for: the embedding, and the recognizability if there is one."""
    there = {each.name: each for each in session.get_outputs()}
    listing = ", ".join(f"{key} {each.shape}" for key, each in there.items())
    for said in (card.embedding, card.recognizability):
        if said is not None and said not in there:
            raise VlrfaceError(f"{name}: the graph has no output {said!r}; there are {listing}")
    left = [key for key in there if key != card.recognizability]
    if card.embedding is None and len(left) != 1:
        raise VlrfaceError(
            f'{name}: which output is the embedding? Say "embedding" in the card of the model; there are {listing}'
        )
    embedding = card.embedding or left[0]
    return (embedding,) if card.recognizability is None else (embedding, card.recognizability)


def _reason(error: Exception) -> str:
    """The first line of an error of the runtime, without its code and without the file, which is named before."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _PREAMBLE.sub("", lines[0])[:300]
