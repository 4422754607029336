"""Pictures: decode files safely, resize, degrade as far cameras do, augment for training, draw procedural faces.

Take names from the modules (`from vlrface.images.resize import resize`): several functions bear the name of theirs, so
this package binds none of them.
"""
