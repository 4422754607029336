"""Training on pictures that stay in .rec files and shards: people, classes, teachers, figures are those of folders."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.experiment.streams import break_picture, jpeg, write_rec, write_shard

from vlrface.data.batches import Part
from vlrface.data.streamed import StreamedCrops
from vlrface.experiment import build as building
from vlrface.experiment.build import build, held_and_trained
from vlrface.experiment.config import (
    Experiment,
    FolderSource,
    MobileFaceNetConfig,
    PartConfig,
    RecordSource,
    SCfaceSource,
    ShardsSource,
    Shuffle,
    Source,
    load_recipe,
)
from vlrface.experiment.sources import Places, load_source
from vlrface.experiment.training import train_experiment
from vlrface.images.augment import Chain
from vlrface.train import train
from vlrface.train.loop import TrainingInterruptedError
from vlrface.types import VlrfaceError

PEOPLE = [[jpeg(10 * person + i, 32, 24 + 4 * i) for i in range(4)] for person in range(8)]
PATHS = [f"{person}/{i}.jpg" for person in range(8) for i in range(4)]
SHARDS = ShardsSource("faces-{0..1}.tar", people="")
RECORDS = RecordSource("faces.rec", people="")
FOLDER = FolderSource("faces")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same 32 pictures of 8 people three times: in folders, in a .rec with a list, in two shards."""
    root = tmp_path_factory.mktemp("streams")
    pictures = [picture for person in PEOPLE for picture in person]
    for path, picture in zip(PATHS, pictures, strict=True):
        (root / "faces" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "faces" / path).write_bytes(picture)
    write_rec(root / "faces.rec", PEOPLE, PATHS)
    samples = [(path[:-4], {"jpg": p, "cls": path[:1].encode()}) for path, p in zip(PATHS, pictures, strict=True)]
    write_shard(root / "faces-0.tar", samples[:10])
    write_shard(root / "faces-1.tar", samples[10:])
    return root


@pytest.fixture
def experiment(data: Path) -> Experiment:
    return load_recipe(data / "recipe.py")


def on(experiment: Experiment, source: Source, **changes: object) -> Experiment:
    """The experiment on one source."""
    part = replace(experiment.data.parts[0], source=source)
    config = replace(
        experiment.data,
        parts=(part,),
        validation=replace(experiment.data.validation, source=source, identities=2),
        unrecognizable=(replace(experiment.data.unrecognizable[0], source=source, count=8),),
    )
    training = replace(experiment.training, epochs=2, batch_size=8, log_every=1, precision="float32")
    return replace(experiment, data=replace(config, **changes), training=training)  # type: ignore[arg-type]


def places(root: Path, tmp_path: Path) -> Places:
    return Places(root, tmp_path / "cache", progress=False)


@pytest.mark.parametrize("source", [RECORDS, SHARDS], ids=["records", "shards"])
def test_streams_are_the_folder_that_they_were_made_of(
    source: Source, root: Path, tmp_path: Path, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Part]] = []
    original = building.Batches
    monkeypatch.setattr(
        building, "Batches", lambda parts, *rest, **more: (seen.append(parts), original(parts, *rest, **more))[1]
    )
    streamed, folder = (build(on(experiment, each), places(root, tmp_path)).ingredients for each in (source, FOLDER))
    ((part,), (kept,)) = seen
    assert isinstance(part.crops, StreamedCrops)
    assert part.labels.tolist() == kept.labels.tolist()
    assert len(part.crops) == 24
    for row in range(24):
        np.testing.assert_array_equal(part.crops[row], kept.crops[row])
    assert streamed.unrecognizable is not None
    assert folder.unrecognizable is not None
    assert torch.equal(streamed.unrecognizable, folder.unrecognizable)
    found, expected = (each.validate(streamed.recognizer.eval(), None) for each in (streamed, folder))
    assert found.figures == pytest.approx(expected.figures, abs=1e-6)


def test_labels_are_people_of_their_own_unless_said(root: Path, tmp_path: Path, experiment: Experiment) -> None:
    at = places(root, tmp_path)
    sources: dict[Source, list[str]] = {
        RecordSource("faces.rec"): ["faces.rec 0", "faces.rec 7"],
        RecordSource("faces.rec", people="vgg"): ["vgg 0", "vgg 7"],
        ShardsSource("faces-*.tar", people="vgg"): ["vgg 0", "vgg 7"],
        SHARDS: ["0", "7"],
        FOLDER: ["0", "7"],
    }
    for source, (first, last) in sources.items():
        loaded = load_source(source, at)
        assert (loaded.people[0], loaded.people[-1], len(loaded.known)) == (first, last, 8)
    both = on(experiment, RECORDS)
    both = replace(
        both, data=replace(both.data, parts=(*both.data.parts, PartConfig(SHARDS, both.data.parts[0].transform)))
    )
    people = held_and_trained(both, {each: load_source(each, at) for each in (RECORDS, SHARDS)})
    assert len(people.held) == 2
    assert sorted([*people.held, *people.trained]) == list("01234567")
    batches = build(both, at).ingredients.batches
    assert batches.steps_per_epoch == 2 * 24 // 8
    labels = np.concatenate([batch.labels for batch in batches.epoch(0)])
    assert np.bincount(labels).tolist() == [8] * 6


