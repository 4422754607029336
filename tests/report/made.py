"""Small made-up values for the pages, and a reader that knows what a page holds."""

from html.parser import HTMLParser

import numpy as np

from vlrface.report import Attention, EmbeddingMap, Pictures
from vlrface.types import Curve, Estimate, Report

NASTY = """<script>alert("1")</script>&'.jpg"""


def crops(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 256, (int(rng.integers(8, 30)), int(rng.integers(8, 30)), 3), np.uint8) for _ in range(count)
    ]


def pictures(count: int = 60, **options: object) -> Pictures:
    index = np.random.default_rng(1).normal(0.5, 0.2, count)
    names = [NASTY if i == 7 else f"{i}.jpg" for i in range(count)]
    return Pictures(crops(count), index, names, **options)


def embedding_map(count: int = 50, unrecognizable: int = 20) -> EmbeddingMap:
    rng = np.random.default_rng(2)
    center = np.eye(8)[0]
    return EmbeddingMap(
        rng.normal(size=(count, 8)),
        rng.normal(size=count),
        center + 0.1 * rng.normal(size=(unrecognizable, 8)),
        center,
    )


def attention(count: int = 3) -> Attention:
    return Attention(crops(count), np.random.default_rng(3).uniform(0.2, 0.6, (count, 7, 7)), ["a", NASTY, "c"][:count])


def curve(name: str = "a", n: int = 20, *, band: bool = False) -> Curve:
    x = np.linspace(0.0, 0.95, n)
    y = 0.4 * (1 - x) ** 1.5
    return Curve(name, x, y, 0.9 * y, 1.1 * y) if band else Curve(name, x, y)


def report(**changes: object) -> Report:
    values: dict[str, object] = {
        "title": f"Test {NASTY}",
        "benchmark": "tinyface",
        "figures": {
            "rank1": Estimate(0.332, 0.299, 0.365),
            "rank5": Estimate(0.5, 0.4, 0.6),
            "mAP": Estimate(0.3),
            "auc": Estimate(0.931),
            "rank1@reject=0.3": Estimate(0.42, 0.38, 0.46),
        },
        "counts": {"probes": 1796, "gallery": 689},
        "curves": {
            "edc@fmr=0.01": (curve("ours", band=True), curve(NASTY)),
            "cmc": (Curve("cmc", np.arange(1.0, 51), 1 - 0.6 / np.arange(1.0, 51)),),
            "roc": (Curve("roc", np.logspace(-5, 0, 5000), np.logspace(-5, 0, 5000) ** 0.2),),
            "something_new": (curve(),),
        },
        "context": {"seed": 3, "seconds": 192.3, "version": "0.1.0", "config": {"tau": 3.0, "note": NASTY}},
    }
    return Report(**{**values, **changes})


class Page(HTMLParser):
    """Tags, ids, references and text of a page; complains about tags that are not closed in order."""

    VOID = frozenset({"meta", "img", "input", "br", "hr", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key in ("src", "href", "xlink:href", "data", "action"):
                self.sources.append(value or "")
            if key == "href" and value and value.startswith("#"):
                self.references.append(value[1:])
            if value and "url(#" in value:
                self.references.append(value.split("url(#")[1].split(")")[0])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> out of order"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
