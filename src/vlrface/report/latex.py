"""Text for LaTeX: what its special characters become."""

import re
import unicodedata
from typing import Final

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # a bare one is a command under some languages of babel
    "[": "{[}",  # the end of a row takes a bare one, or a star, for an argument of its own
    "]": "{]}",
    "*": "{*}",
    "\u202f": r"\,",
    "\u2009": r"\,",
    "\u00a0": "~",
    "–": "--",
    "—": "---",
    "−": r"\ensuremath{-}",
    "…": r"\ldots{}",
    "±": r"\ensuremath{\pm}",
    "≥": r"\ensuremath{\geq}",
    "≤": r"\ensuremath{\leq}",
    "→": r"\ensuremath{\rightarrow}",
    "·": r"\textperiodcentered{}",
    "’": "'",
}


def escaped(text: str) -> str:
    r"""Text that LaTeX sets as it reads: "a_b & 5 %" becomes r"a\_b \& 5 \%".

    Line ends and tabs become spaces; other control characters, and bytes of a file name that are no text, go. What no
    rule is for stays, as letters of other scripts: a current LaTeX reads UTF-8.
    """
    text = re.sub(r"\s*[\r\n\t\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", text)
    return "".join(_SPECIAL.get(each, each) for each in text if unicodedata.category(each) not in ("Cc", "Cs", "Cf"))
