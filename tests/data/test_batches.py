import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.data.batches import Batch, Batches, Part, SampleError
from vlrface.data.cache import cached_crops, crops_in_memory
from vlrface.data.folder import read_images
from vlrface.images.framing import Framing, RandomFraming
from vlrface.types import VlrfaceError

SIDE = 8
FRAMED = RandomFraming(Framing(window=0.9), SIDE, SIDE)


def solid(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop's first value, then 30 numbers of the sample's generator."""
    result = np.zeros((SIDE, SIDE, 3), np.uint8)
    result[0, 0] = image[0, 0]
    result[1:4, :SIDE] = rng.integers(0, 256, (3, SIDE, 3), np.uint8)
    return result


def broken(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if image[0, 0, 0] == 7:
        raise ZeroDivisionError("seven is bad luck")
    return solid(image, rng)


def deadly(_image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    os._exit(3)


def in_place(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    image[0] = 0
    return image


def too_small(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    return image[:4, :4]


def floating(_image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    return np.zeros((SIDE, SIDE, 3))


def says_who(_image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    result = np.zeros((SIDE, SIDE, 3), np.uint8)
    result[0, 0] = list(os.getpid().to_bytes(3, "little"))
    return result


def _part(n: int, transform: Any = solid, copies: float = 1.0, first: int = 0) -> Part:
    images = [np.full((SIDE + i % 3, SIDE, 3), first + i, np.uint8) for i in range(n)]
    return Part(crops_in_memory(images), np.arange(n) * 10, transform, copies)


def _equal(a: Batch, b: Batch) -> bool:
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("images", "labels", "parts", "rows"))


def _drawn(batches: Iterator[Batch]) -> list[tuple[int, int]]:
    return [pair for b in batches for pair in zip(b.parts.tolist(), b.rows.tolist(), strict=True)]


def test_a_batch_says_what_it_holds() -> None:
    batches = Batches([_part(6), _part(9, first=100)], 4, SIDE, SIDE, seed=1)
    assert batches.steps_per_epoch == 3  # 15 samples; three are left over
    seen = list(batches.epoch(0))
    assert len(seen) == 3
    for batch in seen:
        assert batch.images.shape == (4, SIDE, SIDE, 3)
        assert batch.images.flags.writeable  # torch.from_numpy warns otherwise
        assert batch.labels.dtype == batch.parts.dtype == batch.rows.dtype == np.int64
        np.testing.assert_array_equal(batch.images[:, 0, 0, 0], batch.parts * 100 + batch.rows)
        np.testing.assert_array_equal(batch.labels, batch.rows * 10)
    assert max(Counter(_drawn(iter(seen))).values()) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_same_batches_for_any_number_of_workers(workers: int, tmp_path: Path, picture: Callable[..., Path]) -> None:
    for i in range(12):
        picture(tmp_path / "faces" / f"{i}.png", 12 + i, 9)
    mapped = cached_crops(read_images([tmp_path / "faces"]), tmp_path / "cache", progress=False)
    parts = [Part(mapped, np.arange(12), FRAMED, 1.5), _part(7, copies=2.0)]
    alone = Batches(parts, 5, SIDE, SIDE, seed=3, workers=0)
    helped = Batches(parts, 5, SIDE, SIDE, seed=3, workers=workers)
    assert alone.steps_per_epoch == helped.steps_per_epoch == 6
    for epoch in (0, 2):
        expected = list(alone.epoch(epoch))
        got = list(helped.epoch(epoch))
        assert len(got) == 6
        assert all(_equal(a, b) for a, b in zip(expected, got, strict=True))
        assert all(b.images.flags.writeable for b in got)
        resumed = list(helped.epoch(epoch, start=4))
        assert all(_equal(a, b) for a, b in zip(expected[4:], resumed, strict=True))
    assert multiprocessing.active_children() == []


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=30)
def test_resuming_anywhere_gives_the_rest(seed: int, epoch: int, size: int, data: st.DataObject) -> None:
    batches = Batches([_part(11, copies=1.3)], size, SIDE, SIDE, seed=seed)
    start = data.draw(st.integers(0, batches.steps_per_epoch))
    whole = list(batches.epoch(epoch))
    rest = list(batches.epoch(epoch, start))
    assert len(rest) == batches.steps_per_epoch - start
    assert all(_equal(a, b) for a, b in zip(whole[start:], rest, strict=True))


def test_epochs_and_seeds_differ() -> None:
    def first(seed: int, epoch: int) -> Batch:
        return next(iter(Batches([_part(50)], 20, SIDE, SIDE, seed=seed).epoch(epoch)))

    assert _equal(first(0, 0), first(0, 0))
    others = [first(0, 1), first(1, 0), first(1, 1), first(2**63, 0)]
    for i, a in enumerate([first(0, 0), *others]):
        for b in others[i:]:
            assert not np.array_equal(a.rows, b.rows)
            assert not np.array_equal(a.images, b.images)


def test_same_crop_is_augmented_differently_each_time() -> None:
    """In two copies, at two positions, in two epochs."""
    batches = Batches([_part(10, copies=2.0)], 20, SIDE, SIDE, seed=0)
    noise = {bytes(image[1:4].tobytes()) for epoch in range(3) for b in batches.epoch(epoch) for image in b.images}
    assert len(noise) == 60


@pytest.mark.parametrize(
    ("copies", "counts"),
    [(1.0, {1: 10}), (2.0, {2: 10}), (0.5, {1: 5}), (2.5, {2: 5, 3: 5}), (0.25, {1: 3}), (0.06, {1: 1})],
)
def test_copies(copies: float, counts: dict[int, int]) -> None:
    batches = Batches([_part(10, copies=copies)], 1, SIDE, SIDE, seed=0)
    chosen: set[tuple[int, ...]] = set()
    for epoch in range(4):
        times = Counter(_drawn(batches.epoch(epoch)))
        assert Counter(times.values()) == counts
        chosen.add(tuple(sorted(row for (_, row), k in times.items() if k == max(counts))))
    assert (len(chosen) == 1) == float(copies).is_integer()


def test_halves_cover_everything_in_time() -> None:
    batches = Batches([_part(20, copies=0.5)], 10, SIDE, SIDE, seed=0)
    rows = Counter(row for epoch in range(200) for _, row in _drawn(batches.epoch(epoch)))
    assert len(rows) == 20
    assert min(rows.values()) > 70  # binomial(200, 1/2): 70 is four standard deviations below the mean
    assert max(rows.values()) < 130


def test_order_mixes_the_parts() -> None:
    batches = Batches([_part(60), _part(60)], 120, SIDE, SIDE, seed=0)
    parts = next(iter(batches.epoch(0))).parts
    assert 20 < parts[:60].sum() < 40


def test_order_and_randomness_are_frozen() -> None:
    """A resumed run on another machine or version must go on with the same samples."""
    batch = next(iter(Batches([_part(8)], 4, SIDE, SIDE, seed=6).epoch(3)))
    assert (batch.rows.tolist(), batch.images[:, 1, 0, 0].tolist()) == FROZEN


FROZEN = ([1, 0, 4, 5], [190, 245, 40, 232])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_error_names_the_sample(workers: int) -> None:
    images = [np.full((SIDE, SIDE, 3), i, np.uint8) for i in range(10)]
    crops = crops_in_memory(images, names=[f"{i}/face.jpg" for i in range(10)])
    batches = Batches([_part(3), Part(crops, np.arange(10), broken)], 2, SIDE, SIDE, seed=0, workers=workers)
    with pytest.raises(SampleError, match=r"^7/face.jpg \(part 1, row 7, epoch 4, position \d+\): Zero.*: seven"):
        list(batches.epoch(4))
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (in_place, "read-only"),
        (too_small, r"uint8 of shape \(4, 4, 3\), not uint8 \(8, 8, 3\)"),
        (floating, "gave float64"),
    ],
)
def test_bad_transforms(transform: Any, message: str) -> None:
    batches = Batches([_part(3, transform)], 1, SIDE, SIDE, seed=0)
    with pytest.raises(SampleError, match=rf"^#\d \(part 0, .*{message}"):
        list(batches.epoch(0))


def test_dead_worker() -> None:
    batches = Batches([_part(30, deadly)], 2, SIDE, SIDE, seed=0, workers=2)
    with pytest.raises(VlrfaceError, match=r"a worker process died\. It may have run out of memory"):
        list(batches.epoch(0))
    assert multiprocessing.active_children() == []


UNGUARDED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_batches import SIDE, Batches, _part
for _ in Batches([_part(20)], 2, SIDE, SIDE, seed=0, workers=1).epoch(0):
    print("a batch")
"""


def test_program_without_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(UNGUARDED)
    command = [sys.executable, script, Path(__file__).parent]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "a batch" not in done.stdout
    assert 'work outside `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_breaking_out_leaves_no_process() -> None:
    batches = Batches([_part(100)], 2, SIDE, SIDE, seed=0, workers=2)
    for step, _ in enumerate(batches.epoch(0)):
        assert len(multiprocessing.active_children()) == 2
        if step == 2:
            break
    gc.collect()
    assert multiprocessing.active_children() == []

    iterator = batches.epoch(0)
    next(iterator)
    del iterator
    gc.collect()
    assert multiprocessing.active_children() == []

    with contextlib.suppress(KeyError):
        for _ in batches.epoch(1):
            raise KeyError
    gc.collect()
    assert multiprocessing.active_children() == []


def test_an_iterator_that_is_never_started_starts_nothing() -> None:
    batches = Batches([_part(10)], 2, SIDE, SIDE, seed=0, workers=2)
    iterator = batches.epoch(0)
    assert multiprocessing.active_children() == []
    del iterator


def test_work_is_done_elsewhere_and_ahead_of_time() -> None:
    batches = Batches([_part(40, says_who)], 1, SIDE, SIDE, seed=0, workers=2)
    who = {int.from_bytes(bytes(b.images[0, 0, 0].tolist()), "little") for b in batches.epoch(0)}
    assert os.getpid() not in who
    assert 1 <= len(who) <= 2


def test_beside_a_running_torch_pool() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.randn(400, 400) @ torch.randn(400, 400)
        batches = Batches([_part(20, FRAMED)], 5, SIDE, SIDE, seed=0, workers=2)
        for batch in batches.epoch(0):
            assert torch.from_numpy(batch.images).float().mean() >= 0
            torch.randn(400, 400) @ torch.randn(400, 400)
    finally:
        torch.set_num_threads(before)


def test_workers_do_not_import_torch() -> None:
    code = "import sys, vlrface.data; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ORPHANS = """
import multiprocessing, sys
sys.path.insert(0, sys.argv[1])
from test_batches import SIDE, Batches, _part
if __name__ == "__main__":
    for _ in Batches([_part(200)], 2, SIDE, SIDE, seed=0, workers=2).epoch(0):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        sys.stdin.readline()
"""


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        # A process that ended and that nobody has waited for yet does no harm.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_when_the_trainer_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(ORPHANS)
    with subprocess.Popen(
        [sys.executable, script, Path(__file__).parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as trainer:
        assert trainer.stdout is not None
        workers = [int(pid) for pid in trainer.stdout.readline().split()]
        assert len(workers) == 2
        assert all(_alive(pid) for pid in workers)
        trainer.send_signal(signal.SIGKILL)
        trainer.wait()
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlive a killed trainer"
        time.sleep(0.05)


STOPPED = """
import multiprocessing, os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_batches import SIDE, Batches, _part
if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: print(signal.Signals(number).name, flush=True))
    batches = Batches([_part(200)], 2, SIDE, SIDE, seed=0, workers=2)
    for epoch in range(2):  # the second starts its workers from the same server
        for step, _ in enumerate(batches.epoch(epoch)):
            if step == 0:
                os.killpg(0, signal.SIGTERM if epoch == 0 else signal.SIGINT)
    print("whole", multiprocessing.active_children())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_a_signal_to_the_whole_group_stops_no_worker(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(STOPPED)
    command = [sys.executable, script, Path(__file__).parent]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, start_new_session=True)
    assert done.stdout.splitlines() == ["SIGTERM", "SIGINT", "whole []"], done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_dead_worker_ends_the_others_though_they_ignore_sigterm() -> None:
    batches = Batches([_part(200)], 2, SIDE, SIDE, seed=0, workers=2)
    iterator = batches.epoch(0)
    next(iterator)
    os.kill(min(child.pid for child in multiprocessing.active_children() if child.pid), signal.SIGKILL)
    with pytest.raises(VlrfaceError, match="a worker process died"):
        list(iterator)
    assert multiprocessing.active_children() == []


