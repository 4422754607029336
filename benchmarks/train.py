"""Speed of a training step on this machine, beside a plain step as arcface_torch takes it, in the same run.

    python benchmarks/train.py [--trunks mobilefacenet iresnet18] [--device auto] [--steps 5] [--batch N] [--json FILE]

The plain step: float32, default memory format, eager, the same trunk and batch; ArcFace over one linear layer with the
margin put in place, gradient clipping at 5, SGD, and the loss read at each step. Ours: `vlrface.train`'s own step with
its defaults (precision "auto", channels last, compiled), for plain ArcFace and for the full method: regression,
attention, diversion, projection, distillation, averaged weights, and the share of measuring 256 unrecognizable faces
every 6,400 pictures, as `recipes/lfw_vlr.py` has it (50 steps of 128). All ways are timed in turn, a block of steps
each, and medians of the blocks are taken; input is 112 x 112 pixels.

The last line is JSON: `<trunk>_speedup` (plain over ArcFace), `full_over_arcface` (the worst of the trunks; by trunk
beside it), and on CUDA `mfu`: of IResNet-50's ArcFace step, floating-point operations as torch counts them, per second,
over those of the largest bfloat16 matrix product measured here. `waiting` is the share of time that our ArcFace step
waits for data when real worker processes augment for it; `waiting_on_device` when they draw and the device augments
(CUDA only).
"""

import argparse
import contextlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from result import give
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vlrface.data.batches import Batch, Batches, Part
from vlrface.data.cache import crops_in_memory
from vlrface.images.augment import Chain, LooseCut, RandomDegradation
from vlrface.images.degrade import SURVEILLANCE
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import MethodObjective, ObjectiveWeights
from vlrface.models.attention import PerceptibilityAttention, spatial_kernel
from vlrface.models.backbone import Backbone
from vlrface.models.iresnet import iresnet
from vlrface.models.mobilefacenet import ConvolutionUnit, MobileFaceNet, mobilefacenet_input
from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.models.recognizer import Recognizer
from vlrface.train import Ingredients, TrainingOptions, Validation
from vlrface.train.device import chosen_device, computing_on
from vlrface.train.feeding import Feeder
from vlrface.train.journal import Journal
from vlrface.train.precision import resolved
from vlrface.train.running import Loop
from vlrface.train.state import RunState
from vlrface.train.stopping import StopRequest

SIDE = 112
CLASSES = 10_000
UI_COUNT, UI_EVERY = 256, 6400
TRUNKS: dict[str, Callable[[], Backbone]] = {
    "mobilefacenet": lambda: MobileFaceNet(mobilefacenet_input(SIDE, SIDE)),
    "iresnet18": lambda: iresnet(18),
    "iresnet50": lambda: iresnet(50),
}
ARCFACE = ObjectiveWeights(regression=0.0, diversion=0.0, projection=0.0)
FULL = ObjectiveWeights(regression=5.0, diversion=0.5, projection=10.0, distillation=20.0, diversion_from_epoch=0)


