"""A model that answers."""

import numpy as np
import pytest

from vlrface.encode.served import ServedModel
from vlrface.metrics.calibration import Calibration
from vlrface.models import MobileFaceNet, PerceptibilityAttention, PerceptibilityRegression, Recognizer
from vlrface.models.attention import spatial_kernel
from vlrface.models.mobilefacenet import mobilefacenet_input
from vlrface.types import VlrfaceError

CALIBRATION = Calibration(1.0, 0.0, 0.0, 1.0, gallery_size=10, faces=10, rank1=0.5, calibration_error=0.1)


def model(calibration):
    trunk = MobileFaceNet(mobilefacenet_input(32, 32), seed=0)
    network = Recognizer(trunk, PerceptibilityRegression(trunk.feature_shape, seed=0)).eval()
    return ServedModel(network, "made", "made", calibration, flip=True)


def crops():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side + 2, 3), np.uint8) for side in (20, 32, 50)]


def test_it_sees_what_its_encoder_sees():
    served = model(CALIBRATION)
    looks = served.look(crops(), batch_size=2)
    faces = served.encoder.faces(crops(), flip=True)
    np.testing.assert_allclose(looks.embeddings * looks.norms[:, None], faces.embeddings, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(looks.embeddings, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(looks.recognizability, faces.recognizability, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(looks.scores, CALIBRATION.score(looks.recognizability))
    assert looks.verdicts.tolist() == CALIBRATION.verdict(looks.recognizability).tolist()


def test_a_broken_network_is_refused():
    served = model(CALIBRATION)
    network = served.encoder
    embed = network.embed_crops

    def broken(images, **options):
        embeddings, index = embed(images, **options)
        embeddings[1] = np.nan
        return embeddings, index

    network.embed_crops = broken
    with pytest.raises(VlrfaceError, match="made: gave NaN or infinity for 1 of 3 faces"):
        served.look(crops())


def test_without_calibration_nothing_is_said():
    looks = model(None).look(crops())
    assert np.isnan(looks.scores).all()
    assert looks.verdicts.tolist() == ["", "", ""]


def test_no_crops_are_no_looks():
    assert len(model(CALIBRATION).look([]).embeddings) == 0


def test_where_it_looks():
    trunk = MobileFaceNet(mobilefacenet_input(32, 32), seed=0)
    attention = PerceptibilityAttention(trunk.feature_shape[0], kernel=spatial_kernel(trunk.feature_shape), seed=0)
    maps = ServedModel(Recognizer(trunk, attention=attention), "made", "made", None, flip=True).attention(crops())
    assert maps.shape == (3, 2, 2)
    assert (maps > 0).all()
    assert (maps < 1).all()
    assert model(None).attention(crops()) is None
