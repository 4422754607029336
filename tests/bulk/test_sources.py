"""What is listed, in which order, and what is read there."""

import numpy as np
import pytest

from vlrface.bulk import FrameOptions, Reader, list_items
from vlrface.bulk.reading import decoded
from vlrface.images.decode import DecodeError
from vlrface.types import VlrfaceError

from .conftest import picture


def reds(items):
    reader = Reader()
    found = []
    for item in items:
        try:
            found.append(int(decoded(reader.read(item), item.key)[..., 0].mean().round()))
        except DecodeError:
            found.append(None)
    reader.close()
    return found


def test_a_folder_in_the_order_of_names(folder):
    items = list(list_items([str(folder)]))
    names = [item.key.removeprefix(f"{folder}/") for item in items]
    assert names == ["0.png", "1.png", "b/2.png", "b/3.png", "b/4.png", "b/broken.png", "z.png"]
    assert reds(items) == [0, 1, 2, 3, 4, None, 5]


def test_patterns_files_and_lists(folder, tmp_path):
    (tmp_path / "list.txt").write_text("crops/z.png\n\ncrops/b\n")
    sources = [f"{folder}/**/[23].png", str(folder / "1.png"), str(tmp_path / "list.txt")]
    assert reds(list_items(sources)) == [2, 3, 1, 5, 2, 3, 4, None]


def test_shards_tables_and_videos_are_read_in_any_order(shard, table, video, folder):
    items = list(list_items([str(shard), str(table), str(video)], FrameOptions(every=3)))
    keys = [item.key.rsplit("/", 1)[-1] for item in items]
    assert keys[2:5] == ["12.png", "table.parquet#0", "table.parquet#1"]
    assert keys[-3:] == ["camera.avi#0", "camera.avi#3", "camera.avi#6"]
    expected = [10, 11, 12, 20, 1, None, 23, 24]
    found = reds(items)
    assert found[:8] == expected
    np.testing.assert_allclose(found[8:], [0, 90, 180], atol=4)
    order = np.random.default_rng(0).permutation(len(items))
    assert reds([items[i] for i in order]) == [found[i] for i in order]
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "no such file, folder or pattern"),
        ("*.nothing", "nothing fits this pattern"),
        ("broken.tar", "no whole tar file"),
        ("broken.parquet", "no Parquet table"),
        ("broken.avi", "no video that OpenCV can read"),
        ("again.txt", "line 1 names a list again"),
        ("binary.txt", "not a list of files"),
    ],
)
def test_what_cannot_be_listed_is_named(source, said, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("broken.tar", "broken.parquet", "broken.avi"):
        (tmp_path / name).write_bytes(b"\x07" * 2000)
    (tmp_path / "again.txt").write_text("again.txt\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VlrfaceError, match=said):
        list(list_items([source]))
    capfd.readouterr()  # OpenCV complains, too


def test_a_shard_that_was_cut_after_it_was_listed(shard):
    items = list(list_items([str(shard)]))
    shard.write_bytes(shard.read_bytes()[: items[1].place + 3])
    assert reds(items) == [10, None, None]


def test_frames_are_counted_from_one():
    with pytest.raises(VlrfaceError, match="one by one"):
        FrameOptions(every=0)
    assert picture(3)[0, 0, 0] == 3
