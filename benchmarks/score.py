"""From a folder of crops to scores: `vlrface score` beside ONNX Runtime in the usual way, and beside the bare network.

    python benchmarks/score.py [--checkpoint RUN] [--data FOLDER] [--pictures 1024] [--blocks 3] [--no-float32]
                               [--json FILE]

The usual way: one Python loop that reads a file (OpenCV), frames it, and gives batches of 32 and their mirror images to
ONNX Runtime in float32 with its defaults, then writes a table. Ours: the command's own function on the same folder, by
OpenVINO in float32, bfloat16 and int8, all with flip fusion. Ways are timed in turn, block after block; medians are
taken. The usual way is given a quarter of the crops, its session made before, and its time taken four times: ours
carries the loading of its model. The bare network is the same session on crops that are framed already.

Without a checkpoint the network is an IResNet-50 at 112 pixels with index and attention, of drawn weights, whose batch
norms have seen drawn faces: its speed is that of a trained one, its rank-1 is only that of drawn weights. Without data,
crops are drawn faces, degraded as a camera does. Half of the people give the ranges of int8, the other half is scored.

The last line is JSON: `speedup_over_onnxruntime` (int8, whole pipeline), `bf16_speedup_over_onnxruntime`,
`fraction_of_network` (int8, whole pipeline over bare network), and for each way its pictures a second, rank-1
(leave-one-out) and Spearman correlation of the index with float32's.
"""

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
from jaxtyping import Float
from numpy import ndarray
from result import give

from vlrface import __version__
from vlrface.bulk import Item, look_at
from vlrface.calibrate import Calibration
from vlrface.encode.exported import ExportCard
from vlrface.encode.onnx import load_onnx
from vlrface.encode.served import ServedModel
from vlrface.experiment.layouts import read_layout
from vlrface.experiment.network import load_trained
from vlrface.experiment.options import BulkOptions, EngineChoice
from vlrface.experiment.scoring import score_paths
from vlrface.experiment.served import load_served
from vlrface.export import to_graph, to_int8, write_export
from vlrface.images.decode import encode_png
from vlrface.images.degrade import SURVEILLANCE, degraded
from vlrface.images.framing import Framing, frame
from vlrface.images.procedural import procedural_faces
from vlrface.metrics.correlation import spearman
from vlrface.metrics.identification import leave_one_out_ranks
from vlrface.models import PerceptibilityAttention, PerceptibilityRegression, Recognizer
from vlrface.models.attention import spatial_kernel
from vlrface.models.iresnet import iresnet

BATCH = 32
SHARE = 4
USUAL = "onnxruntime float32, usual"
WAYS: dict[str, tuple[str, EngineChoice]] = {
    "openvino float32": ("float32.onnx", "openvino"),
    "openvino bfloat16": ("float32.onnx", "openvino-bf16"),
    "openvino int8": ("int8.onnx", "openvino"),
}


@dataclass(frozen=True)
class Crop:
    """A crop, and whose it is."""

    image: ndarray
    person: int


def drawn_network() -> Recognizer:
    """IResNet-50 with everything the method adds; batch norms know drawn faces."""
    trunk = iresnet(50, seed=0)
    shape = trunk.feature_shape
    network = Recognizer(
        trunk,
        PerceptibilityRegression(shape, seed=0),
        PerceptibilityAttention(shape[0], kernel=spatial_kernel(shape), seed=0),
        framing=Framing(1.2, 0.44),
    )
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.momentum = None  # a mean over all batches
    faces = degraded(list(procedural_faces(64, 2, seed=7).images), SURVEILLANCE, 7)
    images = np.stack([network.prepare(crop) for crop in faces])
    network.train()
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            network(torch.from_numpy(images[start : start + BATCH]))
    return network.eval()


