"""Training: `train` with built `Ingredients` and `TrainingOptions`."""

from vlrface.train.loop import Ingredients as Ingredients
from vlrface.train.loop import Outcome as Outcome
from vlrface.train.loop import TrainingDiverged as TrainingDiverged
from vlrface.train.loop import TrainingInterrupted as TrainingInterrupted
from vlrface.train.loop import Validation as Validation
from vlrface.train.loop import train as train
from vlrface.train.options import Schedule as Schedule
from vlrface.train.options import TrainingOptions as TrainingOptions
