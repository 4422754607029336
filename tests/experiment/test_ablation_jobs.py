"""Processes side by side: order, failures, and that none outlives whoever started it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from vlrface.experiment.ablation_jobs import Task, run_tasks

OBEYING = """
import signal, sys, time
def stop(*_):
    print("saved", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
"""
WAIT = "print('up', flush=True)\nwhile True: time.sleep(0.05)\n"


def task(folder, name, code):
    return Task(name, (sys.executable, "-c", code), folder / f"{name}.log")


def wait_for(path, text, seconds=30):
    until = time.monotonic() + seconds
    while not (path.is_file() and text in path.read_text()):
        assert time.monotonic() < until, path.read_text() if path.is_file() else "no file"
        time.sleep(0.05)


def test_all_run_and_a_failure_keeps_none_from_running(tmp_path):
    tasks = [task(tmp_path, name, f"print('{name}'); raise SystemExit({code})") for name, code in
             (("a", 0), ("b", 3), ("c", 0))]  # fmt: skip
    ended, most = {}, []
    run_tasks(
        tasks, 2,
        ended=lambda run, code: ended.update({run.task.name: code}),
        watch=lambda running: most.append(len(running)),
    )  # fmt: skip
    assert ended == {"a": 0, "b": 3, "c": 0}
    assert max(most) <= 2
    assert (tmp_path / "b.log").read_text() == "b\n"


def test_several_have_one_thread_each(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    say = "import os; print(os.environ.get('OMP_NUM_THREADS'))"
    for parallel, said in ((1, "None\n"), (2, "1\n")):
        run_tasks([task(tmp_path, f"t{parallel}", say)], parallel, ended=lambda *_: None, watch=lambda _: None)
        assert (tmp_path / f"t{parallel}.log").read_text() == said


@pytest.fixture
def heard():
    """Ctrl-C is heard as in a terminal, also where the tests run in processes that ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.own_process
@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_reaches_all_once_and_is_waited_for(tmp_path, number):
    tasks = [task(tmp_path, name, OBEYING + WAIT) for name in ("a", "b", "never")]

    def watch(_):
        if all((tmp_path / f"{name}.log").read_text() == "up\n" for name in ("a", "b")):
            os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks, 2, ended=lambda *_: None, watch=watch)
    assert (tmp_path / "a.log").read_text() == (tmp_path / "b.log").read_text() == "up\nsaved\n"
    assert not (tmp_path / "never.log").exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_process_stops_when_its_parent_is_killed(tmp_path):
    child = OBEYING + "from vlrface.experiment.ablation_jobs import stop_with_parent; stop_with_parent()\n" + WAIT
    parent = (
        "import sys; from pathlib import Path\n"
        "from vlrface.experiment.ablation_jobs import Task, run_tasks\n"
        f"run_tasks([Task('a', (sys.executable, '-c', {child!r}), Path('a.log'))], 1, ended=print, watch=lambda _: 0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path)
    wait_for(tmp_path / "a.log", "up")
    process.kill()
    process.wait()
    wait_for(tmp_path / "a.log", "saved")
