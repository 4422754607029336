"""What a network is trained to do: margins, heads, the recognizability index, and the weighted objective.

Takes tensors, never models. An equation is a pure function; a module holds only weights and running statistics.
"""

from vlrface.losses.adaptive_heads import AdaFace as AdaFace
from vlrface.losses.adaptive_heads import CurricularFace as CurricularFace
from vlrface.losses.adaptive_heads import MagFace as MagFace
from vlrface.losses.adaptive_heads import MVSoftmax as MVSoftmax
from vlrface.losses.head import Head as Head
from vlrface.losses.head import HeadOutput as HeadOutput
from vlrface.losses.heads import ArcFace as ArcFace
from vlrface.losses.heads import CosFace as CosFace
from vlrface.losses.heads import CrossEntropy as CrossEntropy
from vlrface.losses.heads import NormFace as NormFace
from vlrface.losses.objective import MethodObjective as MethodObjective
from vlrface.losses.objective import ObjectiveOutput as ObjectiveOutput
from vlrface.losses.objective import ObjectiveWeights as ObjectiveWeights
from vlrface.losses.objective import nonfinite as nonfinite
from vlrface.losses.recognizability import UnrecognizableStatistics as UnrecognizableStatistics
from vlrface.losses.recognizability import recognizability_index as recognizability_index
