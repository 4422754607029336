"""Made faces: a centre per person, and noise that falls with the index."""

import dataclasses

import numpy as np

from vlrface.types import Faces, Pairing


def faces_of(identities, roles, *, seed=0, names=None, sizes=None, noise=1.3, dimension=16):
    """Larger faces have a higher index and less noise. Unknown people have a centre each."""
    rng = np.random.default_rng(seed)
    n = len(identities)
    sizes = np.random.default_rng(99).integers(8, 40, n) if sizes is None else sizes
    index = (sizes / 10 - 2 + 0.5 * rng.normal(size=n)).astype(np.float32)
    # Centres belong to people, not to the seed: two seeds are two models of the same people.
    centres = np.random.default_rng(98).normal(size=(int(max(identities)) + 1, dimension))
    centre = np.where(identities[:, None] >= 0, centres[np.maximum(identities, 0)], rng.normal(size=(n, dimension)))
    spread = np.maximum(noise - 0.5 * np.clip(index, -1, 2), 0.1)
    return Faces(
        embeddings=(centre + spread[:, None] * rng.normal(size=(n, dimension))).astype(np.float32),
        recognizability=index,
        identities=identities,
        roles=np.asarray(roles),
        names=np.array([f"{i}.jpg" for i in range(n)]) if names is None else names,
        sizes=sizes.astype(np.int32),
        failures=np.full(n, "", "<U20"),
    )


def tinyface(people=30, probes=3, gallery=2, distractors=40, **options):
    identities = np.concatenate(
        [np.repeat(np.arange(people), probes), np.repeat(np.arange(people), gallery), np.full(distractors, -100)]
    )
    roles = np.repeat(["probe", "gallery", "distractor"], [people * probes, people * gallery, distractors])
    return faces_of(identities, roles, **options)


def scface(subjects=20, cameras=5, first=1, **options):
    numbers = np.arange(first, first + subjects)
    identities = np.concatenate([numbers, np.tile(np.repeat(numbers, cameras), 3)])
    roles = np.repeat(["gallery", "distance1", "distance2", "distance3"], [subjects, *[subjects * cameras] * 3])
    sizes = np.repeat([100, 16, 24, 48], [subjects, *[subjects * cameras] * 3])
    return faces_of(identities, roles, sizes=sizes + np.random.default_rng(97).integers(-3, 4, len(sizes)), **options)


def pair_list(people=40, pictures=3, genuine=60, impostors=60, folds=True, seed=5, **options):
    """Every person has several pictures; the list goes through its people in order."""
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(people), pictures)
    faces = faces_of(identities, np.full(len(identities), "face"), **options)
    who = np.sort(rng.integers(0, people, genuine))
    one, other = np.sort([rng.permutation(pictures)[:2] for _ in range(genuine)]).T
    first = np.concatenate([who * pictures + one, rng.integers(0, people // 2 * pictures, impostors)])
    second = np.concatenate(
        [who * pictures + other, rng.integers(people // 2 * pictures, people * pictures, impostors)]
    )
    same = np.arange(genuine + impostors) < genuine
    fold = np.concatenate([np.arange(genuine) * 10 // genuine, np.arange(impostors) * 10 // max(1, impostors)])
    pairing = Pairing(first, second, same, fold if folds else np.full(len(same), -1))
    return dataclasses.replace(faces, pairing=pairing)


def cross_resolution(people=20, probes=3, sides=(7, 14, 28), **options):
    identities = np.concatenate([np.arange(people), np.tile(np.repeat(np.arange(people), probes), len(sides))])
    roles = np.repeat(["gallery", *(f"side{s}" for s in sides)], [people, *[people * probes] * len(sides)])
    names = np.concatenate(
        [[f"g{i}" for i in range(people)], np.tile([f"p{i}" for i in range(people * probes)], len(sides))]
    )
    sizes = np.repeat([112, *sides], [people, *[people * probes] * len(sides)])
    return faces_of(identities, roles, names=names, sizes=sizes, **options)


def failing(faces, rows):
    """The same faces, of which some could not be encoded. Their rows hold numbers, as a careless writer leaves them."""
    embeddings, index, failures = faces.embeddings.copy(), faces.recognizability.copy(), faces.failures.copy()
    embeddings[rows], index[rows], failures[rows] = 0, 9, "truncated"
    return dataclasses.replace(faces, embeddings=embeddings, recognizability=index, failures=failures)


def blind(faces):
    """Of a model that predicts no index."""
    return dataclasses.replace(faces, recognizability=np.full(len(faces), np.nan, np.float32))
