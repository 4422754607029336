"""How a training ends other than by finishing."""

from vlrface.types import VlrfaceError


class TrainingDivergedError(VlrfaceError):
    """A loss part, the gradient or a weight is NaN or infinite, or the network can no longer be measured."""


class TrainingInterruptedError(Exception):
    """The run was asked to stop, and saved itself. Start it again with the same command to go on.

    Attributes:
        exit_code: of the program: 128 and the number of the signal, 130 (that of Ctrl-C) without one.
    """

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code
