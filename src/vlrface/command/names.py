"""How options are written that several commands have."""

from collections.abc import Sequence
from typing import Annotated

import tyro

Output = tyro.conf.arg(aliases=["-o"])
"""A file or folder that is also named by -o."""

Flat = tyro.conf.arg(name="")
"""Options of a dataclass, without its name before them."""

Rates = Annotated[tuple[str, ...], tyro.conf.arg(metavar="[FLOAT [FLOAT ...]]")]
"""Numbers that `numbers` reads; what is wrong with one it says better than the parser."""


def numbers(texts: Sequence[str], option: str) -> tuple[float, ...]:
    """The numbers of an option.

    Raises:
        VlrfaceError: one is none, or has a comma, which may stand between two or before decimals.
    """
    found: list[float] = []
    for text in texts:
        try:
            found.append(float(text))
        except ValueError as error:
            from vlrface.types import VlrfaceError

            remedy = "Give numbers"
            if "," in text:
                several = " ".join(text.replace(",", " ").split())
                remedy = (
                    f"Separate several by blanks ({option} {several}), and write decimals with a point, not a comma"
                )
            raise VlrfaceError(f"{option} {text}: not a number. {remedy}") from error
    return tuple(found)
