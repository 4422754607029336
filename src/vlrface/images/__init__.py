"""Pictures: decode files safely, resize, degrade as far cameras do, augment for training, draw procedural faces."""
