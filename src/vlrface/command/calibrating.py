"""`vlrface calibrate`: what a model's score means, and thresholds for wished rates."""

from pathlib import Path
from typing import Annotated

import tyro

from vlrface.command.names import Output, Rates, numbers
from vlrface.experiment.options import EngineChoice


def calibrate(
    model: tyro.conf.Positional[Path],
    data: tyro.conf.Positional[Path],
    output: Annotated[Path, Output],
    fmr: Rates = (),
    fpir: Rates = (),
    accept: Rates = (),
    fnmr: Rates = (),
    at_fmr: float = 0.01,
    gallery_size: int | None = None,
    gallery_people: int | None = None,
    report: Path | None = None,
    json: Path | None = None,
    engine: EngineChoice = "auto",
    flip: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Fit what the score of a model means, and measure thresholds for wished rates, on people it was not trained on.

    Example: vlrface calibrate model.onnx HELD_OUT -o model.onnx --fmr 0.001 --fpir 0.01 --report calibration.html

    The model is written again with the calibration inside, under the same name or another; its weights stay, and so do
    galleries. `vlrface serve --fmr 0.001` and `vlrface gallery identify --fpir 0.01` then know the threshold. Without a
    rate, the usual ones are measured as far as the faces can answer them. A rate that fewer than ten events would
    decide is refused: a small one needs many people.

    Args:
        model: A checkpoint, a run's folder for its best, or an .onnx file of vlrface export. An int8 model has its own
            cosines: calibrate the file that you use.
        data: Held-out people, two faces or more each: identity folders, or any other layout; or a Faces file (.npz) of
            this model. Never the set on which you will measure.
        output: Where the calibrated model goes; may be the model itself.
        fmr: Cosine thresholds for these shares of matching pairs of different people, one face each (one to one).
        fpir: Cosine thresholds for these shares of answered searches of strangers (one to many).
        accept: Score thresholds for these shares of accepted faces.
        fnmr: Score thresholds for these shares of missed genuine pairs among accepted faces.
        at_fmr: The false match rate at which the pairs of --fnmr are judged.
        gallery_size: Faces that a face is searched among, which the score is about; default all held-out ones.
        gallery_people: People enrolled in the searches of --fpir; default all held-out ones but one. 1 measures one to
            one against the template of all faces of a person, as `vlrface gallery verify` compares.
        report: Page with the reliability diagram and the thresholds (.html).
        json: File for the numbers.
        engine: What runs an exported model.
        flip: Flip fusion, as it will be used.
        resamples: Draws of people for the intervals.
        seed: Of the draws.
        quiet: No progress bars.
    """
    from vlrface.calibrate import Wishes
    from vlrface.experiment.calibrating import USUAL, Written, calibrate_model

    asked = fmr or fpir or accept or fnmr
    usual = USUAL
    if asked:
        usual = Wishes(
            numbers(fmr, "--fmr"), numbers(fpir, "--fpir"), numbers(accept, "--accept"), numbers(fnmr, "--fnmr")
        )
    given = Wishes(usual.fmr, usual.fpir, usual.accept, usual.fnmr, at_fmr, gallery_people)
    calibrate_model(
        model, data, Written(output, report, json), wishes=given, strict=bool(asked), gallery_size=gallery_size,
        engine=engine, flip=flip, resamples=resamples, seed=seed, progress=not quiet,
    )  # fmt: skip
