"""Pictures → `Faces`, by our network or by anybody's ONNX model (`vlrface.encode.onnx`). No torch here."""

from vlrface.encode.faces import SHRINK_SIDE as SHRINK_SIDE
from vlrface.encode.faces import Encoder as Encoder
from vlrface.encode.faces import encode as encode
from vlrface.encode.faces import encode_crops as encode_crops
from vlrface.encode.faces import shrunk as shrunk
