"""Names and options of the commands, apart from what they do: --help needs these, and nothing heavy with them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

BenchmarkName = Literal[
    "tinyface", "survface-id", "survface-verif", "scface", "pairs", "cross-resolution", "rejection", "retrieval"
]  # fmt: skip

Layout = Literal[
    "auto", "tinyface", "survface-id", "survface-verif", "scface", "pairs", "bin", "cross-resolution", "rec", "table",
    "identities", "pictures",
]  # fmt: skip
"""How pictures lie on disk. "auto" looks for what tells a layout."""

Kind = Literal["tinyface", "survface-id", "survface-verif", "scface", "pairs", "bin", "rec", "identities", "table"]
"""What `vlrface data check` can check."""

EngineChoice = Literal["auto", "onnxruntime", "openvino", "openvino-bf16"]
"""What runs an .onnx file. "auto" takes OpenVINO for an export where it is installed, else ONNX Runtime."""

Views = Literal[1, 5]
"""How many windows of a crop are seen and averaged: `vlrface.encode.views`."""

Clustering = Literal["auto", "graph", "agglomerative"]
"""How the embeddings of a pool are clustered."""

Projection = Literal["pca", "tsne"]
"""How embeddings are laid flat."""


@dataclass(frozen=True)
class ModelOptions:
    """How somebody's ONNX model takes its input. What is not said is read from its card, then from its graph.

    Attributes:
        card: JSON file that describes the model; default MODEL.onnx.json beside it, if there is one.
        input_size: Height and width of the input in pixels; one number for a square.
        order: Order of the colour channels.
        mean: Subtracted from each pixel (0 to 255) before scaling.
        scale: Factor on each pixel after the mean is subtracted; 0.00784 for a range of about -1 to 1.
        window: Which part of a crop the model sees, in crop widths, with its aspect kept; default: the whole crop,
            stretched.
        center_y: Where the centre of that window is, as a share of the crop's height.
    """

    card: Path | None = None
    input_size: tuple[int, ...] | None = None
    order: Literal["rgb", "bgr"] | None = None
    mean: float | None = None
    scale: float | None = None
    window: float | None = None
    center_y: float | None = None


@dataclass(frozen=True)
class BulkOptions:
    """How many pictures go through a model.

    Attributes:
        engine: What runs an exported model.
        threads: Of the model; default all processors, with --ray one for each worker.
        detector: Pictures are whole ones, in which this detector (.onnx, or auto) finds the faces.
        every: Of a video, look at every N-th frame.
        restart: Begin again, whatever is done already; also write over a file that another command made.
        ray: Address of a Ray cluster that does the work ("auto", "ray://HOST:10001"), or "local" for one of this
            machine. Model, pictures and output must have the same paths on all of its machines.
        part_items: Pictures in a part of the results, all that a kill can cost; default 4,096.
    """

    engine: EngineChoice = "auto"
    threads: int | None = None
    detector: Path | None = None
    every: int = 1
    restart: bool = False
    ray: str | None = None
    part_items: int | None = None


@dataclass(frozen=True)
class SearchOptions:
    """By which rules a gallery answers.

    Attributes:
        match: Least cosine of a match.
        fmr: Instead of it: the wished false match rate of two single faces, measured by `vlrface calibrate`. Somebody
            with several enrolled faces is matched by mistake more often.
        fpir: Instead of it: the wished share of strangers that get an answer, measured likewise.
        least_score: Least score of a face that is searched or enrolled; default: any face but those that the
            calibration calls unrecognizable; 0 takes every face.
        candidates: identify only: at most so many people for a face.
        detector: Pictures are whole ones, in which this detector (.onnx, or auto) finds the faces.
        engine: What runs an exported model.
        threads: Of the model; default all processors.
    """

    match: float | None = None
    fmr: float | None = None
    fpir: float | None = None
    least_score: float | None = None
    candidates: int = 5
    detector: Path | None = None
    engine: EngineChoice = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class ProtocolOptions:
    """What a benchmark leaves open. Each option concerns the benchmark that its text names.

    Attributes:
        template: survface-id: how the gallery pictures of a person become one template.
        variant: scface: all 130 people, or the 80 of a seeded split whose other 50 may be used to fine-tune.
        split_seed: scface: seed of that split.
        fmr: rejection: false match rates at which the threshold is fixed.
        recompute_threshold: rejection: also recompute it at each ratio, as published tables do.
        allow_few_impostors: rejection: accept a rate that fewer than ten impostor pairs decide.
    """

    template: Literal["mean", "raw_mean", "recognizability"] = "mean"
    variant: Literal["all", "80"] = "all"
    split_seed: int = 0
    fmr: tuple[float, ...] = (0.01, 0.001)
    recompute_threshold: bool = False
    allow_few_impostors: bool = False


@dataclass(frozen=True)
class Outputs:
    """Where results go. Each file is written whole or not at all.

    Attributes:
        json: File for the numbers; default beside the source: BENCHMARK.json of a checkpoint, FILE.BENCHMARK.json of an
            .onnx or a Faces file, FIRST-SECOND.BENCHMARK.json of a comparison.
        report: File for the page; default as for the numbers, with .html.
        figures: Folder for every curve as SVG and PDF, fit for a paper; of an evaluation also the histogram of the
            recognizability index, the map of embeddings and, with --data, faces and attention maps.
        tables: Folder for the figures as LaTeX and Markdown tables.
    """

    json: Path | None = None
    report: Path | None = None
    figures: Path | None = None
    tables: Path | None = None
