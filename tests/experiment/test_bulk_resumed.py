"""Bulk work that was stopped, or whose job is another now: what goes on, and what is refused."""

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice

import cv2
import numpy as np
import pytest
from tests.experiment.bulk_tables import rows_of

from vlrface.bulk import Job, open_parts
from vlrface.experiment import bulk, bulk_ray
from vlrface.experiment.bulk import BulkTask, loaded
from vlrface.experiment.encoding import encode_bulk
from vlrface.experiment.model import load_model
from vlrface.experiment.options import BulkOptions, ModelOptions
from vlrface.experiment.scoring import score_paths
from vlrface.experiment.served import load_served
from vlrface.types import VlrfaceError


@pytest.fixture
def few(tmp_path):
    """Twelve pictures in one folder."""
    root = tmp_path / "few"
    root.mkdir()
    draw = np.random.default_rng(1)
    for number in range(12):
        cv2.imwrite(str(root / f"{number:02d}.png"), draw.integers(0, 256, (20, 24, 3), np.uint8))
    return root


def names_of(folder):
    from pyarrow import parquet

    return [os.path.basename(name) for name in parquet.read_table(folder).column("path").to_pylist()]


def test_parts_behind_a_gap_are_kept_only_if_they_fit(model, few, tmp_path):
    options, out = BulkOptions(part_items=4), tmp_path / "out"
    score_paths(model, [few], out, options=options, progress=False)
    third = (out / "part-00002.parquet").stat()
    (out / "part-00001.parquet").unlink()  # as a cluster leaves them that was killed
    score_paths(model, [few], out, options=options, progress=False)
    assert names_of(out) == sorted(path.name for path in few.iterdir())
    assert (out / "part-00002.parquet").stat().st_mtime_ns == third.st_mtime_ns  # not looked at again
    (out / "part-00001.parquet").unlink()
    (few / "05.png").unlink()
    score_paths(model, [few], out, options=options, progress=False)
    assert names_of(out) == sorted(path.name for path in few.iterdir())
    (out / "part-00001.parquet").unlink()
    for number in (8, 9, 10, 11):
        (few / f"{number:02d}.png").unlink()
    score_paths(model, [few], out, options=options, progress=False)
    assert names_of(out) == sorted(path.name for path in few.iterdir())
    assert json.loads((out / "_summary.json").read_text())["faces"] == 7


def test_a_worker_trusts_no_part_of_other_pictures(model, few, tmp_path):
    options, out = BulkOptions(part_items=4, ray="local"), tmp_path / "out"
    score_paths(model, [few], out, options=replace(options, ray=None), progress=False)
    task = BulkTask(model, (str(few),), "scores", options)
    parts = open_parts(out, bulk._job(task, loaded(task)), "parquet")
    items = list(task.items())[1:5]
    bulk_ray._listed(parts, 1).write_text(json.dumps([asdict(item) for item in items]))
    worker = bulk_ray.PartWorker(task, parts, 1)
    assert worker({"part": np.array([1])})["items"] == [4]
    assert parts.holds(1, items)
    before = parts.path(1).stat().st_mtime_ns
    worker({"part": np.array([1])})
    assert parts.path(1).stat().st_mtime_ns == before


def test_a_worker_takes_no_more_threads_than_it_was_given(model, few, tmp_path, monkeypatch):
    given = {}

    def load_served(path, **options):
        given["model"] = options["threads"]
        return served(path, **options)

    def look_at(*arguments, threads, **options):
        given["decoding"] = threads
        return flow(*arguments, threads=threads, **options)

    served, flow = bulk.load_served, bulk.look_at
    monkeypatch.setattr(bulk, "load_served", load_served)
    monkeypatch.setattr(bulk, "look_at", look_at)
    monkeypatch.setattr(bulk_ray.cv2, "setNumThreads", lambda threads: given.update(opencv=threads))
    task = BulkTask(model, (str(few),), "scores", BulkOptions(ray="local"))
    parts = open_parts(tmp_path / "out", Job({}), "parquet")
    bulk_ray._listed(parts, 0).write_text(json.dumps([asdict(item) for item in task.items()]))
    bulk_ray.PartWorker(task, parts, 3)({"part": np.array([0])})
    assert given == {"model": 3, "decoding": 3, "opencv": 3}


class StoppedError(Exception):
    """What a run meets in the place of a kill."""


@pytest.fixture
def stop(monkeypatch):
    """Lets a run stop after so many pictures, as a kill does."""

    @contextmanager
    def after(count):
        shown = bulk._shown

        def few_shown(found, bar):
            yield from islice(shown(found, bar), count)
            raise StoppedError

        with monkeypatch.context() as patched:
            patched.setattr(bulk, "_shown", few_shown)
            try:
                yield
            except StoppedError:
                return
            pytest.fail("it was not stopped")

    return after


def test_of_two_commands_on_one_output_the_second_is_refused(model, few, tmp_path):
    for output in (tmp_path / "a.csv", tmp_path / "parts"):
        with bulk.alone(output), pytest.raises(VlrfaceError, match="another process writes there"):
            score_paths(model, [few], output, progress=False)
        assert not output.exists()
        score_paths(model, [few], output, progress=False)


