"""Hierarchies beside those of others: SciPy's, scikit-learn's, and a slow obvious loop."""

import numpy as np
import pytest
from tests.unrecognizable.test_neighbours import units

from vlrface.types import VlrfaceError
from vlrface.unrecognizable import clusters
from vlrface.unrecognizable.clusters import hierarchy


def partition(labels):
    return {frozenset(np.flatnonzero(labels == each).tolist()) for each in np.unique(labels)}


def test_agglomerative_is_average_linkage_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.cluster")
    unit = units(120, 6)
    tree = hierarchy(unit, "agglomerative")
    for height in (0.3, 0.6, 0.9):
        other = sklearn.AgglomerativeClustering(
            n_clusters=None, distance_threshold=height, metric="cosine", linkage="average"
        ).fit_predict(unit.astype(np.float64))
        assert partition(tree.cut(height)) == partition(other)


def reachability(unit, core):
    """Mutual reachability of all pairs, as HDBSCAN defines it."""
    distances = np.maximum(1 - unit.astype(np.float64) @ unit.T.astype(np.float64), 0)
    own = np.sort(distances + np.diag(np.full(len(unit), -1.0)), axis=1)[:, core]
    return np.maximum(distances, np.maximum.outer(own, own))


@pytest.mark.parametrize("height", [0.2, 0.4, 0.6])
def test_a_cut_of_the_whole_graph_joins_all_within_mutual_reachability(height, monkeypatch):
    monkeypatch.setattr(clusters, "_NEIGHBOURS", 1000)
    unit = units(60, 5)
    joined = reachability(unit, 5) <= height
    labels = np.arange(len(unit))
    for _ in range(len(unit)):  # the smallest label that can be reached
        labels = np.array([labels[row | (np.arange(len(unit)) == i)].min() for i, row in enumerate(joined)])
    assert partition(hierarchy(unit, "graph").cut(height)) == partition(labels)


def test_the_graph_keeps_two_dense_groups_and_a_chain_between_them_apart():
    rng = np.random.default_rng(0)
    ends = np.eye(8)[:2]
    groups = np.repeat(ends, 60, axis=0) + 0.05 * rng.standard_normal((120, 8))
    share = np.linspace(0, 1, 12)[1:-1, None]
    chain = share * ends[0] + (1 - share) * ends[1]
    unit = np.concatenate([groups, chain])
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    labels = hierarchy(unit, "graph").cut(0.04)
    assert len(np.unique(labels[:60])) == len(np.unique(labels[60:120])) == 1
    assert labels[0] != labels[60]


@pytest.mark.parametrize("method", ["agglomerative", "graph"])
def test_levels_only_join(method):
    tree = hierarchy(units(80, 6), method)
    before = None
    for _, labels in tree.levels():
        assert labels.shape == (80,)
        if before is not None:
            assert all(len(np.unique(labels[before == each])) == 1 for each in np.unique(before))
        before = labels


@pytest.mark.parametrize("method", ["agglomerative", "graph"])
def test_copies_are_one_cluster_from_the_start(method):
    unit = np.repeat(units(4, 8), 8, axis=0)
    labels = hierarchy(unit, method).cut(1e-6)
    assert partition(labels) == {frozenset(range(k, k + 8)) for k in range(0, 32, 8)}


def test_what_cannot_be_clustered_is_refused(monkeypatch):
    with pytest.raises(VlrfaceError, match="1 embeddings cannot be clustered"):
        hierarchy(units(1))
    monkeypatch.setattr(clusters, "AGGLOMERATIVE_UP_TO", 10)
    with pytest.raises(VlrfaceError, match="at most 10 embeddings, not 11: use the graph"):
        hierarchy(units(11), "agglomerative")