@dataclass
class Fixed:
    """A loader that always has the same batch at hand."""

    batch: Batch
    steps_per_epoch: int = 1_000_000

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batch, again and again."""
        del epoch
        return (self.batch for _ in range(start, self.steps_per_epoch))


def crops(count: int) -> np.ndarray:
    """Pictures of noise."""
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def plain_step(make: Callable[[], Backbone], batch: Batch, device: torch.device) -> Callable[[], None]:
    """A step as arcface_torch takes it, in float32."""
    trunk = make().train().to(device)
    head = nn.Parameter(torch.empty(CLASSES, trunk.embedding_dim, device=device).normal_(0, 0.01))
    optimizer = torch.optim.SGD([*trunk.parameters(), head], lr=0.02, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        pixels = torch.from_numpy(batch.images).to(device)
        labels = torch.from_numpy(batch.labels).to(device)
        images = ((pixels.permute(0, 3, 1, 2).float() - 127.5) / 127.5).contiguous()
        embedding = nn.functional.normalize(trunk(images))
        cosine = nn.functional.linear(embedding, nn.functional.normalize(head)).clamp(-1, 1)
        with torch.no_grad():
            own = cosine[torch.arange(len(labels), device=device), labels]
        logits = cosine.clone()
        with torch.no_grad():
            logits[torch.arange(len(labels), device=device), labels] = torch.cos(own.arccos() + 0.5)
        loss = nn.functional.cross_entropy(logits * 64, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trunk.parameters(), 5)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return step


@contextlib.contextmanager
def strided() -> Iterator[None]:
    """Strided depthwise convolutions as PyTorch has them, not as ours avoid them on the CPU."""
    shipped = ConvolutionUnit._convolved
    ConvolutionUnit._convolved = lambda self, x: self.conv(x)
    try:
        yield
    finally:
        ConvolutionUnit._convolved = shipped


@dataclass
class Ours:
    """Our own training step, and the measuring of unrecognizable faces."""

    step: Callable[[], None]
    measure: Callable[[], None]
    close: Callable[[], None]


def our_step(
    make: Callable[[], Backbone],
    batch: Batch,
    device: torch.device,
    *,
    full: bool,
    compiled: bool,
    folder: Path,
    uis: int,
) -> Ours:
    """The step of `vlrface.train` with its defaults, without its savings and validations."""
    folder.mkdir()
    trunk = make()
    recognizer = Recognizer(
        trunk,
        PerceptibilityRegression(trunk.feature_shape, dropout=0.2) if full else None,
        PerceptibilityAttention(trunk.feature_shape[0], kernel=spatial_kernel(trunk.feature_shape)) if full else None,
    ).to(device)
    objective = MethodObjective(ArcFace(trunk.embedding_dim, CLASSES, 64.0, 0.5), FULL if full else ARCFACE)
    teacher = torch.randn(len(batch.rows), trunk.embedding_dim, generator=torch.Generator().manual_seed(0))
    never = 1_000_000
    options = TrainingOptions(
        epochs=1, batch_size=len(batch.rows), trunk_rate=0.002, heads_rate=0.002, prototypes_rate=0.01,
        average_decay=0.998 if full else None, refresh_every=never, save_every=never, compiled=compiled,
    )  # fmt: skip
    given = Ingredients(
        recognizer=recognizer,
        objective=objective.to(device),
        batches=Fixed(batch),
        teachers=(teacher if full else None,),
        unrecognizable=torch.from_numpy(crops(uis)).to(device) if full else None,
        validate=lambda *_: Validation({}, 0.0, {}),
    )
    state = RunState(recognizer, given.objective, options, {})
    loop = Loop(given, options, folder, state, 0, never, never, StopRequest())
    journal = Journal(folder, start_step=0, steps=never, batch_size=options.batch_size, progress=False)
    feeder = Feeder(given.batches.epoch(0), given.teachers, device)
    fed = iter(feeder)

    def step() -> None:
        loop.step(next(fed), journal, feeder.waited)

    def close() -> None:
        feeder.__exit__(None, None, None)
        journal.__exit__(None, None, None)

    return Ours(step, loop.refresh, close)


def waiting_share(loaded: Batches, ours: Ours, device: torch.device, steps: int) -> float:
    """Share of time that steps wait for data while worker processes, or the device too, augment."""
    began = 0.0
    with Feeder(loaded.epoch(0), (None,), device, height=SIDE, width=SIDE) as feeder:
        for number, _ in enumerate(feeder):
            if number == 2:  # the workers have started
                began, feeder.waited = time.perf_counter(), 0.0
            if number == steps + 2:
                break
            ours.step()
        settle(device)
        return feeder.waited / (time.perf_counter() - began)


def settle(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def medians(
    ways: dict[str, Callable[[], None]], device: torch.device, blocks: int, block: int, warm: int = 2
) -> dict[str, float]:
    """Seconds per step of each way: the median of blocks, the ways in turn."""
    for step in ways.values():
        for _ in range(warm):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(blocks):
        for name, step in ways.items():
            settle(device)
            began = time.perf_counter()
            for _ in range(block):
                step()
            settle(device)
            seconds[name].append((time.perf_counter() - began) / block)
    return {name: statistics.median(each) for name, each in seconds.items()}


def operations(make: Callable[[], Backbone], batch: Batch, device: torch.device) -> int:
    """Floating-point operations of an ArcFace step, forward and backward, as torch counts them."""
    trunk = make().train().to(device)
    head = torch.zeros(CLASSES, trunk.embedding_dim, device=device, requires_grad=True)
    part = torch.from_numpy(batch.images[:8]).to(device)
    counter = FlopCounterMode(display=False)
    with counter:
        nn.functional.linear(trunk(trunk.input.normalised(part)), head).sum().backward()
    return counter.get_total_flops() * len(batch.images) // len(part)


def ceiling(device: torch.device) -> float:
    """Floating-point operations per second of the largest bfloat16 product here."""
    best = 0.0
    for side in (4096, 8192):
        a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
        for _ in range(3):
            a @ b
        settle(device)
        began = time.perf_counter()
        for _ in range(10):
            a @ b
        settle(device)
        best = max(best, 10 * 2 * side**3 / (time.perf_counter() - began))
    return best


def machine(device: torch.device) -> str:
    """What was measured on."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {os.cpu_count()} cores"
    return f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, {_cpu()}"


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({torch.backends.cpu.get_cpu_capability()})"
    return platform.processor()