def test_lost_cache_reaches_the_caller(tmp_path: Path, picture: Callable[..., Path]) -> None:
    picture(tmp_path / "faces/1.png")
    crops = cached_crops(read_images([tmp_path / "faces"]), tmp_path / "cache", progress=False)
    batches = Batches([Part(crops, np.array([0]), FRAMED)], 1, SIDE, SIDE, seed=0, workers=1)
    assert crops.file is not None
    crops.file.unlink()
    with pytest.raises(VlrfaceError, match="cache of decoded crops is gone"):
        list(batches.epoch(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": []}, "no part"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"height": 0}, "height=0"),
        ({"width": -1}, "width=-1"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**64}, "seed=18446744073709551616"),
        ({"workers": -1}, "workers=-1"),
        ({"batch_size": 11}, "10 samples, fewer than one batch of 11"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    values = {"parts": [_part(10)], "batch_size": 2, "height": SIDE, "width": SIDE, "seed": 0, "workers": 0}
    with pytest.raises(VlrfaceError, match=message):
        Batches(**{**values, **changes})


def test_refuses_transforms_that_cannot_be_sent() -> None:
    part = _part(4, lambda image, _: image)
    Batches([part], 2, SIDE, SIDE, seed=0, workers=0)
    with pytest.raises(VlrfaceError, match=r"part 0 cannot be sent to worker processes.*top level"):
        Batches([part], 2, SIDE, SIDE, seed=0, workers=1)


@pytest.mark.parametrize(("epoch", "start"), [(-1, 0), (0, -1), (0, 6)])
def test_refuses_steps_that_are_not_there_at_once(epoch: int, start: int) -> None:
    batches = Batches([_part(10)], 2, SIDE, SIDE, seed=0)
    with pytest.raises(VlrfaceError, match=f"no step {start} of epoch {epoch}; an epoch has 5"):
        batches.epoch(epoch, start)
    assert list(batches.epoch(0, 5)) == []


def test_parts_are_checked(tmp_path: Path, picture: Callable[..., Path]) -> None:
    crops = crops_in_memory([np.zeros((2, 2, 3), np.uint8)] * 3)
    with pytest.raises(VlrfaceError, match="2 labels for 3 crops"):
        Part(crops, np.arange(2), solid)
    for copies in (0.0, -1.0, 0.1, float("nan"), float("inf")):
        with pytest.raises(VlrfaceError, match="draws none"):
            Part(crops, np.arange(3), solid, copies)
    picture(tmp_path / "faces/1.png")
    (tmp_path / "faces/2.png").write_text("no picture")
    crops = cached_crops(read_images([tmp_path / "faces"]), tmp_path / "cache", progress=False)
    with pytest.raises(VlrfaceError, match=r"1 of 2 crops could not be decoded, first 2\.png: .*Leave them out"):
        Part(crops, np.arange(2), solid)
    assert Part(crops.rows(crops.failures == ""), np.arange(1), solid).drawn == 1


def test_sample_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(SampleError("a.jpg: why")))
    assert str(error) == "a.jpg: why"


def test_laziness() -> None:
    """Asking for two batches of a large epoch makes two."""
    calls: list[int] = []

    def counting(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        calls.append(1)
        return solid(image, rng)

    batches = Batches([_part(100, counting)], 5, SIDE, SIDE, seed=0)
    assert len(list(islice(batches.epoch(0), 2))) == 2
    assert len(calls) == 10
