"""On real faces: what a shrunk copy of a face loses."""

import numpy as np
import pytest

from vlrface.images.decode import decode
from vlrface.images.resize import resize
from vlrface.models.pretrained import load_mobilefacenet_ms1m
from vlrface.models.recognizer import Recognizer
from vlrface.quality.pictures import sharpness
from vlrface.quality.stochastic import SerFiq


@pytest.mark.real
def test_shrunk_faces_are_worse_by_sharpness_and_by_ser_fiq(real_data):
    paths = sorted((real_data / "lfw-vlr" / "hr" / "dev").glob("*/*.jpg"))[::60][:24]
    faces = [decode(path) for path in paths]
    shrunk = [resize(face, 12, 12) for face in faces]
    assert (sharpness(shrunk) < sharpness(faces)).all()
    network = Recognizer(load_mobilefacenet_ms1m(real_data / "weights" / "mobilefacenet_ms1m.safetensors")).eval()
    measure = SerFiq(network, passes=30)
    assert np.mean(measure(shrunk) < measure(faces)) > 0.9
