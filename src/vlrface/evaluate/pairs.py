"""Verification on a list of pairs: LFW and its kin, QMUL-SurvFace."""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from jaxtyping import Bool, Float32, Int
from numpy import ndarray

from vlrface.evaluate.bands import measure_tpr_by_band
from vlrface.evaluate.findings import Findings, embeddings_of, index_of
from vlrface.evaluate.matching import with_rows
from vlrface.evaluate.protocol import BenchmarkProtocol
from vlrface.evaluate.recognizability import count_verdicts, measure_index_by_size
from vlrface.evaluate.rejection import FMRS, measure_error_versus_reject
from vlrface.evaluate.verification import FARS, measure_verification
from vlrface.metrics.folds import dealt_folds, decide_by_folds, resampled_accuracy
from vlrface.metrics.pairs import listed_pairs, listed_scores
from vlrface.metrics.resampled import PairResamples
from vlrface.types import Faces, Pairing, VlrfaceError

_FOLDS: Final = 10


@dataclass(frozen=True)
class PairVerification(BenchmarkProtocol):
    """Verification on the pairs of a list: `faces.pairing`. Faces in no pair are ignored, whatever their role.

    A genuine pair with a face that could not be encoded is a miss at every threshold. Such an impostor pair must not
    look like a correct rejection: it is left out of every figure and counted in "impostor_pairs_not_encoded".

    "accuracy" is the mean over folds, each judged with the threshold that is best on the others; folds are those of the
    list, or else ten that are dealt (`metrics.folds.dealt_folds`: genuine pairs in ten consecutive stretches of the
    list, impostor pairs likewise). In its interval the thresholds stay those found on the data.

    Resamples draw people: the identities of the faces, as the reader of the list joined them; a face of unknown
    identity is a person alone.

    Figures: "tpr@far=F", "auc", "eer", "accuracy"; by size and by fifth of recognizability (see `bands`)
    "tpr@far=0.01,size=A-B", "tpr@far=0.01,recognizability=Kof5"; with recognizability, and where enough impostor pairs
    decide them, "fnmr@fmr=F", "pauc@fmr=F[,reject=R][,mode=images]", "normalised_pauc@…"; "recognizability@size=A-B",
    "spearman_recognizability_size". Curves: "roc", "edc@fmr=F[,mode=images]", "recognizability_by_size". Counts:
    "accepted_impostors@far=F" says how many impostor pairs a threshold rests on; "impostor_pairs_of_one_person" how
    many the list contradicts itself in; "folds", and "accuracy_pairs" that they hold.

    Attributes:
        fars: false accept rates of the figures.
    """

    name: ClassVar[str] = "pairs"
    needs_pairs: ClassVar[bool] = True

    fars: tuple[float, ...] = FARS

    def measure(self, faces: Faces, found: Findings) -> None:
        """Measure the listed pairs.

        Raises:
            VlrfaceError: no pairs are listed, or none of one kind, a genuine pair has faces of two people, or only some
                pairs have a fold.
        """
        test = _in_pairs(faces, self.name)
        embeddings, pairing = embeddings_of(test), _pairing_of(test, self.name)
        pairs = listed_pairs(embeddings, test.identities, pairing)
        for kind, some in (("genuine", pairing.same.any()), ("an impostor pair", not pairing.same.all())):
            if not some:
                raise VlrfaceError(f"the {self.name} protocol: none of the {len(pairing)} listed pairs is {kind}")
        found.counts.update(
            faces=len(test),
            face_failures=int(np.count_nonzero(~test.encoded)),
            people=len(np.unique(test.identities[test.identities >= 0])) + int(np.count_nonzero(test.identities < 0)),
            impostor_pairs_of_one_person=_contradictions(test.identities, pairing),
        )
        drawn = measure_verification(found, pairs, fars=self.fars)
        if drawn is None:
            found.left_out.append("accuracy: no impostor pair of two encoded faces")
            return
        scores = listed_scores(embeddings, pairing)
        _measure_accuracy(found, pairing, pairing.same | np.isfinite(scores), scores, drawn)
        measure_tpr_by_band(found, pairs, drawn, test)
        if not np.isfinite(index_of(test)).any():
            found.left_out.append("recognizability: the faces have none")
            return
        for fmr in FMRS:
            measure_error_versus_reject(found, pairs, drawn, index_of(test), fmr)
        measure_index_by_size(found, test)
        count_verdicts(found, test, {role: f"{role}s" for role in map(str, np.unique(test.roles))})

    def title(self, faces: Faces) -> str:
        """How many pairs of each kind."""
        pairing = _pairing_of(faces, self.name)
        genuine = int(np.count_nonzero(pairing.same))
        return f"Verification of {genuine:,} genuine and {len(pairing) - genuine:,} impostor pairs"


@dataclass(frozen=True)
class SurvFaceVerification(PairVerification):
    """QMUL-SurvFace verification: `PairVerification` at its own false accept rates.

    Its list has 5,320 pairs of each kind, so that "tpr@far=0.001" rests on five impostor pairs: read its interval. The
    mean accuracy that publications state is taken as the mean over ten folds, and as the list has none they are dealt.
    """

    name: ClassVar[str] = "survface-verif"

    fars: tuple[float, ...] = (0.3, 0.1, 0.01, 0.001)


def _pairing_of(faces: Faces, name: str) -> Pairing:
    if faces.pairing is None or not len(faces.pairing):
        raise VlrfaceError(
            f"the {name} protocol needs faces with listed pairs, these have none. Encode a pair list: a text file of "
            "pairs, a .bin file, or QMUL-SurvFace's verification set"
        )
    return faces.pairing


def _in_pairs(faces: Faces, name: str) -> Faces:
    """The faces that occur in a pair: others would be drawn in resamples, and say nothing."""
    pairing = _pairing_of(faces, name)
    return with_rows(faces, np.unique(np.concatenate([pairing.first, pairing.second])))


def _contradictions(identities: Int[ndarray, " n"], pairing: Pairing) -> int:
    first, second = identities[pairing.first], identities[pairing.second]
    return int(np.count_nonzero(~pairing.same & (first == second) & (first >= 0)))


def _measure_accuracy(
    found: Findings,
    pairing: Pairing,
    counted: Bool[ndarray, " m"],
    scores: Float32[ndarray, " m"],
    drawn: PairResamples,
) -> None:
    """Figure "accuracy" over the counted pairs: all genuine ones, and impostor ones that were encoded."""
    same = pairing.same[counted]
    _check_folds(pairing)
    try:
        fold = pairing.fold if (pairing.fold >= 0).all() else dealt_folds(pairing.same, _FOLDS)
        decisions = decide_by_folds(scores[counted], same, fold[counted])
    except VlrfaceError as error:
        found.left_out.append(f"accuracy: {error}")
        return
    faces = np.column_stack([pairing.first, pairing.second])[counted]
    samples = resampled_accuracy(decisions, same, faces, drawn)
    found.counts["folds"], found.counts["accuracy_pairs"] = len(decisions.threshold), int(counted.sum())
    found.add("accuracy", drawn.sampled(np.array([decisions.accuracy().mean]), samples))


def _check_folds(pairing: Pairing) -> None:
    listed = int(np.count_nonzero(pairing.fold >= 0))
    if 0 < listed < len(pairing):
        raise VlrfaceError(f"{listed} of {len(pairing)} listed pairs have a fold: give one to all, or -1 to all")