@pytest.mark.parametrize("source", [RECORDS, SHARDS], ids=["records", "shards"])
def test_teachers_are_found_by_name(source: Source, root: Path, tmp_path: Path, experiment: Experiment) -> None:
    def taught(by: FolderSource | RecordSource | ShardsSource) -> torch.Tensor:
        there = on(experiment, source)
        part = replace(there.data.parts[0], teacher=by)
        changed = replace(there, data=replace(there.data, parts=(part,)), teacher=MobileFaceNetConfig(32))
        changed = replace(changed, head=replace(changed.head, from_teacher=True))
        (teacher,) = build(changed, places(root, tmp_path)).ingredients.teachers
        assert teacher is not None
        return teacher

    assert isinstance(source, RecordSource | ShardsSource)
    first = taught(source)
    assert first.shape == (24, 128)
    again = taught(source)
    assert torch.equal(first, again)
    if source is RECORDS:  # its list has the paths of the folder
        torch.testing.assert_close(taught(FOLDER), first, atol=2e-2, rtol=0)
    else:
        with pytest.raises(VlrfaceError, match=r"no aligned picture for 24 crops, first \d/0"):
            taught(FOLDER)


def test_a_run_goes_on_in_the_middle_of_an_epoch(root: Path, tmp_path: Path, experiment: Experiment) -> None:
    at = places(root, tmp_path)

    def run(name: str, workers: int, stop_at: int | None = None) -> dict[int, float]:
        config = on(experiment, SHARDS, shuffle=Shuffle("block", 3, 4))
        built = build(replace(config, training=replace(config.training, workers=workers)), at)
        train(
            built.ingredients, config.training, tmp_path / name, config={}, seed=0, progress=False, stop_at=stop_at,
            data_fingerprint=built.data_fingerprint,
        )  # fmt: skip
        lines = map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
        return {line["step"]: line["loss/recognition"] for line in lines if "loss/recognition" in line}

    whole = run("whole", 0)
    assert len(whole) == 6
    with pytest.raises(TrainingInterruptedError):
        run("parts", 1, stop_at=4)
    assert run("parts", 0) == whole


def test_broken_pictures_are_skipped_and_told(
    tmp_path: Path, experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    rec = write_rec(tmp_path / "faces.rec", PEOPLE)
    at = Places(tmp_path, tmp_path / "cache", progress=False)
    crops = load_source(RecordSource("faces.rec"), at).crops
    assert isinstance(crops, StreamedCrops)
    for person in range(8):  # whoever is held out has one
        break_picture(rec, int(crops.index.offsets[4 * person + 1]))
    with pytest.raises(VlrfaceError, match=r"faces\.rec: \d+ at byte \d+: .*on_broken=\"skip\""):
        build(on(experiment, RecordSource("faces.rec")), at)
    config = on(experiment, RecordSource("faces.rec", on_broken="skip"))
    outcome = train_experiment(config, tmp_path / "run", at)
    assert outcome.steps == 6
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["broken_pictures"] for line in lines if "broken_pictures" in line][-1] == 12.0
    said = capsys.readouterr()
    assert "broken pictures, 12 so far: " in said.out + said.err


def test_settings_that_do_not_go_together(root: Path, tmp_path: Path, experiment: Experiment) -> None:
    from vlrface.experiment.check import check
    from vlrface.experiment.config import ViewsConfig

    config = on(experiment, FOLDER, views=ViewsConfig(1), shuffle=Shuffle("block"))
    with pytest.raises(VlrfaceError, match=r"data\.shuffle\.kind=block does not go with data\.views"):
        check(replace(config, model=replace(config.model, frozen_steps=2)))
    missing = on(experiment, RecordSource("none.rec"))
    with pytest.raises(VlrfaceError, match=r"none\.rec: no such file"):
        build(missing, places(root, tmp_path))
    with pytest.raises(VlrfaceError, match="no folder mugshot_frontal_cropped_all"):
        load_source(SCfaceSource("faces"), places(root, tmp_path))
    assert Chain(()) == PartConfig(RECORDS).transform
