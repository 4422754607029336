"""The recognition heads that a recipe can choose: a configuration of each, and the head that it means.

The fields of a configuration are the settings of its head, by name.
"""

from dataclasses import dataclass, fields
from typing import Final

from vlrface.losses.adaptive_heads import AdaFace, CurricularFace, MagFace, MVSoftmax
from vlrface.losses.head import Head
from vlrface.losses.heads import ArcFace, CosFace, CrossEntropy, NormFace
from vlrface.losses.margins import BeyondPi, Gradient


@dataclass(frozen=True)
class CrossEntropyConfig:
    """Cross entropy over a linear layer with bias, nothing normalised.

    Attributes:
        from_teacher: start each prototype at the mean of the teacher's embeddings of its class, not at random.
    """

    from_teacher: bool = False


@dataclass(frozen=True)
class NormFaceConfig:
    """NormFace; see `vlrface.losses.margins.normface`.

    Attributes:
        scale: s.
        from_teacher: start each prototype at the mean of the teacher's embeddings of its class, not at random.
    """

    scale: float = 64.0
    from_teacher: bool = False


@dataclass(frozen=True)
class CosFaceConfig:
    """CosFace; see `vlrface.losses.margins.cosface`.

    Attributes:
        scale: s.
        margin: m, a difference of cosines.
        from_teacher: start each prototype at the mean of the teacher's embeddings of its class, not at random.
    """

    scale: float = 64.0
    margin: float = 0.35
    from_teacher: bool = False


@dataclass(frozen=True)
class ArcFaceConfig:
    """ArcFace; see `vlrface.losses.margins.arcface`.

    Attributes:
        scale: s.
        margin_rad: m, in radians.
        gradient: how it crosses the margin.
        from_teacher: start each prototype at the mean of the teacher's embeddings of its class, not at random.
    """

    scale: float = 64.0
    margin_rad: float = 0.5
    gradient: Gradient = "differentiated"
    from_teacher: bool = False


@dataclass(frozen=True)
class MVSoftmaxConfig:
    """MV-Softmax, its AM form; see `vlrface.losses.adaptive_margins.mv_softmax`.

    Attributes:
        scale: s.
        margin: m, a difference of cosines.
        hardness: t, of negatives that beat the margin.
        easy: no margin on a true class with a cosine of 0 or less.
        from_teacher: start each prototype at the mean of the teacher's embeddings of its class, not at random.
    """

    scale: float = 32.0
    margin: float = 0.35
    hardness: float = 1.12
    easy: bool = True
    from_teacher: bool = False


@dataclass(frozen=True)
class CurricularFaceConfig:
    """CurricularFace; see `vlrface.losses.adaptive_margins.curricularface`.

    Attributes:
        scale: s.
        margin_rad: m, in radians.
        momentum: of the running mean t of the true class's cosine.
        from_teacher: start each prototype at the mean of the teacher's embeddings of its class, not at random.
    """

    scale: float = 64.0
    margin_rad: float = 0.5
    momentum: float = 0.01
    from_teacher: bool = False


@dataclass(frozen=True)
class MagFaceConfig:
    """MagFace; see `vlrface.losses.adaptive_heads.MagFace`. The norm of an embedding becomes a quality.

    Attributes:
        scale: s.
        lowest_norm: l_a; the defaults fit embeddings of 512 values.
        highest_norm: u_a.
        lowest_margin_rad: l_m, in radians, at the lowest norm.
        highest_margin_rad: u_m, at the highest.
        magnitude_weight: λ, of the regularizer.
        beyond_pi: the true class far from its prototype.
        from_teacher: start each prototype at the mean of the teacher's embeddings of its class, not at random.
    """

    scale: float = 64.0
    lowest_norm: float = 10.0
    highest_norm: float = 110.0
    lowest_margin_rad: float = 0.45
    highest_margin_rad: float = 0.8
    magnitude_weight: float = 35.0
    beyond_pi: BeyondPi = "easy"
    from_teacher: bool = False


@dataclass(frozen=True)
class AdaFaceConfig:
    """AdaFace; see `vlrface.losses.adaptive_heads.AdaFace`.

    Attributes:
        scale: s.
        margin: m.
        concentration: h.
        momentum: of the running mean and deviation of the norms.
        first_mean: of the norms, before any batch.
        first_deviation: likewise.
        highest_norm: norms are clamped to it.
        gradient: how it crosses the margin.
        from_teacher: start each prototype at the mean of the teacher's embeddings of its class, not at random.
    """

    scale: float = 64.0
    margin: float = 0.4
    concentration: float = 0.333
    momentum: float = 0.01
    first_mean: float = 20.0
    first_deviation: float = 100.0
    highest_norm: float = 100.0
    gradient: Gradient = "differentiated"
    from_teacher: bool = False


HeadConfig = (
    CrossEntropyConfig
    | NormFaceConfig
    | CosFaceConfig
    | ArcFaceConfig
    | MVSoftmaxConfig
    | CurricularFaceConfig
    | MagFaceConfig
    | AdaFaceConfig
)
"""Which head, by type. Every one has `from_teacher`."""

_HEADS: Final[dict[type[HeadConfig], type[Head]]] = {
    CrossEntropyConfig: CrossEntropy,
    NormFaceConfig: NormFace,
    CosFaceConfig: CosFace,
    ArcFaceConfig: ArcFace,
    MVSoftmaxConfig: MVSoftmax,
    CurricularFaceConfig: CurricularFace,
    MagFaceConfig: MagFace,
    AdaFaceConfig: AdaFace,
}


def build_head(config: HeadConfig, dim: int, classes: int, seed: int = 0) -> Head:
    """The head that a configuration means, with random first prototypes.

    Args:
        config: of any head.
        dim: length of an embedding.
        classes: number of identities.
        seed: of the first prototypes.

    Raises:
        VlrfaceError: a setting outside its range.
    """
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "from_teacher"}
    return _HEADS[type(config)](dim, classes, **settings, seed=seed)