def test_a_folder_that_grows_again_is_not_called_whole(model, few, tmp_path, stop):
    options, out = BulkOptions(part_items=4), tmp_path / "out"
    score_paths(model, [few], out, options=options, progress=False)
    for number in range(12, 20):
        (few / f"{number}.png").write_bytes((few / "00.png").read_bytes())
    with stop(5):
        score_paths(model, [few], out, options=options, progress=False)
    assert not (out / "_summary.json").exists()
    score_paths(model, [few], out, options=options, progress=False)
    assert json.loads((out / "_summary.json").read_text())["faces"] == 20


def test_a_finished_file_of_another_job_is_not_written_over(model, crops, few, tmp_path, stop):
    output = tmp_path / "scores.csv"
    score_paths(model, [few], output, progress=False)
    first = output.read_bytes()
    assert score_paths(model, [few], output, accepted=tmp_path / "good.txt", progress=False) == 0  # the same again
    for sources, options in (([crops], None), ([few], BulkOptions(part_items=5))):
        with pytest.raises(VlrfaceError, match=r"scores\.csv: there already.*--restart"):
            score_paths(model, sources, output, options=options, progress=False)
    assert output.read_bytes() == first
    with stop(100):
        score_paths(model, [crops], output, options=BulkOptions(restart=True, part_items=50), progress=False)
    assert output.read_bytes() == first
    score_paths(model, [crops], output, options=BulkOptions(part_items=50), progress=False)  # goes on
    assert len(rows_of(output)) == 120
    with output.open("a") as file:
        file.write("mine\n")
    with pytest.raises(VlrfaceError, match="changed since"):
        score_paths(model, [crops], output, options=BulkOptions(part_items=50), progress=False)
    (tmp_path / "e.parquet").write_text("mine")
    with pytest.raises(VlrfaceError, match=r"e\.parquet: there already"):
        encode_bulk(model, [str(few)], tmp_path / "e.parquet", progress=False)


@pytest.fixture
def foreign(tmp_path):
    """Somebody's model: means of 4 x 4 pixels of 16."""
    from onnx import TensorProto, helper, save

    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])]
    ends += [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 48])]
    graph = helper.make_graph(nodes, "means", ends[:1], ends[1:])
    path = tmp_path / "foreign.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_a_foreign_models_space_is_how_it_is_used(foreign):
    def space(**said):
        return load_served(foreign, options=ModelOptions(**{"order": "rgb", "mean": 0.0, "scale": 1.0, **said})).space

    plain = space()
    changes = ({"order": "bgr"}, {"mean": 127.5}, {"scale": 0.5}, {"window": 1.2}, {"window": 1.2, "center_y": 0.4})
    assert len({plain, *(space(**each) for each in changes)}) == 6
    card = {"order": "rgb", "mean": [0, 0, 0], "scale": 1, "name": "means", "notes": "none"}
    beside = foreign.with_name("foreign.onnx.json")
    beside.write_text(json.dumps(card))
    assert load_served(foreign).space == plain  # said in another way
    beside.write_text(json.dumps({**card, "mean": 5}))
    assert load_served(foreign).space != plain


def test_an_exports_space_is_its_own_unless_it_is_used_otherwise(model):
    assert load_served(model).space == "0123456789abcdef+flip"
    assert load_served(model, options=ModelOptions(window=1.2, center_y=0.44)).space == "0123456789abcdef+flip"
    other = load_served(model, options=ModelOptions(order="bgr")).space
    assert other.startswith("0123456789abcdef-")
    for options in (ModelOptions(), ModelOptions(order="bgr")):  # and encoded faces say the same
        served = load_served(model, options=options)
        assert load_model(model, options).meta["fingerprint"] == served.space.removesuffix("+flip")


def test_a_run_with_another_card_engine_or_detector_does_not_go_on(model, foreign, few, tmp_path, stop, monkeypatch):
    def encoded(mean, out="out"):
        how = ModelOptions(order="rgb", mean=mean, scale=1.0)
        options = BulkOptions(part_items=4)
        encode_bulk(foreign, [str(few)], tmp_path / out, options=options, model_options=how, progress=False)

    with stop(6):
        encoded(0.0)
    with pytest.raises(VlrfaceError, match=r"another job \(model was"):
        encoded(127.5)
    encoded(0.0)
    monkeypatch.setattr(bulk, "finder", lambda _: None)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "yunet.onnx").write_text(folder)

    def scored(**options):
        score_paths(model, [few], tmp_path / "s", options=BulkOptions(part_items=4, **options), progress=False)

    with stop(6):
        scored(detector=tmp_path / "a" / "yunet.onnx", engine="onnxruntime")
    with pytest.raises(VlrfaceError, match=r"another job \(detector was"):
        scored(detector=tmp_path / "b" / "yunet.onnx", engine="onnxruntime")
    with pytest.raises(VlrfaceError, match=r"another job \(engine was 'onnxruntime'"):
        scored(detector=tmp_path / "a" / "yunet.onnx", engine="openvino")
    with pytest.raises(VlrfaceError, match=r"none\.onnx: cannot be read"):
        scored(detector=tmp_path / "none.onnx")
