import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.encode.card import MAX_CARD_BYTES, ModelCard, PictureInput, card_beside, find_card, read_card
from vlrface.images.framing import Framing
from vlrface.types import VlrfaceError

CARDS = sorted((Path(__file__).parents[2] / "recipes" / "cards").glob("*.json"))


def _file(tmp_path, values):
    path = tmp_path / "card.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return path


_numbers = st.tuples(st.floats(0.001, 300)) | st.tuples(*[st.floats(0.001, 300)] * 3)
# Values, not cards: what a strategy makes is not to be checked by a checker that draws random numbers.
_cards = st.fixed_dictionaries(
    {
        "name": st.none() | st.text(max_size=5),
        "height": st.none() | st.integers(1, 1024),
        "width": st.none() | st.integers(1, 1024),
        "order": st.sampled_from([None, "rgb", "bgr"]),
        "mean": st.none() | _numbers,
        "scale": st.none() | _numbers,
        "layout": st.sampled_from([None, "nchw", "nhwc"]),
        "framing": st.none() | st.tuples(st.none() | st.floats(0.1, 9), st.floats(0, 1)),
        "embedding": st.sampled_from([None, "emb"]),
        "recognizability": st.sampled_from([None, "quality"]),
    }
)


def _made(values):
    framing = values["framing"]
    return ModelCard(**values | {"framing": None if framing is None else Framing(*framing)})


@given(_cards)
@settings(max_examples=50, deadline=None)
def test_what_a_card_says_can_be_read_again(tmp_path_factory, values):
    card = _made(values)
    path = _file(tmp_path_factory.mktemp("cards"), card.to_json())
    assert read_card(path) == card


@given(_cards, _cards)
@settings(max_examples=50, deadline=None)
def test_the_later_card_holds(first_values, second_values):
    first, second = _made(first_values), _made(second_values)
    both = first.updated(second)
    for key, value in vars(both).items():
        said = getattr(second, key)
        assert value == (getattr(first, key) if said is None else said)


def test_every_card_of_the_repository_reads_and_says_whose_it_is():
    assert {path.name for path in CARDS} >= {
        "face_reid_0095_128.json", "mobilefacenet_casia_112x96.json", "mobilefacenet_ms1m_112.json",
    }  # fmt: skip
    for path in CARDS:
        card = read_card(path)
        assert card.name, path
        assert card.licence, path
        assert card.order, path


