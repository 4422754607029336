"""Text for LaTeX."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.report.latex import escaped


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("{x}\\y", r"\{x\}\textbackslash{}y"),
        ("$1 #2 ^ ~", r"\$1 \#2 \textasciicircum{} \textasciitilde{}"),
        ('<script>|"', r"\textless{}script\textgreater{}\textbar{}''"),
        ("[a] *b", "{[}a{]} {*}b"),
        ("5\u202f% 1–2 −3", r"5\,\% 1--2 \ensuremath{-}3"),
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("a\x00b\udcffc\u200bd", "abcd"),
        ("Łódź 東京", "Łódź 東京"),
        ("", ""),
    ],
)
def test_special_characters(text: str, wanted: str) -> None:
    assert escaped(text) == wanted


@given(st.text())
def test_nothing_special_is_left(text: str) -> None:
    found = escaped(text)
    for command in (r"\\textbackslash{}", r"\\[{}$&#%_,]", r"\\(text[a-z]+|ldots)\{\}", r"\\ensuremath\{-\}"):
        found = re.sub(command, "", found)
    found = re.sub(r"\\ensuremath\{\\[a-z]+\}", "", found).replace("{[}", "").replace("{]}", "").replace("{*}", "")
    assert not re.search(r'[\\{}$&#%^"\[\]*\x00-\x1f]', found.replace("~", ""))
