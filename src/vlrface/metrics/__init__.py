"""What recognition and recognizability are worth, measured: numpy only.

`identification` searches probes in a gallery, `open_set` among strangers too, `verification` compares pairs,
`rejection` asks what turning away the worst faces brings, `calibration` what an index means; `intervals` and
`resampled` say how sure all that is.
"""

from vlrface.metrics.calibration import Calibration as Calibration
from vlrface.metrics.correlation import spearman as spearman
from vlrface.metrics.folds import accuracy_10_fold as accuracy_10_fold
from vlrface.metrics.identification import Ranks as Ranks
from vlrface.metrics.identification import closed_set_ranks as closed_set_ranks
from vlrface.metrics.identification import cmc as cmc
from vlrface.metrics.identification import leave_one_out_ranks as leave_one_out_ranks
from vlrface.metrics.identification import mean_average_precision as mean_average_precision
from vlrface.metrics.identification import rank_k as rank_k
from vlrface.metrics.intervals import bootstrap_shares as bootstrap_shares
from vlrface.metrics.intervals import paired_difference as paired_difference
from vlrface.metrics.open_set import open_set_curve as open_set_curve
from vlrface.metrics.open_set import search_open_set as search_open_set
from vlrface.metrics.open_set import tpir_area as tpir_area
from vlrface.metrics.open_set import tpir_at_fpir as tpir_at_fpir
from vlrface.metrics.pairs import Pairs as Pairs
from vlrface.metrics.pairs import genuine_impostor as genuine_impostor
from vlrface.metrics.pairs import listed_pairs as listed_pairs
from vlrface.metrics.rejection import EDC as EDC
from vlrface.metrics.rejection import edc as edc
from vlrface.metrics.rejection import partial_auc as partial_auc
from vlrface.metrics.rejection import rank1_after_reject as rank1_after_reject
from vlrface.metrics.templates import gallery_templates as gallery_templates
from vlrface.metrics.verification import auc as auc
from vlrface.metrics.verification import eer as eer
from vlrface.metrics.verification import roc as roc
from vlrface.metrics.verification import tpr_at_far as tpr_at_far