def test_stretch_is_a_framing_and_overrides_a_window(tmp_path):
    card = read_card(_file(tmp_path, {"framing": "stretch"}))
    assert card.framing == Framing()
    window = read_card(_file(tmp_path, {"framing": {"window": 1.2}}))
    assert window.framing == Framing(1.2)
    assert window.updated(card).framing == Framing()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"hight": 112}', r"unknown key 'hight'; known are name, licence, .*height, width, order"),
        ('{"framing": {"windw": 1}}', r"unknown key of framing 'windw'; known are window, center_y"),
        ('{"framing": 1.2}', "framing must be"),
        ('{"framing": {"window": 11}}', "window must lie"),
        ('{"framing": {"window": 1, "center_y": 2}}', "center_y is 2"),
        ('{"height": "112"}', "height must be a whole number"),
        ('{"height": true}', "height must be a whole number"),
        ('{"height": 112.5}', "height must be a whole number"),
        ('{"height": 0}', "height is 0: give between 1 and 1024"),
        ('{"width": 100000}', "width is 100000"),
        ('{"order": "RGB"}', "order must be rgb or bgr"),
        ('{"order": ["rgb"]}', "order must be rgb or bgr"),
        ('{"layout": "hwc"}', "layout must be nchw or nhwc"),
        ('{"mean": "127.5"}', "mean must be a number"),
        ('{"mean": [1, 2]}', "mean is .*one for each"),
        ('{"mean": [1, 2, 3, 4, 5]}', "mean is .*one for each"),
        ('{"mean": []}', "mean is"),
        ('{"mean": [[1]]}', "mean must be a number"),
        ('{"mean": 1' + "0" * 400 + "}", "mean must be a number"),
        ('{"scale": 0}', "scale is .*above 0"),
        ('{"scale": [1, 1, -1]}', "scale is .*above 0"),
        ('{"scale": NaN}', "NaN is no number"),
        ('{"name": 3}', "name must be a text"),
        ('{"embedding": "a", "recognizability": "a"}', "at once"),
        ('{"order": "rgb", "order": "bgr"}', "a key occurs twice"),
        ("[]", "give a JSON object"),
        ("", "cannot be used as a model card"),
        ("[" * 60000, "cannot be used as a model card"),
        ("x" * (MAX_CARD_BYTES + 1), "longer than 65536 bytes"),
    ],
)
def test_a_bad_card_is_named_with_its_fault(text, said, tmp_path):
    path = _file(tmp_path, text)
    with pytest.raises(VlrfaceError, match=said) as caught:
        read_card(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["mean", "scale", "height", "order", "framing", "window", "layout", "notes"]), inner
    ),
).map(lambda v: json.dumps(v).encode()))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_card_or_an_error_of_ours(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_bytes(data)
    try:
        card = read_card(path)
    except VlrfaceError:
        return
    assert isinstance(card, ModelCard)


def test_no_file_folder_and_bad_text(tmp_path):
    with pytest.raises(VlrfaceError, match="No such file"):
        read_card(tmp_path / "none.json")
    with pytest.raises(VlrfaceError, match="not a regular file"):
        read_card(tmp_path)
    (tmp_path / "latin.json").write_bytes('{"name": "é"}'.encode("latin-1"))
    with pytest.raises(VlrfaceError, match="utf-8"):
        read_card(tmp_path / "latin.json")


def test_options_hold_against_the_card_and_a_named_card_against_the_one_beside(tmp_path):
    model = tmp_path / "model.onnx"
    assert card_beside(model) == tmp_path / "model.onnx.json"
    assert find_card(model) == ModelCard()
    assert find_card(model, given=ModelCard(order="bgr")) == ModelCard(order="bgr")
    card_beside(model).write_text('{"order": "rgb", "mean": 0}')
    assert find_card(model, given=ModelCard(order="bgr")) == ModelCard(order="bgr", mean=(0.0,))
    other = _file(tmp_path, {"scale": 2})
    assert find_card(model, other) == ModelCard(scale=(2.0,))
    with pytest.raises(VlrfaceError, match="none"):
        find_card(model, tmp_path / "none.json")


SAID = ModelCard(order="rgb", mean=(127.5,), scale=(1 / 128,))


@pytest.mark.parametrize(
    ("card", "shape", "expected"),
    [
        ({}, (None, 3, 112, 96), (112, 96, "nchw")),
        ({}, (1, 112, 96, 3), (112, 96, "nhwc")),
        ({}, (None, None, 112, 96), (112, 96, "nchw")),
        ({"height": 112, "width": 96}, (None, 3, None, None), (112, 96, "nchw")),
        ({"height": 112, "width": 96, "layout": "nhwc"}, (None, None, None, None), (112, 96, "nhwc")),
        ({"height": 112}, (1, 3, 112, 96), (112, 96, "nchw")),
        ({"layout": "nhwc"}, (1, 3, 3, 3), (3, 3, "nhwc")),
    ],
)
def test_the_graph_fills_in_what_it_knows(card, shape, expected):
    found = SAID.updated(ModelCard(**card)).input_of(shape, "m.onnx")
    assert (found.height, found.width, found.layout) == expected
    assert found.scale == (1 / 128,) * 3


@pytest.mark.parametrize(
    ("card", "shape", "said"),
    [
        (ModelCard(), (1, 3, 112, 96), r"does not say order .*, mean .*, scale .*Give --order --mean --scale, or"),
        (SAID, (1, 3, None, None), r"height .*width .*Give --input-size, or .*m\.onnx\.json"),
        (SAID, (1, 3, 112, 3), r"does not say layout \(nchw or nhwc\)\. Write them into m\.onnx\.json"),
        (SAID, (1, 1, 112, 112), "1 × 1 × 112 × 112, which has no place for the 3 channels"),
        (SAID.updated(ModelCard(layout="nhwc")), (None, 3, 8, 8), "any × 3 × 8 × 8, .* as nhwc"),
        (SAID.updated(ModelCard(height=64)), (1, 3, 112, 96), "height 64 was given, but the graph takes 112"),
        (SAID, (1, 3, 4096, 96), "height of 4096; only 1 to 1024"),
    ],
)
def test_what_nobody_says_or_two_say_differently_is_an_error(card, shape, said):
    with pytest.raises(VlrfaceError, match=said):
        card.input_of(shape, "m.onnx")


def test_a_graph_that_takes_bytes_needs_no_mean_and_refuses_one():
    card = ModelCard(order="rgb")
    assert card.input_of((1, 8, 8, 3), "m", raw=True).mean == (0.0, 0.0, 0.0)
    with pytest.raises(VlrfaceError, match="bytes as they are"):
        SAID.input_of((1, 8, 8, 3), "m", raw=True)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_pixels_against_a_slow_loop(order, layout):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), np.uint8)
    mean, scale = (100.0, 110.0, 120.0), (0.01, 0.02, 0.03)
    found = PictureInput(3, 4, order, mean, scale, layout).normalised(images)
    for n, y, x, c in np.ndindex(2, 3, 4, 3):
        value = (float(images[n, y, x, c if order == "rgb" else 2 - c]) - mean[c]) * scale[c]
        assert found[(n, c, y, x) if layout == "nchw" else (n, y, x, c)] == pytest.approx(value, abs=1e-6)
    assert found.flags.c_contiguous
