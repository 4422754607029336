"""Commands that train: `vlrface demo`, `train`, `runs`, `ablate`."""

from pathlib import Path

import tyro


def demo(
    out: Path = Path("runs/demo"), figures: Path | None = None, only_report: bool = False, quiet: bool = False
) -> None:
    """Train, measure and report on built-in faces; needs no data and about six minutes on two cores.

    Args:
        out: Folder for checkpoints, log and report.
        figures: Folder for the figures as SVG and PDF, fit for a paper.
        only_report: Train nothing; measure and draw again what the folder holds.
        quiet: No progress bars.
    """
    from vlrface.experiment.demo import run_demo

    run_demo(out, figures=figures, only_report=only_report, progress=not quiet)


def train(
    recipe: tyro.conf.Positional[Path],
    out: Path | None = None,
    data: Path = Path("data"),
    cache: Path = Path("cache"),
    seed: int | None = None,
    set: tuple[str, ...] = (),  # noqa: A002 (the name of the flag)
    hook: str | None = None,
    quiet: bool = False,
) -> None:
    """Train what a recipe describes, or go on with a run that was stopped.

    Example: vlrface train recipes/lfw_vlr.py --data DIR --out runs/lfw_vlr

    Args:
        recipe: Python file that defines `experiment`; see recipes/.
        out: Folder of the run; default runs/NAME. If it holds a stopped run, that run goes on.
        data: Folder to which the recipe's paths are relative.
        cache: Folder for decoded crops; may be deleted at any time.
        seed: Another seed than the recipe's.
        set: Replace fields of the recipe, e.g. --set training.epochs=3 objective.weights.diversion=0.
        hook: MODULE:FUNCTION that gets every line of the log, e.g. vlrface.train.hooks:wandb or
            vlrface.train.hooks:mlflow.
        quiet: No progress bars.
    """
    from vlrface.experiment.training import run_training

    run_training(recipe, out, data, cache, seed=seed, assignments=set, hook=hook, progress=not quiet)


def runs(
    folder: tyro.conf.Positional[Path] = Path("runs"),
    sort: str | None = None,
    figures: tuple[str, ...] = (),
    json: Path | None = None,
) -> None:
    """List the runs in a folder and below: how each stands, what it reached, how long it took.

    Example: vlrface runs runs --sort tinyface:rank1

    Figures are those of the best validation on held-out training identities, and as BENCHMARK:FIGURE those that
    `vlrface evaluate` left in the run's folder. The runs of an ablation stand together. Damaged runs are named.

    Args:
        folder: Where to look.
        sort: Figure to sort by, best first; or began, last (written) or seconds, most first.
        figures: Which figures to show; default those of the validation and the first of each benchmark.
        json: File for all that is known of each run.
    """
    from vlrface.experiment.runs import list_runs

    list_runs(folder, sort=sort, json_path=json, figures=figures)


def ablate(
    recipe: tyro.conf.Positional[Path],
    out: Path,
    data: Path = Path("data"),
    cache: Path = Path("cache"),
    benchmark: tuple[str, ...] = (),
    variants: tuple[str, ...] = (),
    seeds: int | None = None,
    jobs: int = 1,
    held_out: bool = True,
    figures: tuple[str, ...] = (),
    resamples: int = 1000,
    bootstrap_seed: int = 0,
    only_table: bool = False,
    quiet: bool = False,
) -> None:
    """Train variants of an experiment with several seeds each, measure them, and write one table that compares them.

    Example: vlrface ablate recipes/study/rows.py --data DATA --out runs/rows --jobs 2
    --benchmark tinyface=DATA/lfw-vlr/tinyface scface=DATA/lfw-vlr/scface

    The same command goes on after a stop or a kill: finished trainings are kept (OUT/VARIANT/seedK, also those that
    `vlrface train` made there), others go on where they were saved, and what is measured is not measured again.
    OUT/ablation.html, .tex, .md and .json are rewritten after every training. Without --benchmark only the held-out
    training identities are measured: choices need no test set. Exits with 1 if a training failed; its log is
    OUT/VARIANT/seedK/ablate.log.

    Args:
        recipe: Python file that defines `ablation`, an `Ablation` of named experiments.
        out: Folder of the ablation.
        data: Folder to which the recipes' paths are relative.
        cache: Folder for decoded crops; may be deleted at any time.
        benchmark: Test sets as NAME=FOLDER: tinyface, survface-id, survface-verif, scface, cross-resolution, pairs (a
            .bin), or retrieval (leave-one-out in any layout).
        variants: Train and measure these only; the table keeps every variant that has been measured.
        seeds: At most so many seeds of each variant; default as many as the recipe says.
        jobs: Trainings side by side; each has one thread if there are several.
        held_out: Measure leave-one-out retrieval among the held-out training identities.
        figures: Further figures for the table as MEASUREMENT:FIGURE, e.g. tinyface:rank5 held-out:rank20.
        resamples: Of the bootstrap over people and seeds.
        bootstrap_seed: Of the bootstrap.
        only_table: Train and measure nothing; write the table of what is there.
        quiet: No progress bar.
    """
    from vlrface.experiment.ablating import ablate_recipe

    failed = ablate_recipe(
        recipe, out, data, cache, benchmarks=benchmark, variants=variants, seeds=seeds, jobs=jobs, held_out=held_out,
        figures=figures, resamples=resamples, bootstrap_seed=bootstrap_seed, only_table=only_table, progress=not quiet,
    )  # fmt: skip
    if failed:
        raise SystemExit(1)
