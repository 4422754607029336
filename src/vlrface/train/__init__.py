"""Training: `train` with built `Ingredients` and `TrainingOptions`."""

from vlrface.train.loop import Ingredients as Ingredients
from vlrface.train.loop import Outcome as Outcome
from vlrface.train.loop import TrainingDivergedError as TrainingDivergedError
from vlrface.train.loop import TrainingInterruptedError as TrainingInterruptedError
from vlrface.train.loop import Validation as Validation
from vlrface.train.loop import train as train
from vlrface.train.options import Schedule as Schedule
from vlrface.train.options import TrainingOptions as TrainingOptions
