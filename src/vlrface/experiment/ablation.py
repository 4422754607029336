"""An ablation: named variants of an experiment, some seeds of each, and the variant that all are compared with."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from vlrface.checkpoint import read_card
from vlrface.experiment.check import check
from vlrface.experiment.config import Experiment, made_by_recipe, to_json
from vlrface.train.loop import BEST_NAME, LAST_NAME
from vlrface.types import VlrfaceError

_FOLDER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", re.ASCII)


class Training(NamedTuple):
    """One variant with one seed."""

    variant: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Where its run lies."""
        return out / self.variant / f"seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.variant}/seed{self.seed}"


@dataclass(frozen=True)
class Ablation:
    """What an ablation recipe defines as `ablation`.

    Attributes:
        name: of the ablation.
        variants: experiments by name, in the order of the table's rows. A name is also that of a folder.
        baseline: name of the variant that the others are compared with.
        seeds: how many seeds, from 0, of every variant, or of each by name. The seed of an experiment is replaced.

    Raises:
        VlrfaceError: no variant, a name that is no plain folder name, an unknown baseline, a number of seeds below 1 or
            missing, or an experiment whose settings contradict each other.
    """

    name: str
    variants: Mapping[str, Experiment]
    baseline: str
    seeds: int | Mapping[str, int] = 1

    def __post_init__(self) -> None:
        if not self.variants:
            raise VlrfaceError(f"ablation {self.name!r} has no variants: give at least one experiment by name")
        for variant, experiment in self.variants.items():
            self._check_variant(variant, experiment)
        if self.baseline not in self.variants:
            raise VlrfaceError(
                f"ablation {self.name!r}: the baseline {self.baseline!r} is no variant; there is "
                f"{', '.join(self.variants)}"
            )
        if isinstance(self.seeds, Mapping):
            odd = sorted(set(self.seeds) ^ set(self.variants))
            if odd:
                raise VlrfaceError(
                    f"ablation {self.name!r}: seeds and variants name different things ({', '.join(odd)}): give every "
                    "variant its number of seeds, or one number for all"
                )
        counts = self.seeds.values() if isinstance(self.seeds, Mapping) else (self.seeds,)
        if not all(type(each) is int and each >= 1 for each in counts):
            raise VlrfaceError(f"ablation {self.name!r}: seeds is {self.seeds!r}; give whole numbers from 1")

    def _check_variant(self, variant: str, experiment: Any) -> None:
        if not _FOLDER_NAME.fullmatch(variant):
            raise VlrfaceError(
                f"ablation {self.name!r}: {variant!r} cannot name a folder: take letters, digits and _ . + -, and "
                "begin with a letter or digit"
            )
        if not isinstance(experiment, Experiment):
            raise VlrfaceError(
                f"ablation {self.name!r}: variant {variant} is a {type(experiment).__name__}: give an Experiment, as "
                "load_recipe(PATH) does"
            )
        try:
            check(experiment)
        except VlrfaceError as error:
            raise VlrfaceError(f"ablation {self.name!r}, variant {variant}: {error}") from error

    def seeds_of(self, variant: str) -> int:
        """How many seeds of a variant there are."""
        return self.seeds[variant] if isinstance(self.seeds, Mapping) else self.seeds

    def experiment(self, training: Training) -> Experiment:
        """What a training trains."""
        return replace(self.variants[training.variant], seed=training.seed)

    def trainings(self, variants: Sequence[str] = (), seeds: int | None = None) -> list[Training]:
        """The trainings in the order in which they are made: seed 0 of all variants, then seed 1, and so on.

        So a table that is looked at early compares variants of about as many seeds.

        Args:
            variants: some variants only; none for all.
            seeds: at most so many seeds of each.

        Raises:
            VlrfaceError: an unknown variant, or `seeds` below 1.
        """
        unknown = [variant for variant in variants if variant not in self.variants]
        if unknown:
            raise VlrfaceError(f"no variant is called {', '.join(unknown)}; there is {', '.join(self.variants)}")
        if seeds is not None and seeds < 1:
            raise VlrfaceError(f"--seeds {seeds}: give at least 1")
        counts = {
            variant: min(self.seeds_of(variant), seeds or self.seeds_of(variant))
            for variant in self.variants
            if not variants or variant in variants
        }
        return [Training(v, k) for k in range(max(counts.values())) for v, count in counts.items() if k < count]


def load_ablation(path: Path) -> Ablation:
    """Run a recipe file and take its `ablation`.

    Raises:
        VlrfaceError: there is no such file, it fails, or it makes no `Ablation` named `ablation`.
    """
    return made_by_recipe(path, "ablation", Ablation)


def is_finished(folder: Path, experiment: Experiment) -> bool:
    """Whether a folder holds the finished training of an experiment; such a folder may have been made by hand.

    Settings that the one or the other does not know, because they came with another version, and the experiment's name
    are not compared.

    Raises:
        VlrfaceError: the training is one of another experiment.
    """
    card = read_card(folder / LAST_NAME)
    if card is None:
        return False
    check_configuration(folder, card, experiment)
    done = int(card["epochs_done"]) >= experiment.training.epochs
    return done and (folder / BEST_NAME).is_file()


def check_configuration(folder: Path, card: Mapping[str, Any], experiment: Experiment) -> None:
    """Refuse a checkpoint of another configuration, as `is_finished` compares them.

    Raises:
        VlrfaceError: the training is one of another experiment.
    """
    differences = list(_differences(card["config"], to_json(experiment)))
    if differences:
        raise VlrfaceError(
            f"{folder} holds a training of another configuration ({'; '.join(differences[:3])}): move it away, give "
            "another --out, or put the recipe back as it was"
        )


def _differences(there: Any, asked: Any, where: str = "") -> Iterator[str]:
    """Where two JSON values differ, "path: there A, in the recipe B"; keys of one side only are left out."""
    if isinstance(there, dict) and isinstance(asked, dict):
        one, other = cast("dict[str, Any]", there), cast("dict[str, Any]", asked)
        for key in one:
            if key in other and (where or key != "name"):
                yield from _differences(one[key], other[key], f"{where}.{key}".lstrip("."))
    elif isinstance(there, list) and isinstance(asked, list) and len(there) == len(asked):  # pyright: ignore[reportUnknownArgumentType]
        for place, (one, other) in enumerate(zip(cast("list[Any]", there), cast("list[Any]", asked), strict=True)):
            yield from _differences(one, other, f"{where}[{place}]")
    elif there != asked:
        yield f"{where}: there {there!r}, in the recipe {asked!r}"
