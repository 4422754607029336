"""Where a run computes: the device by its name, and what makes float32 fast there without harm."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager

import torch

from vlrface.train.ranks import expected, local_rank
from vlrface.types import VlrfaceError


def chosen_device(name: str) -> torch.device:
    """The device of that name.

    Args:
        name: "auto" (CUDA if there is one, else the CPU), "cpu", "cuda" (the current one; under torchrun the one of
            the process's number on its machine) or "cuda:N".

    Raises:
        VlrfaceError: there is no such device here.
    """
    if name == "cpu" or (name == "auto" and not _cuda_works()):
        return torch.device("cpu")
    if not _cuda_works():
        built = "is built without CUDA" if torch.version.cuda is None else "finds no CUDA device"
        raise VlrfaceError(
            f"training.device is {name!r}, but torch {torch.__version__} {built} here: set it to auto or cpu, "
            "or install torch with CUDA beside a working driver (`nvidia-smi` must list the device)"
        )
    count = torch.cuda.device_count()
    # Of several processes on a machine each has a device of its own.
    own = local_rank() if expected().size > 1 else torch.cuda.current_device()
    index = int(name.removeprefix("cuda:")) if name.startswith("cuda:") else own
    if index >= count:
        raise VlrfaceError(
            f"training.device is {name!r}, but there are {count} CUDA devices: cuda:0 to cuda:{count - 1}"
        )
    return torch.device("cuda", index)


def _cuda_works() -> bool:
    with warnings.catch_warnings():  # a driver that is too old is said by the error, or does not matter
        warnings.simplefilter("ignore")
        return torch.cuda.is_available()


@contextmanager
def computing_on(device: torch.device) -> Generator[None]:
    """The device as the current one, with its fast settings, for as long as a run lasts; nothing changes for the CPU.

    On CUDA, float32 products may be taken in TF32 (10 bits of mantissa, 8 times as fast), as convolutions are by
    torch's own default; `exact_products` keeps the losses out of it. Convolutions take the fastest of their algorithms,
    tried at the first step.
    """
    if device.type != "cuda":
        yield
        return
    precision, benchmark = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    try:
        with torch.cuda.device(device):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def exact_products(device: torch.device) -> Generator[None]:
    """Full float32 products, for losses: TF32 would round each cosine to 3 digits, and the scale multiplies that."""
    if device.type != "cuda":
        yield
        return
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
