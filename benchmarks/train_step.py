"""Speed of a training step on this machine: the strided depthwise convolutions of MobileFaceNet in two ways.

    python benchmarks/train_step.py [--side 64] [--batch 128] [--json FILE]

Both ways give the same values (see `vlrface.models.mobilefacenet`); each is compiled and run in turn in one process,
and the median of the steps is taken. The last line is JSON: `images_per_second`, `strided_images_per_second` and
`speedup`.
"""

import argparse
import platform
import statistics
import time
from pathlib import Path

import torch
from result import give

from vlrface.models.mobilefacenet import ConvolutionUnit, MobileFaceNet, mobilefacenet_input
from vlrface.models.recognizer import Recognizer


def step_seconds(side: int, batch: int, steps: int) -> float:
    """Median seconds of a forward and backward pass under bf16, after two for compiling and warming up."""
    torch.compiler.reset()
    network = Recognizer(MobileFaceNet(mobilefacenet_input(side, side))).train()
    forward = torch.compile(network)
    crops = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seconds: list[float] = []
    for _ in range(steps + 2):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            output = forward(crops)
        output.embedding.square().mean().backward()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[2:])


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    ours = step_seconds(options.side, options.batch, options.steps)
    shipped = ConvolutionUnit._convolved
    ConvolutionUnit._convolved = lambda self, x: self.conv(x)
    try:
        strided = step_seconds(options.side, options.batch, options.steps)
    finally:
        ConvolutionUnit._convolved = shipped
    figures = {
        "images_per_second": round(options.batch / ours, 1),
        "strided_images_per_second": round(options.batch / strided, 1),
        "speedup": round(strided / ours, 2),
        "side": options.side,
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    print(f"{'depthwise convolution, stride 2':<44}{'images per second':>18}")
    print(f"{'every second value of the plain one (ours)':<44}{figures['images_per_second']:>18}")
    print(f"{'strided, as PyTorch has it':<44}{figures['strided_images_per_second']:>18}")
    give(figures, options.json)


if __name__ == "__main__":
    main()
