"""Requests share calls of the network, and each gets its own answer; nothing that was taken is lost."""

import threading
import time
from concurrent.futures import wait

import numpy as np
import pytest

from vlrface.service.batching import Batcher
from vlrface.service.errors import ServiceError
from vlrface.service.settings import Batching
from vlrface.types import VlrfaceError

from .made import MadeModel, people

CROPS = list(people().reshape(-1, 64, 64, 3))


class HeldModel(MadeModel):
    """Looks only when it is let."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "let", threading.Event())

    def look(self, crops, batch_size=64):
        assert self.let.wait(10)
        return super().look(crops, batch_size)


class PickyModel(MadeModel):
    """Cannot look at black."""

    def look(self, crops, batch_size=64):
        if any(crop.max() == 0 for crop in crops):
            raise VlrfaceError("black")
        return super().look(crops, batch_size)


def batcher(model, **settings):
    sizes = []
    made = Batcher(model, Batching(**settings), lambda faces, _: sizes.append(faces))
    return made, sizes


def test_many_threads_get_their_own_answers():
    made, sizes = batcher(MadeModel(), faces=8, wait_ms=5.0)
    expected = MadeModel().look(CROPS)
    wrong = []

    def ask(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            rows = rng.integers(0, len(CROPS), rng.integers(1, 5))
            attention = bool(rng.integers(2))
            seen = made.submit([CROPS[i] for i in rows], attention=attention).result(10)
            for row, sight in zip(rows, seen, strict=True):
                near = np.abs(sight.embedding - expected.embeddings[row]).max() < 1e-5
                looked = MadeModel().attention([CROPS[row]])[0] if attention else None
                same = sight.attention is looked or np.array_equal(sight.attention, looked)
                if not (near and same and sight.verdict == expected.verdicts[row]):
                    wrong.append((seed, row))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.close()
    assert not wrong
    assert made.waiting == 0
    assert max(sizes) > 4, "they shared calls"
    assert max(sizes) <= 8


def test_a_lone_face_waits_briefly():
    made, sizes = batcher(MadeModel(), wait_ms=20.0)
    made.submit(CROPS[:1]).result(5)
    began = time.monotonic()
    made.submit(CROPS[:1]).result(5)
    assert time.monotonic() - began < 1
    assert sizes == [1, 1]
    made.close()


def test_more_faces_than_a_call_takes_are_still_one_answer():
    made, _ = batcher(MadeModel(), faces=4)
    seen = made.submit(CROPS[:10], attention=True).result(5)
    assert len(seen) == 10
    assert all(sight.attention is not None for sight in seen)
    made.close()


def test_the_queue_is_bounded():
    model = HeldModel()
    made, _ = batcher(model, faces=1, wait_ms=0.0, waiting=3)
    first = made.submit(CROPS[:1])
    while made.waiting:
        time.sleep(0.001)
    others = [made.submit(CROPS[:1]) for _ in range(3)]
    with pytest.raises(ServiceError) as refused:
        made.submit(CROPS[:1])
    assert refused.value.status == 503
    assert refused.value.headers == {"Retry-After": "1"}
    model.let.set()
    assert len(wait([first, *others], 5).done) == 4
    assert made.submit(CROPS[:1]).result(5)
    made.close()


def test_closing_finishes_what_was_taken():
    model = HeldModel()
    made, _ = batcher(model, faces=2, waiting=100)
    taken = [made.submit(CROPS[:1]) for _ in range(9)]
    closing = threading.Thread(target=made.close)
    closing.start()
    while made.sound:
        time.sleep(0.001)
    with pytest.raises(ServiceError, match="stopping"):
        made.submit(CROPS[:1])
    model.let.set()
    closing.join(10)
    assert all(future.done() and len(future.result()) == 1 for future in taken)
    made.open()
    assert made.submit(CROPS[:1]).result(5)
    made.close()


def test_a_bad_crop_fails_its_own_request_alone():
    made, _ = batcher(PickyModel(), faces=8, wait_ms=50.0)
    futures = [made.submit([crop]) for crop in (CROPS[0], np.zeros((8, 8, 3), np.uint8), CROPS[1])]
    assert len(futures[0].result(5)) == len(futures[2].result(5)) == 1
    with pytest.raises(VlrfaceError, match="black"):
        futures[1].result(5)
    assert made.sound
    made.close()


def test_who_went_away_is_not_looked_at():
    model = HeldModel()
    made, sizes = batcher(model, faces=1, wait_ms=0.0)
    made.submit(CROPS[:1])
    while made.waiting:
        time.sleep(0.001)
    gone = made.submit(CROPS[:1])
    assert gone.cancel()
    model.let.set()
    made.submit(CROPS[:1]).result(5)
    made.close()
    assert sizes == [1, 1]
