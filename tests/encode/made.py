"""Numbers that the tiny graphs share with what is expected of them."""

import numpy as np

SIDE = 8
DIM = 4
WEIGHTS = np.random.default_rng(7).normal(size=(3 * SIDE * SIDE, DIM)).astype(np.float32)
