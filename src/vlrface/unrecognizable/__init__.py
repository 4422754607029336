"""Unrecognizable faces of a pool, found without labels: numpy and clustering only."""

from vlrface.unrecognizable.clusters import Method as Method
from vlrface.unrecognizable.discovery import Discovery as Discovery
from vlrface.unrecognizable.discovery import Settings as Settings
from vlrface.unrecognizable.discovery import discover as discover
from vlrface.unrecognizable.evidence import MEANINGS as MEANINGS
from vlrface.unrecognizable.evidence import Cluster as Cluster
from vlrface.unrecognizable.evidence import Evidence as Evidence
from vlrface.unrecognizable.evidence import Pool as Pool
from vlrface.unrecognizable.looks import LOOK_SIDE as LOOK_SIDE
from vlrface.unrecognizable.looks import looks_of as looks_of
