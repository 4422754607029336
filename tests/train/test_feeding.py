"""Batches on their way to the device: the same ones, in their order, whatever happens to the loader."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import OPTIONS, SIDE, assert_equal_tensors, ingredients, run, tensors

from vlrface.data.batches import Batch, Batches, Part
from vlrface.data.cache import crops_in_memory
from vlrface.images.framing import Framing, RandomFraming
from vlrface.train import TrainingInterruptedError
from vlrface.train.feeding import Feeder

CPU = torch.device("cpu")


def batch(number):
    parts = np.array([0, 1, 1, 0])
    return Batch(np.full((4, 2, 2, 3), number, np.uint8), np.full(4, number), parts, np.arange(4) + number)


@pytest.mark.parametrize("threaded", [False, True])
def test_every_batch_arrives_in_order_with_its_teacher(threaded):
    teacher = torch.arange(20.0).reshape(10, 2)
    with Feeder(map(batch, range(5)), (None, teacher), CPU, threaded=threaded) as feeder:
        fed = list(feeder)
    assert [int(each.labels[0]) for each in fed] == list(range(5))
    for number, each in enumerate(fed):
        assert each.images.dtype == torch.uint8
        assert bool((each.images == number).all())
        assert each.taught.tolist() == [False, True, True, False]
        assert torch.equal(each.teacher[1:3], teacher[number + 1 : number + 3])
        assert not each.teacher[[0, 3]].any()


def test_a_run_augments_on_the_device_and_resumes(tmp_path):
    pictures = list(np.random.default_rng(0).integers(0, 256, (40, 20, 16, 3), np.uint8))
    part = Part(crops_in_memory(pictures), np.arange(40) % 5, RandomFraming(Framing(1.2, 0.45), SIDE, SIDE))

    def given():
        return replace(ingredients(), batches=Batches([part], 8, SIDE, SIDE, seed=1, drawn=True))

    options = replace(OPTIONS, epochs=1, augment_on="device")
    whole = run(tmp_path / "whole", given(), options)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path / "stopped", given(), options, stop_at=2)
    assert_equal_tensors(tensors(run(tmp_path / "stopped", given(), options).last), tensors(whole.last))


def test_without_a_teacher_there_is_none():
    with Feeder(map(batch, range(1)), (None, None), CPU) as feeder:
        (fed,) = feeder
    assert fed.teacher is None
    assert fed.taught is None


@pytest.mark.parametrize("threaded", [False, True])
def test_what_the_loader_raises_is_raised(threaded):
    def broken():
        yield batch(0)
        raise OSError("the disk is gone")

    with Feeder(broken(), (None,), CPU, threaded=threaded) as feeder, pytest.raises(OSError, match="disk is gone"):
        list(feeder)


@pytest.mark.parametrize("threaded", [False, True])
def test_leaving_early_ends_the_loader_and_the_thread(threaded):
    ended = []

    def endless():
        try:
            while True:
                yield batch(0)
        finally:
            ended.append(True)

    with Feeder(endless(), (None,), CPU, threaded=threaded) as feeder:
        next(iter(feeder))
    assert ended == [True]
    assert not [each for each in threading.enumerate() if each.name == "feeder"]


def test_a_thread_makes_batches_while_the_step_computes():
    def slow():
        for number in range(4):
            time.sleep(0.05)
            yield batch(number)

    def waited(threaded):
        with Feeder(slow(), (None,), CPU, threaded=threaded) as feeder:
            for _ in feeder:
                time.sleep(0.06)
            return feeder.waited

    assert waited(False) >= 4 * 0.05
    assert waited(True) < waited(False)