def loader(batch_size: int, workers: int, steps: int, *, drawn: bool) -> Batches:
    """Aligned pictures, cut loosely, degraded and framed as the recipes do it."""
    chain = Chain((LooseCut(), RandomDegradation(SURVEILLANCE), RandomFraming(Framing(1.2, 0.44), SIDE, SIDE)))
    count = 1024
    part = Part(crops_in_memory(list(crops(count))), np.arange(count), chain, copies=(steps + 8) * batch_size / count)
    return Batches([part], batch_size, SIDE, SIDE, seed=0, workers=workers, drawn=drawn)


def measure(name: str, options: argparse.Namespace, device: torch.device, folder: Path) -> dict[str, float]:
    """Seconds per step of the three ways, and of one measuring of the unrecognizable faces."""
    make = TRUNKS[name]
    rng = np.random.default_rng(0)
    size, steps = options.batch, options.steps * options.block
    batch = Batch(crops(size), rng.integers(0, CLASSES, size), np.zeros(size, np.int64), np.arange(size))
    arcface, full = (
        our_step(make, batch, device, full=full, compiled=not options.eager, folder=folder / kind, uis=options.uis)
        for kind, full in {f"{name}-arcface": False, f"{name}-full": True}.items()
    )
    full.measure()
    plain = plain_step(make, batch, device)

    def as_shipped() -> None:
        with strided():
            plain()

    with computing_on(device):
        ours = medians({"arcface": arcface.step, "full": full.step}, device, options.steps, options.block)
        refresh = medians({"measure": full.measure}, device, 3 if device.type == "cuda" else 1, 1, 0)["measure"]
        waited = {
            name: waiting_share(loader(size, options.workers, steps, drawn=drawn), arcface, device, steps)
            for name, drawn in {"waiting": False, "waiting_on_device": True}.items()
            if not drawn or device.type == "cuda"
        }
    arcface.close()
    full.close()
    found = {**ours, "measure": refresh, **waited}
    found |= medians({"plain": as_shipped}, device, max(2, options.steps // 2), options.block, 1)
    if device.type == "cuda":
        rate = operations(make, batch, device) / ours["arcface"]
        found |= {"teraflops": rate / 1e12, "mfu": rate / ceiling(device)}
    return found


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trunks", nargs="+", choices=list(TRUNKS), help="default: iresnet50 on CUDA, the others on the CPU"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, help="default: 32 on the CPU, 256 on CUDA")
    parser.add_argument("--steps", type=int, help="timed blocks of each way; default: 3 on the CPU, 6 on CUDA")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) - 2), help="that augment")
    parser.add_argument("--uis", type=int, default=UI_COUNT, help="unrecognizable faces that are measured")
    parser.add_argument("--eager", action="store_true", help="do not compile ours")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = chosen_device(options.device)
    on_cuda = device.type == "cuda"
    names = options.trunks or (["iresnet50"] if on_cuda else ["mobilefacenet", "iresnet18"])
    torch.backends.cudnn.benchmark = on_cuda  # the plain step has it too, as arcface_torch does
    options.batch = options.batch or (256 if on_cuda else 32)
    options.steps = options.steps or (6 if on_cuda else 3)
    options.block = 10 if on_cuda else 1
    precision = resolved("auto", device)
    print(f"{machine(device)}, torch {torch.__version__}, batch {options.batch}, ours in {precision}")
    columns = ("plain", "ArcFace", "full", "UIs", "speedup", "full/arc", "waiting")
    print(f"{'trunk':16}" + "".join(f"{column:>10}" for column in columns))
    figures: dict[str, object] = {}
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            torch.compiler.reset()
            found = measure(name, options, device, Path(folder))
            speedup = found["plain"] / found["arcface"]
            ratios[name] = (found["full"] + found["measure"] * options.batch / UI_EVERY) / found["arcface"]
            times = "".join(f"{1000 * found[k]:8.0f}ms" for k in ("plain", "arcface", "full", "measure"))
            print(f"{name:16}{times}{speedup:10.2f}{ratios[name]:10.3f}{found['waiting']:10.3f}", flush=True)
            figures[f"{name}_speedup"] = round(speedup, 2)
            figures[f"{name}_images_per_second"] = round(options.batch / found["arcface"], 1)
            if name == "iresnet50" and on_cuda:
                figures |= {"mfu": round(found["mfu"], 3), "teraflops": round(found["teraflops"], 1)}
            figures |= {f"{name}_{k}": round(v, 3) for k, v in found.items() if k.startswith("waiting")}
    figures |= {
        "full_over_arcface": round(max(ratios.values()), 3),
        "full_over_arcface_by_trunk": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "batch": options.batch,
        "unrecognizable": options.uis,
        "side": SIDE,
        "classes": CLASSES,
        "precision": precision,
        "compiled": not options.eager,
        "load_average": os.getloadavg()[0],
        "machine": machine(device),
    }
    give(figures, options.json)


if __name__ == "__main__":
    main()