def crops_of(data: Path | None, count: int) -> list[Crop]:
    """Crops of people with several, in an order that keeps people together."""
    if data is None:
        people = procedural_faces(-(-count // 4), 4, seed=0)
        small = degraded(list(people.images), SURVEILLANCE, 0)
        return [Crop(image, int(person)) for image, person in zip(small, people.identities, strict=True)][:count]
    manifest = read_layout(data, "auto").manifest
    rows = np.argsort(manifest.identities, kind="stable")[:count]
    return [Crop(manifest.picture(int(row)), int(manifest.identities[row])) for row in rows]


def write_models(network: Recognizer, calibration: Calibration, seen: list[Crop], folder: Path) -> None:
    """The network in float32 and int8."""
    graph = to_graph(network)

    def save(name: str, made: object, precision: str) -> None:
        card = ExportCard(
            version=__version__, experiment="benchmark", fingerprint="benchmark", precision=precision,
            config={}, framing=network.framing, recognizability=True, calibration=calibration, graph="", parity={},
        )  # fmt: skip
        write_export(made, card, folder / name)

    save("float32.onnx", graph, "float32")
    save("int8.onnx", to_int8(graph, np.stack([network.prepare(crop.image) for crop in seen])), "int8")


def usual(session: Any, files: list[Path], framing: Framing, output: Path) -> None:
    """A loop as many have it, with a session of ONNX Runtime."""
    side = session.get_inputs()[0].shape[1]
    with output.open("w", newline="") as file:
        table = csv.writer(file)
        for start in range(0, len(files), BATCH):
            names = files[start : start + BATCH]
            images = [frame(cv2.imread(str(name))[:, :, ::-1], framing, side, side) for name in names]
            batch = np.stack(images)
            first = session.run(["embedding", "recognizability"], {"crops": batch})
            second = session.run(["embedding", "recognizability"], {"crops": np.ascontiguousarray(batch[:, :, ::-1])})
            for name, index in zip(names, (first[1] + second[1]) / 2, strict=True):
                table.writerow([name, f"{index:.5f}"])


def found_by(model: ServedModel, folder: Path) -> tuple[Float[ndarray, "n d"], Float[ndarray, " n"]]:
    """Embeddings and indices of the folder's crops."""
    items = (Item("file", str(path)) for path in sorted(folder.iterdir()))
    rows = [row for _, each in look_at(items, model, batch_size=BATCH) for row in each]
    return np.stack([row.embedding for row in rows]), np.array([row.recognizability for row in rows])


def rank1(embeddings: Float[ndarray, "n d"], people: ndarray) -> float:
    """Leave-one-out, of those who have a mate."""
    ranks = leave_one_out_ranks(embeddings, people)
    return float((ranks.first_mate[ranks.mates > 0] == 1).mean())


def timed(ways: dict[str, Callable[[], object]], blocks: int) -> dict[str, float]:
    """Median seconds of each way, all in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(blocks):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def main() -> None:
    """Measure, print, and give the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--no-float32", action="store_true", help="leave OpenVINO in float32 out: the slowest way")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shown = {name: way for name, way in WAYS.items() if not (options.no_float32 and name == "openvino float32")}
    calibration = Calibration(1.0, 0.0, 0.0, 1.0, gallery_size=100, faces=100, rank1=0.5, calibration_error=0.0)
    network = drawn_network()
    if options.checkpoint is not None:
        trained = load_trained(options.checkpoint)
        network, calibration = trained.recognizer, trained.calibration or calibration
    crops = crops_of(options.data, 2 * options.pictures)
    half = len(crops) // 2
    seen, scored = crops[:half], crops[half:]
    print(f"{len(scored)} crops, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, network of "
          f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f} M weights")  # fmt: skip
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        folder = root / "crops"
        folder.mkdir()
        for number, crop in enumerate(scored):
            (folder / f"{number:06d}.png").write_bytes(encode_png(crop.image))
        write_models(network, calibration, seen[:256], root)
        framed = np.stack([network.prepare(crop.image) for crop in scored])
        people = np.array([crop.person for crop in scored])
        session = onnxruntime.InferenceSession(str(root / "float32.onnx"), providers=["CPUExecutionProvider"])
        quarter = sorted(folder.iterdir())[: -(-len(scored) // SHARE)]
        ways: dict[str, Callable[[], object]] = {
            USUAL: lambda: usual(session, quarter, network.framing, root / "usual.csv")
        }
        bare: dict[str, Callable[[], object]] = {}
        seen_by: dict[str, tuple[ndarray, ndarray]] = {}
        reference = found_by(load_served(root / "float32.onnx", engine="onnxruntime"), folder)
        for name, (file, engine) in shown.items():
            given = BulkOptions(engine=engine, restart=True)
            output = root / f"{name}.csv"
            ways[name] = lambda file=file, output=output, given=given: score_paths(
                root / file, [folder], output, options=given, batch_size=BATCH, progress=False
            )
            encoder = load_onnx(root / file, engine=engine if engine != "auto" else "openvino")
            bare[name] = lambda encoder=encoder: encoder.embed_crops(framed, batch_size=BATCH, flip=True)
            seen_by[name] = found_by(load_served(root / file, engine=engine), folder)
        quiet = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the command says
        try:
            whole = timed(ways, options.blocks)
            alone = timed(bare, options.blocks)
        finally:
            os.dup2(quiet, 1)
    usually = whole[USUAL] * len(scored) / len(quarter)
    print(f"{'':<28} {'img/s':>7} {'speedup':>8} {'bare img/s':>11} {'of it':>6} {'rank-1':>7} {'index ρ':>8}")
    print(f"{USUAL:<28} {len(scored) / usually:>7.1f} {1:>8.2f} {'':>11} {'':>6} "
          f"{rank1(reference[0], people):>7.4f} {1:>8.4f}")  # fmt: skip
    figures: dict[str, float] = {}
    for name in shown:
        fraction = alone[name] / whole[name]
        correlation = spearman(reference[1], seen_by[name][1])
        found = rank1(seen_by[name][0], people)
        print(f"{name:<28} {len(scored) / whole[name]:>7.1f} {usually / whole[name]:>8.2f} "
              f"{len(scored) / alone[name]:>11.1f} {fraction:>6.2f} {found:>7.4f} {correlation:>8.4f}")  # fmt: skip
        short = name.rpartition(" ")[2]
        figures[f"{short}_images_per_second"] = round(len(scored) / whole[name], 1)
        figures[f"{short}_rank1"], figures[f"{short}_index_spearman"] = round(found, 4), round(correlation, 4)
        figures[f"{short}_fraction_of_network"] = round(fraction, 3)
    figures["onnxruntime_images_per_second"] = round(len(scored) / usually, 1)
    figures["onnxruntime_rank1"] = round(rank1(reference[0], people), 4)
    result = {
        "speedup_over_onnxruntime": round(usually / whole["openvino int8"], 2),
        "bf16_speedup_over_onnxruntime": round(usually / whole["openvino bfloat16"], 2),
        "fraction_of_network": figures["int8_fraction_of_network"],
        **figures,
    }
    give(result, options.json)


if __name__ == "__main__":
    main()
