"""The command `vlrface`: names to functions, and errors to one line and an exit code."""

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any

import tyro

from vlrface import __version__
from vlrface.command import calibrating, detecting, export, gallery, measuring, pictures, serve, training

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": training.demo,
    "train": training.train,
    "runs": training.runs,
    "encode": pictures.encode,
    "evaluate": measuring.evaluate,
    "compare": measuring.compare,
    "ablate": training.ablate,
    "score": pictures.score,
    "detect": detecting.detect,
    "unrecognizable": measuring.unrecognizable,
    "data": measuring.data,
    "export": export.export,
    "calibrate": calibrating.calibrate,
    "gallery": gallery.gallery,
    "serve": serve.serve,
    "keys": serve.keys,
}


def main() -> None:
    """Run a command; an expected error is one line on standard error and exit code 1."""
    if sys.argv[1:] == ["--version"]:
        print(f"vlrface {__version__}")
        return
    if isinstance(sys.stdout, TextIOWrapper):  # a file name that is not UTF-8 must not end a command when it is printed
        sys.stdout.reconfigure(errors="backslashreplace")
    if not sys.stderr.isatty():  # a log: tqdm, not imported yet, shall write a line now and then only
        os.environ.setdefault("TQDM_MININTERVAL", "30")
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="vlrface",
            description="Recognise very-low-resolution faces (16 to 32 pixels), and know which ones can be recognised.",
        )
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        sys.exit(_explain(error))
    except KeyboardInterrupt as error:
        print("stopped", file=sys.stderr)
        sys.exit(143 if type(error).__name__ == "TerminatedError" else 130)


def _explain(error: Exception) -> int:
    """Print an expected error; raise any other again."""
    from vlrface.types import VlrfaceError

    if type(error).__name__ == "TrainingInterruptedError":
        print(error, file=sys.stderr)
        return getattr(error, "exit_code", 130)
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        print(f'error: this command needs {error.name}: pip install "vlrface[{_EXTRAS[error.name]}]"', file=sys.stderr)
        return 1
    if isinstance(error, VlrfaceError | OSError) or type(error).__name__ == "SampleError":  # its module needs torch
        print(f"error: {error}", file=sys.stderr)
        return 1
    raise error


_EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "matplotlib": "report",
    "jinja2": "report",
    "onnxruntime": "onnx",
    "openvino": "score",
    "onnx": "export",
    "onnxscript": "export",
    "nncf": "export",
    "pyarrow": "parquet",
    "scipy": "cluster",
    "sklearn": "cluster",
    "faiss": "cluster",
    "fastapi": "score",
    "python_multipart": "score",
    "prometheus_client": "score",
    "uvicorn": "score",
    "cryptography": "score",
    "ray": "ray",
}


if __name__ == "__main__":
    main()
