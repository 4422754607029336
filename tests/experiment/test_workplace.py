"""The folder to try the commands on."""

import numpy as np

from vlrface.experiment.workplace import write_workplace
from vlrface.images.decode import decode


def brightness(pictures):
    """In the place of a network's index."""
    return np.array([picture.mean() for picture in pictures])


def values(folder):
    return [decode(path).mean() for path in sorted(folder.rglob("*.png"))]


def test_it_holds_what_the_pages_name_and_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        write_workplace(tmp_path / name, held_out=3, enrolled=2, crops=12)
    found = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in (tmp_path / "a").rglob("*.png")}
    assert found == {path.relative_to(tmp_path / "b"): path.read_bytes() for path in (tmp_path / "b").rglob("*.png")}
    counts = {name: len(list((tmp_path / "a" / name).rglob("*.png"))) for name in ("held_out", "people", "crops")}
    assert counts == {"held_out": 12, "people": 8, "crops": 12}
    assert {path.name for path in (tmp_path / "a" / "people").iterdir()} == {"Person 1", "Person 2"}
    assert len(set(found.values())) == 12 + 8 + 12 + 2


def test_the_best_are_enrolled_and_searched(tmp_path):
    write_workplace(tmp_path / "chosen", index=brightness, held_out=1, enrolled=3, crops=20)
    write_workplace(tmp_path / "taken", held_out=1, enrolled=3, crops=20)
    assert np.mean(values(tmp_path / "chosen" / "people")) > np.mean(values(tmp_path / "taken" / "people")) + 10
    first = values(tmp_path / "chosen" / "people" / "Person 1")
    probe = decode(tmp_path / "chosen" / "probe.png").mean()
    assert first == sorted(first, reverse=True)
    assert first[-1] >= probe
    assert decode(tmp_path / "chosen" / "stranger.png").mean() >= decode(tmp_path / "taken" / "stranger.png").mean()
