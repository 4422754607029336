"""Quality measures beside our own index, for a comparison on the same pairs and the same matcher. No torch here.

Every measure is one number for a face, larger is better, NaN where there is none; it lies in `Faces.measures`. From the
picture: `pictures`. From the embedding, ours or another model's: `embeddings`. From the network under dropout, SER-FIQ:
`stochastic`, the only file that needs torch. From a table: `scores`. `measure` fills them in.
"""

from vlrface.quality.embeddings import center_of as center_of
from vlrface.quality.embeddings import from_faces as from_faces
from vlrface.quality.measure import BUILT_IN as BUILT_IN
from vlrface.quality.measure import NEEDS_PICTURES as NEEDS_PICTURES
from vlrface.quality.measure import measure_faces as measure_faces
from vlrface.quality.scores import MeasureRequest as MeasureRequest
from vlrface.quality.scores import from_file as from_file
from vlrface.quality.scores import parse_measure as parse_measure
