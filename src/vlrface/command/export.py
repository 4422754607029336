"""`vlrface export`: a checkpoint for use without torch."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from vlrface.command.names import Output
from vlrface.experiment.options import Views


def export(
    checkpoint: tyro.conf.Positional[Path],
    output: Annotated[Path, Output],
    precision: Literal["float32", "int8"] = "float32",
    views: Views = 1,
    calibration_data: Path | None = None,
    parity_data: Path | None = None,
) -> None:
    """Write a checkpoint as one .onnx file that scores, encodes, enrols and serves without torch.

    Example: vlrface export runs/lfw_vlr -o model.onnx --parity-data DATA/lfw-vlr/tinyface

    The graph takes uint8 RGB crops (n, h, w, 3), normalises them itself, and gives embedding and recognizability (and
    attention, if the network has it). Configuration, calibration and fingerprint travel inside the file. How far the
    file agrees with the network is measured by every engine that is installed, printed, and kept in it. A float32 file
    that differs by more than rounding is not written.

    Args:
        checkpoint: A checkpoint, or a run's folder for its best.
        output: The .onnx file to write.
        precision: int8 is faster by OpenVINO and half the size or less; its embeddings are compared with its own only.
        views: Windows of a crop to see and average, kept in the file: 5 takes five times as long and finds loosely cut
            faces better. Measure what its scores mean anew: vlrface calibrate.
        calibration_data: int8: crops as they will come, on which ranges are measured; default some of those for parity,
            which is then measured on others; else drawn faces.
        parity_data: Crops of known people, to measure parity of rank-1, too; default drawn faces.
    """
    from vlrface.experiment.model_files import check_model, check_there

    check_model(checkpoint, onnx=False)  # torch is imported for seconds below
    check_there(calibration_data, parity_data)
    from vlrface.experiment.exporting import export_checkpoint

    export_checkpoint(
        checkpoint, output, precision=precision, views=views, calibration_data=calibration_data, parity_data=parity_data
    )
