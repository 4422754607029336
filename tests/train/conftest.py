"""Undisturbed runs, to compare others with."""

import pytest

pytest.register_assert_rewrite("tiny_run")

from tiny_run import OPTIONS, run  # noqa: E402 (after the registration)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Undisturbed runs by their options, each made once."""
    done = {}

    def undisturbed(options):
        if options not in done:
            folder = tmp_path_factory.mktemp("undisturbed")
            done[options] = folder, run(folder, options=options)
        return done[options]

    return undisturbed


@pytest.fixture(scope="module")
def undisturbed(runs):
    return runs(OPTIONS)
