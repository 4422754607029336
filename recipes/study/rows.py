"""The twelve rows of the poster's ablation, on the study's short schedule, with the settings that `tuning.py` chose.

    vlrface ablate recipes/study/rows.py --data DIR --out runs/rows --jobs 2 --benchmark tinyface=DIR/lfw-vlr/tinyface \
        survface-id=DIR/lfw-vlr/survface survface-verif=DIR/lfw-vlr/survface scface=DIR/lfw-vlr/scface

Eight seeds for what the question is about, three for the other heads.
"""

import runpy
from pathlib import Path

from vlrface.experiment.ablation import Ablation

tuning = runpy.run_path(str(Path(__file__).with_name("tuning.py")))
variants = {row: settings[tuning["chosen"][row]] for row, settings in tuning["candidates"].items()}
many = ("arcface", "I-diversion", "II-projection", "III-regression", "full")

ablation = Ablation(
    name="rows",
    variants=variants,
    baseline="arcface",
    seeds={row: 8 if row in many else 3 for row in variants},
)
