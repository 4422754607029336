"""What is listed, in which order, and what is read there."""

import tarfile
from functools import partial

import cv2
import numpy as np
import pytest

from vlrface.bulk import FrameOptions, Item, Reader, list_items
from vlrface.bulk.reading import decoded
from vlrface.images.decode import DecodeError, DecodeLimits, check_size
from vlrface.types import VlrfaceError

from .conftest import picture, png


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


def test_a_damaged_shard_is_told_from_one_that_ends(shard, tmp_path):
    data = bytearray(shard.read_bytes())
    with tarfile.open(shard) as tar:
        at = tar.getmembers()[2].offset
    data[at + 10] ^= 0xFF
    (tmp_path / "crops").mkdir()
    for name, damaged in (("flipped.tar", bytes(data)), ("cut.tar", shard.read_bytes()[:at])):
        path = tmp_path / "crops" / name
        path.write_bytes(damaged)
        with pytest.raises(VlrfaceError, match=f"{name}: damaged or cut off at byte {at}"):
            list(list_items([str(path)]))
        *whole, bad = list_items([str(tmp_path / "crops")])
        assert [item.name for item in whole] == ["x/10.png"]
        assert bad.key == str(path)
        assert bad.reason.startswith("damaged or cut off")
        path.unlink()


def test_a_member_that_is_too_large_is_not_left_out(shard, monkeypatch):
    monkeypatch.setattr("vlrface.bulk.items.MAX_PICTURE_BYTES", 20)
    items = list(list_items([str(shard)]))
    assert [item.name for item in items] == ["x/10.png", "x/11.png", "x/12.png"]
    with pytest.raises(DecodeError, match=r"shard-0\.tar#x/10\.png: has \d+ bytes, more than 20"):
        Reader().read(items[0])


def test_what_is_unreadable_among_others_is_one_item(folder, tmp_path, capfd):
    (folder / "b" / "code.ts").write_text("export const x = 1\n")
    (folder / "m.parquet").write_bytes(b"\x07" * 100)
    (folder / "n.tar").write_bytes(b"\x07" * 2000)
    (tmp_path / "list.txt").write_text("crops/b\ncrops/m.parquet\ncrops/gone.png\ncrops/none*.png\n")
    among = list(list_items([str(folder)]))
    bad = {item.key.removeprefix(f"{folder}/"): item.reason for item in among if item.reason}
    assert set(bad) == {"b/code.ts", "m.parquet", "n.tar"}
    assert len(among) == 10
    assert "no video that OpenCV can read" in bad["b/code.ts"]
    assert [item.key for item in list_items([f"{folder}/*.tar"]) if item.reason] == [f"{folder}/n.tar"]
    listed = [item for item in list_items([str(tmp_path / "list.txt")]) if item.reason]
    assert [item.key.rsplit("/", 1)[1] for item in listed] == ["code.ts", "m.parquet", "gone.png", "none*.png"]
    assert reds(listed) == [None] * 4
    with pytest.raises(VlrfaceError, match="no video"):
        list(list_items([str(folder / "b" / "code.ts")]))
    capfd.readouterr()  # OpenCV complains, too


@pytest.mark.parametrize("said", [3, 200_000_000])
@pytest.mark.parametrize("every", [1, 2, 200])
def test_what_a_video_says_of_its_length_is_not_believed(said, every, video):
    data = bytearray(video.read_bytes())
    for place in (data.find(b"avih") + 8 + 16, data.find(b"strh") + 8 + 32):
        data[place : place + 4] = said.to_bytes(4, "little")
    expected = list(list_items([str(video)], FrameOptions(every)))
    colours = reds(expected)
    video.write_bytes(data)
    found = list(list_items([str(video)], FrameOptions(every)))
    assert found == expected
    assert [item.place for item in found] == list(range(0, 8, every))
    assert reds(found) == colours
    assert reds(found[2:]) == colours[2:]  # as one that goes on


def test_sparse_frames_are_sought(tmp_path):
    path = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    for number in range(450):
        writer.write(np.full((32, 32, 3), number // 2, np.uint8))
    writer.release()
    items = list(list_items([str(path)], FrameOptions(150)))
    assert [item.place for item in items] == [0, 150, 300]
    np.testing.assert_allclose(reds(items), [0, 75, 150], atol=3)
    assert reds(items[::-1]) == reds(items)[::-1]


def test_frames_keep_to_the_limits(video, monkeypatch):
    (item, *_) = list_items([str(video)])
    monkeypatch.setattr("vlrface.bulk.videos.check_size", partial(check_size, limits=DecodeLimits(max_pixels=1000)))
    with pytest.raises(DecodeError, match="32 x 32 pixels are more than 1,000"):
        list(list_items([str(video)]))
    with pytest.raises(DecodeError, match="more than 1,000"):
        Reader().read(item)


def parquet_of(path, column, **options):
    from pyarrow import parquet, table

    parquet.write_table(table({"image": column}), path, **options)
    return path


def test_a_row_group_is_not_read_whole(tmp_path):
    path = parquet_of(tmp_path / "t.parquet", [png(n) for n in range(100)])
    reader = Reader()
    items = list(list_items([str(path)]))
    assert reader.read(items[0]) == png(0)
    held = reader._open[1]
    assert len(held._batch) < 50
    assert [reader.read(items[n]) for n in (99, 3, 4, 50)] == [png(n) for n in (99, 3, 4, 50)]
    reader.close()


def test_a_damaged_table_fails_by_rows(tmp_path):
    from pyarrow import parquet

    path = parquet_of(tmp_path / "t.parquet", [png(n) for n in range(12)], row_group_size=4, use_dictionary=False)
    data = bytearray(path.read_bytes())
    at = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[at : at + 20] = bytes(each ^ 0x5A for each in data[at : at + 20])
    path.write_bytes(data)
    items = list(list_items([str(path)]))
    assert reds(items) == [0, 1, 2, 3, None, None, None, None, 8, 9, 10, 11]
    with pytest.raises(DecodeError, match=r"t\.parquet#5: cannot be read \((?!None)"):
        Reader().read(items[5])


def test_paths_of_a_table_stay_in_its_folder_and_are_text(folder, tmp_path):
    import pyarrow as pa

    names = ["crops/1.png", str(folder / "1.png"), "../1.png"]
    path = parquet_of(tmp_path / "paths.parquet", names)
    items = list(list_items([str(path)]))
    assert reds(items) == [1, None, None]
    for item in items[1:]:
        with pytest.raises(DecodeError, match=r"paths\.parquet#[12]: .*points outside its root"):
            Reader().read(item)
    offsets, texts = pa.py_buffer(np.array([0, 4, 15], "i4").tobytes()), pa.py_buffer(b"a\xff\xfebcrops/1.png")
    broken = parquet_of(tmp_path / "broken.parquet", pa.Array.from_buffers(pa.string(), 2, [None, offsets, texts]))
    items = list(list_items([str(broken)]))
    assert reds(items) == [None, 1]
    with pytest.raises(DecodeError, match=r"broken\.parquet#0: cannot be read \(.*utf-8"):
        Reader().read(items[0])


def test_a_file_name_that_is_none_fails_alone():
    with pytest.raises(DecodeError, match="cannot be read"):
        Reader().read(Item("member", "a\0b.tar", 0, 1, "x.png"))
