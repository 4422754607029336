import numpy as np
import pytest

from vlrface.images.anatomy import TRAITS, measured
from vlrface.images.portrait import REACH, draw_portrait
from vlrface.images.procedural import identity_vectors

SIDE = round(64 * REACH)


@pytest.fixture(scope="module", params=range(6))
def portrait(request):
    return draw_portrait(identity_vectors(6, 1)[request.param], 64, glasses=True)


def test_shapes_and_normals(portrait):
    for surface in (portrait.bare, portrait.glasses):
        assert surface.colour.shape == (SIDE, SIDE, 4)
        assert surface.gloss.shape == (SIDE, SIDE)
    assert portrait.normals.shape == (3, SIDE * SIDE)
    np.testing.assert_allclose((portrait.normals**2).sum(axis=0), 1, atol=1e-5)
    assert (portrait.normals[2] > 0).all()  # nothing looks backward


def test_the_head_is_round(portrait):
    """Left of the middle the skin looks to the left, right of it to the right."""
    x = portrait.normals[0].reshape(SIDE, SIDE)
    rows = slice(int(SIDE * 0.35), int(SIDE * 0.5))
    middle, off = SIDE // 2, int(0.38 * SIDE / (2 * REACH))
    assert x[rows, middle - off].mean() < -0.1
    assert x[rows, middle + off].mean() > 0.1


def test_the_head_is_opaque_and_its_colours_end_with_it(portrait):
    colour, alpha = portrait.bare.colour[..., :3], portrait.bare.colour[..., 3]
    middle = SIDE // 2
    assert (alpha[middle - 8 : middle + 8, middle - 8 : middle + 8] == 255).all()
    assert alpha[0, 0] == 0
    assert not colour[alpha == 0].any()
    assert not portrait.bare.gloss[alpha == 0].any()
    assert (portrait.glasses.colour[..., 3] == alpha).all()


def test_three_mouths_for_one_window(portrait):
    assert len(portrait.mouths) == 3
    window = portrait.bare.colour[portrait.mouth_at]
    for mouth in portrait.mouths:
        assert mouth.shape == window.shape
        assert (mouth[..., 3] == window[..., 3]).all()
    dark = [(mouth[..., :3].sum(axis=2) < 150).sum() for mouth in portrait.mouths]
    assert dark[2] > dark[0]


def test_glasses_are_drawn_when_asked_for_and_change_nothing_else():
    identity = identity_vectors(1, 1)[0]
    without, with_ = (draw_portrait(identity, 64, glasses=wanted) for wanted in (False, True))
    assert without.glasses is None
    for name in ("colour", "gloss"):
        np.testing.assert_array_equal(getattr(without.bare, name), getattr(with_.bare, name))
    np.testing.assert_array_equal(without.normals, with_.normals)
    assert (with_.glasses.colour != with_.bare.colour).any()


def face(**traits):
    values = dict.fromkeys(TRAITS, 0.5) | traits
    return measured(np.array([values[name] for name in TRAITS]))


def test_traits_go_where_their_names_say():
    assert face(face_width=0.9).width > face(face_width=0.1).width
    assert face(eye_distance=0.9).eye_x > face(eye_distance=0.1).eye_x
    assert face(mouth_width=0.9).mouth_x > face(mouth_width=0.1).mouth_x
    assert face(nose_length=0.9).nose_y > face(nose_length=0.1).nose_y
    assert face(skin=0.9).skin.mean() < face(skin=0.1).skin.mean()
    assert face(hair_colour=0.9, skin=0.0).hair.mean() > face(hair_colour=0.1, skin=0.0).hair.mean()
    assert face(iris=0.99, skin=0.0).iris[2] > face(iris=0.0, skin=0.0).iris[2]


def test_the_old_grey():
    young, old = (face(age=age, hair_colour=0.1, hair_shade=0.9).hair for age in (0.2, 0.95))
    assert old.mean() > 150 > young.mean()
    assert np.ptp(old) < 15


def test_some_styles_are_for_one_build_alone():
    styles = {
        build: {face(build=build, hair_style=style).style for style in np.linspace(0, 0.999, 60).tolist()}
        for build in (0.1, 0.9)
    }
    assert any(style.cover == 0 for style in styles[0.9])
    assert all(style.cover == 1 for style in styles[0.1])
    assert all(len(seen) >= 7 for seen in styles.values())


def test_an_identity_has_all_its_traits():
    with pytest.raises(ValueError, match="zip"):
        measured(np.zeros(3))
