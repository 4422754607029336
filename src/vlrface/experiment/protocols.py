"""From the options of a command to the protocol of a benchmark."""

from collections.abc import Callable
from typing import Final, get_args

from vlrface.evaluate import (
    BenchmarkProtocol,
    CrossResolution,
    PairVerification,
    RejectionByMeasure,
    Retrieval,
    SCface,
    SurvFaceIdentification,
    SurvFaceVerification,
    TinyFace,
)
from vlrface.experiment.options import BenchmarkName, ProtocolOptions
from vlrface.types import VlrfaceError


def protocol_of(name: BenchmarkName, options: ProtocolOptions) -> BenchmarkProtocol:
    """The protocol of a benchmark.

    Raises:
        VlrfaceError: no benchmark is called so.
    """
    if name not in _PROTOCOLS:
        raise VlrfaceError(f"no benchmark is called {name!r}; there are {', '.join(get_args(BenchmarkName))}")
    return _PROTOCOLS[name](options)


_PROTOCOLS: Final[dict[BenchmarkName, Callable[[ProtocolOptions], BenchmarkProtocol]]] = {
    "tinyface": lambda _: TinyFace(),
    "survface-id": lambda options: SurvFaceIdentification(template=options.template),
    "survface-verif": lambda _: SurvFaceVerification(),
    "scface": lambda options: SCface(variant=options.variant, split_seed=options.split_seed),
    "pairs": lambda _: PairVerification(),
    "cross-resolution": lambda _: CrossResolution(),
    "retrieval": lambda _: Retrieval(),
    "rejection": lambda options: RejectionByMeasure(
        fmrs=options.fmr,
        recompute_threshold=options.recompute_threshold,
        allow_few_impostors=options.allow_few_impostors,
    ),
}
