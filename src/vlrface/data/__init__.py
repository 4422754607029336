"""From a data set on disk to batches: manifests, one reader per source, the crop cache, and training batches.

Every reader gives a `Manifest` (what to train on or score) or a `Benchmark` (a manifest with the counts of a protocol).
Nothing here needs torch.
"""

from vlrface.data.batches import Batch as Batch
from vlrface.data.batches import Batches as Batches
from vlrface.data.batches import Part as Part
from vlrface.data.batches import SampleError as SampleError
from vlrface.data.cache import Crops as Crops
from vlrface.data.cache import cached_crops as cached_crops
from vlrface.data.cache import crops_in_memory as crops_in_memory
from vlrface.data.folder import read_identity_folder as read_identity_folder
from vlrface.data.folder import read_images as read_images
from vlrface.data.manifest import Benchmark as Benchmark
from vlrface.data.manifest import Manifest as Manifest
from vlrface.data.manifest import hold_out as hold_out
from vlrface.data.tinyface import read_testing as read_testing
from vlrface.data.tinyface import read_training as read_training
