"""From held-out faces to a calibration: what an index means (`score`), and thresholds for wished rates (`wishes`)."""

from vlrface.calibrate.score import Calibration as Calibration
from vlrface.calibrate.score import Searched as Searched
from vlrface.calibrate.score import calibrate as calibrate
from vlrface.calibrate.score import described as described
from vlrface.calibrate.score import fit_calibration as fit_calibration
from vlrface.calibrate.score import judged_reliability as judged_reliability
from vlrface.calibrate.score import known_people as known_people
from vlrface.calibrate.score import search_held_out as search_held_out
from vlrface.calibrate.wishes import Wishes as Wishes
from vlrface.calibrate.wishes import watch_list as watch_list
from vlrface.calibrate.wishes import wished_points as wished_points
