import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vlrface.images.framing import Framing, frame
from vlrface.images.resize import resize
from vlrface.models.attention import Attended, PerceptibilityAttention
from vlrface.models.backbone import InputSpec
from vlrface.models.iresnet import iresnet
from vlrface.models.mobilefacenet import MobileFaceNet, mobilefacenet_input
from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.models.recognizer import Output, Recognizer
from vlrface.types import UNKNOWN_IDENTITY, VlrfaceError


class _Identity(PerceptibilityAttention):
    """Attention that changes nothing."""

    def forward(self, features: Tensor) -> Attended:
        return Attended(features, torch.full_like(features[:, :1], 0.5))


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items() if "running" in k or "num_batches" in k}


@pytest.mark.parametrize("size", [32, 64, 112])
def test_output_shapes(size, small, pictures):
    model = small(size)
    output = model(torch.from_numpy(pictures(3, size, size)))
    cells = size // 16
    assert isinstance(output, Output)
    assert [tuple(value.shape) for value in output] == [(3, 128), (3, 128), (3,), (3, 1, cells, cells)]
    assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in output)
    assert ((output.attention >= 0) & (output.attention <= 1)).all()


def test_normalisation_is_inside(small, pictures):
    model = small().eval()
    crops = pictures(3, 32, 32)
    pixels = torch.from_numpy((crops.astype(np.float32) - 127.5) / 128).permute(0, 3, 1, 2).contiguous()
    torch.testing.assert_close(model(torch.from_numpy(crops)).embedding, model.backbone(pixels), rtol=1e-4, atol=1e-5)


def test_heads_against_their_parts(small, pictures):
    model = small().eval()
    crops = torch.from_numpy(pictures(3, 32, 32))
    features = model.backbone.feature_map(model.backbone.input.normalised(crops))
    attended, attention = model.attention(features)
    expected = Output(
        model.backbone.embed(features), model.backbone.embed(attended), model.regression(features), attention
    )
    for ours, theirs in zip(model(crops), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_without_heads_nothing_is_said_and_nothing_is_paid(small, pictures):
    whole = small().eval()
    plain = Recognizer(whole.backbone).eval()
    crops = torch.from_numpy(pictures(2, 32, 32))
    output = plain(crops)
    torch.testing.assert_close(output.embedding, whole(crops).embedding, rtol=1e-5, atol=1e-6)
    for value, like in zip(output[1:], whole(crops)[1:], strict=True):
        assert value.shape == like.shape
        assert value.isnan().all()
        assert value.untyped_storage().nbytes() == 4
    assert {name.split(".")[0] for name in plain.state_dict()} == {"backbone"}


def test_each_head_may_stand_alone(small, pictures):
    whole, crops = small().eval(), torch.from_numpy(pictures(2, 32, 32))
    regression_alone = Recognizer(whole.backbone, whole.regression).eval()(crops)
    attention_alone = Recognizer(whole.backbone, attention=whole.attention).eval()(crops)
    expected = whole(crops)
    torch.testing.assert_close(regression_alone.recognizability, expected.recognizability)
    assert regression_alone.attended.isnan().all()
    torch.testing.assert_close(attention_alone.attended, expected.attended)
    assert attention_alone.recognizability.isnan().all()


@pytest.mark.parametrize("network", ["mobilefacenet", "iresnet"])
def test_attention_that_changes_nothing_gives_the_plain_embedding_in_training_and_evaluation(network, pictures):
    """The embedding layer is one function for both maps, although its batch norms count statistics while training."""
    backbone = (
        MobileFaceNet(mobilefacenet_input(32, 32)) if network == "mobilefacenet" else iresnet(18, InputSpec(32, 32))
    )
    model = Recognizer(backbone, attention=_Identity(512, kernel=3))
    crops = torch.from_numpy(pictures(4, 32, 32))
    for mode in (True, False):
        output = model.train(mode)(crops)
        torch.testing.assert_close(output.attended, output.embedding, rtol=1e-4, atol=1e-4)


def test_the_attended_pass_touches_no_running_statistics(small, pictures):
    whole = small()
    with torch.no_grad():  # an attention that changes much
        whole.attention.widen.bias.copy_(torch.linspace(-3, 3, 512))
    plain = Recognizer(copy.deepcopy(whole.backbone))
    crops = torch.from_numpy(pictures(4, 32, 32))
    plain_output, whole_output = plain(crops), whole(crops)
    torch.testing.assert_close(whole_output.embedding, plain_output.embedding, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(whole_output.attended, whole_output.embedding, rtol=0.1, atol=0.1)
    expected = _statistics(plain)
    for name, value in _statistics(whole).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_starts_near_the_plain_embedding(small, pictures):
    output = small().eval()(torch.from_numpy(pictures(4, 32, 32)))
    assert (nn.functional.cosine_similarity(output.attended, output.embedding) > 0.99).all()


@pytest.mark.parametrize("part", ["embedding", "attended", "recognizability"])
def test_gradient_reaches_every_parameter_that_a_part_depends_on(part, small, pictures):
    model = small()
    value = getattr(model(torch.from_numpy(pictures(4, 32, 32))), part)
    (value * torch.randn(value.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    unused = {
        "embedding": {"regression", "attention"},
        "attended": {"regression"},
        "recognizability": {"attention", "backbone.gather", "backbone.gather_norm", "backbone.linear", "backbone.norm"},
    }[part]
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.abs().max() > 0)
        prefix = name.split(".")[0] if name.split(".")[0] in unused else ".".join(name.split(".")[:2])
        assert reached == (prefix not in unused), name


def test_autocast_trunk_still_gives_float32(small, pictures):
    model = small().eval()
    crops = torch.from_numpy(pictures(4, 32, 32))
    exact = model(crops)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.backbone.feature_map(model.backbone.input.normalised(crops)).dtype == torch.bfloat16
        output = model(crops)
    assert all(value.dtype == torch.float32 for value in output)
    # Heads in float32: given the rounded map, they agree to float32 precision.
    assert (nn.functional.cosine_similarity(output.embedding, exact.embedding) > 0.99).all()


def test_gradient_under_autocast_is_finite_float32(small, pictures):
    model = small()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(torch.from_numpy(pictures(4, 32, 32)))
    (output.embedding.square().mean() + output.attended.mean() + output.recognizability.mean()).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in grads)


def test_channels_last_weights_give_the_same(small, pictures):
    crops = torch.from_numpy(pictures(2, 32, 32))
    for ours, theirs in zip(
        small().eval().to(memory_format=torch.channels_last)(crops), small().eval()(crops), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_evaluation_is_deterministic_and_free_of_dropout(small, pictures):
    model = small(dropout=0.5)
    crops = torch.from_numpy(pictures(4, 32, 32))
    assert not torch.equal(model(crops).recognizability, model(crops).recognizability)
    model.eval()
    for first, second in zip(model(crops), model(crops), strict=True):
        assert torch.equal(first, second)


def test_bgr_networks_get_bgr(pictures):
    crops = torch.from_numpy(pictures(2, 32, 32))
    rgb, bgr = (Recognizer(MobileFaceNet(InputSpec(32, 32, order=o))).eval() for o in ("rgb", "bgr"))
    torch.testing.assert_close(rgb(crops).embedding, bgr(crops.flip(-1)).embedding)


@pytest.mark.parametrize("shape", [(2, 32, 31, 3), (2, 64, 64, 3)])
def test_crops_of_another_size_are_refused(shape, small):
    with pytest.raises(VlrfaceError, match=r"takes uint8 of \(n, 32, 32, 3\)"):
        small()(torch.zeros(shape, dtype=torch.uint8))


def test_heads_for_another_map_are_refused():
    backbone = MobileFaceNet(mobilefacenet_input(32, 32))
    with pytest.raises(VlrfaceError, match=r"regression takes maps of \(512, 7, 7\), the backbone gives \(512, 2, 2\)"):
        Recognizer(backbone, PerceptibilityRegression((512, 7, 7)))
    with pytest.raises(VlrfaceError, match="attention takes 64 channels, the backbone gives 512"):
        Recognizer(backbone, attention=PerceptibilityAttention(64))
    for serve in ("attended", "fused"):
        with pytest.raises(VlrfaceError, match=f'serve="{serve}" needs an attention module'):
            Recognizer(backbone, serve=serve)


@pytest.mark.parametrize("serve", ["plain", "attended", "fused"])
def test_served_embedding(serve, small, pictures):
    model, crops = small(serve=serve).eval(), pictures(2, 32, 32)
    output = model(torch.from_numpy(crops))
    plain, attended = (each / each.norm(dim=1, keepdim=True) for each in (output.embedding, output.attended))
    expected = {"plain": output.embedding, "attended": output.attended, "fused": plain + attended}[serve]
    if serve == "fused":
        torch.testing.assert_close(model.served(output), expected)
        assert (model.served(output).norm(dim=1) <= 2 + 1e-6).all()
        expected = model.served(output)
    assert torch.equal(model.served(output), expected)
    embeddings, recognizability = model.embed_crops(crops)
    np.testing.assert_array_equal(embeddings, expected.detach().numpy())
    np.testing.assert_array_equal(recognizability, output.recognizability.detach().numpy())


def test_a_crop_does_not_depend_on_its_batch(small, pictures):
    model, crops = small(), pictures(9, 32, 32)
    alone = model.embed_crops(crops, batch_size=1)
    for batch_size in (2, 4, 9, 100):
        for ours, theirs in zip(model.embed_crops(crops, batch_size=batch_size), alone, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("serve", ["plain", "fused"])
def test_flip_fusion_sums_embeddings_and_averages_recognizability(serve, small, pictures):
    model, crops = small(serve=serve), pictures(5, 32, 32)
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    (embedding, index), (other, other_index) = model.embed_crops(crops), model.embed_crops(mirrored)
    fused, fused_index = model.embed_crops(crops, flip=True, batch_size=2)
    np.testing.assert_allclose(fused, embedding + other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fused_index, (index + other_index) / 2, rtol=1e-5)
    np.testing.assert_allclose(model.embed_crops(mirrored, flip=True)[0], fused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_embedding_leaves_mode_and_statistics_alone(training, small, pictures):
    model = small().train(training)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.embed_crops(pictures(3, 32, 32))
    assert model.training is training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    with pytest.raises(VlrfaceError):
        model.embed_crops(pictures(3, 16, 16))
    assert model.training is training


def test_embedding_reads_memory_mapped_arrays(small, pictures, tmp_path):
    crops = pictures(3, 32, 32)
    np.save(tmp_path / "crops.npy", crops)
    mapped = np.load(tmp_path / "crops.npy", mmap_mode="r")
    np.testing.assert_array_equal(small().embed_crops(mapped)[0], small().embed_crops(crops)[0])


def test_faces_of_crops_of_any_size(small, pictures):
    model = small()
    crops = [pictures(1, 32, 32)[0], pictures(1, 14, 19)[0], pictures(1, 90, 70)[0]]
    faces = model.faces(crops, names=["a", "b", "c"], batch_size=2, flip=True)
    images = np.stack([resize(crop, 32, 32) for crop in crops])
    embeddings, recognizability = model.embed_crops(images, flip=True)
    np.testing.assert_allclose(faces.embeddings, embeddings, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(faces.recognizability, recognizability, rtol=1e-5)
    assert faces.sizes.tolist() == [32, 14, 70]
    assert faces.names.tolist() == ["a", "b", "c"]
    assert set(faces.roles) == {"crop"}
    assert set(faces.identities) == {UNKNOWN_IDENTITY}
    assert faces.encoded.all()
    assert faces.meta == {
        "network": "MobileFaceNet",
        "input": [32, 32],
        "framing": {"window": None, "center_y": 0.5},
        "serve": "plain",
        "flip": True,
    }
    json.dumps(faces.meta)


def test_faces_are_framed_as_the_recognizer_says(small, pictures):
    framing = Framing(window=0.9, center_y=0.45)
    model, crop = small(framing=framing), pictures(1, 27, 19)[0]
    seen = model.prepare(crop)
    np.testing.assert_array_equal(seen, frame(crop, framing, 32, 32))
    assert not np.array_equal(seen, small().prepare(crop))
    np.testing.assert_allclose(model.faces([crop]).embeddings, model.embed_crops(seen[None])[0], rtol=1e-5, atol=1e-5)


def test_input_and_length_are_the_backbones(small):
    model = small(64)
    assert model.input is model.backbone.input
    assert model.embedding_dim == model.backbone.embedding_dim == 128


def test_faces_are_numbered_without_names_and_may_be_none(small, pictures):
    model = small()
    assert model.faces(list(pictures(3, 32, 32))).names.tolist() == ["0", "1", "2"]
    empty = model.faces([])
    assert empty.embeddings.shape == (0, 128)
    assert len(empty) == 0


def test_faces_of_a_network_without_regression_have_no_recognizability(small, pictures):
    faces = Recognizer(small().backbone).faces(list(pictures(2, 32, 32)))
    assert np.isnan(faces.recognizability).all()
    assert faces.encoded.all()


@pytest.mark.parametrize(
    "crop",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)],
)
def test_faces_refuse_what_is_no_picture(crop, small, pictures):
    with pytest.raises(VlrfaceError, match=r"crop 1: .* but RGB uint8 \(h, w, 3\) is needed"):
        small().faces([pictures(1, 8, 8)[0], crop])


def test_faces_refuse_too_few_or_equal_names(small, pictures):
    crops = list(pictures(2, 32, 32))
    with pytest.raises(VlrfaceError, match="1 names were given for 2 crops"):
        small().faces(crops, names=["a"])
    with pytest.raises(VlrfaceError, match="occurs more than once"):
        small().faces(crops, names=["a", "a"])


_COMPILE = """
import torch
from vlrface.models import IResNet, InputSpec, MobileFaceNet
from vlrface.models import PerceptibilityAttention, PerceptibilityRegression, Recognizer

crops = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
spec = InputSpec(32, 32)
for backbone, training in ((MobileFaceNet(spec), True), (IResNet((1, 1, 1, 1), spec, 128, 0.0, 0), False)):
    shape = backbone.feature_shape
    regression = PerceptibilityRegression(shape, dropout=0.0)
    model = Recognizer(backbone, regression, PerceptibilityAttention(shape[0], kernel=3)).train(training)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = compiled(crops), model(crops)
    for a, b in zip(ours, theirs):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
"""


@pytest.mark.slow
def test_the_whole_network_compiles_into_one_graph():
    """In a process of its own: the annotation checks of the tests would be traced, too."""
    done = subprocess.run([sys.executable, "-c", _COMPILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class TestFrozenSteps:
    def test_they_are_in_evaluation_mode_from_the_start(self, small, pictures):
        model = small(frozen_steps=14)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        crops = torch.from_numpy(pictures(3, 32, 32))
        torch.testing.assert_close(model.stem_maps(crops)[:1], model.stem_maps(crops[:1]))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_kept_maps_give_what_their_crops_give(self, small, pictures):
        model = small(frozen_steps=14).eval()
        crops = torch.from_numpy(pictures(3, 32, 32))
        maps = model.stem_maps(crops)
        assert maps.shape == (3, 4, 4, 128)
        for ours, theirs in zip(model(maps), model(crops), strict=True):
            torch.testing.assert_close(ours, theirs)
        halved = model(maps.half())
        torch.testing.assert_close(halved.embedding, model(crops).embedding, rtol=0.01, atol=0.02)

    def test_frozen_steps_neither_learn_nor_measure(self, small, pictures):
        model = small(frozen_steps=14).train()
        before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
        learning = [p for p in model.parameters() if p.requires_grad]
        output = model(torch.from_numpy(pictures(4, 32, 32)))
        (output.embedding.sum() + output.attended.sum() + output.recognizability.sum()).backward()
        torch.optim.SGD(learning, lr=0.1).step()
        changed = {name for name, value in model.backbone.state_dict().items() if not torch.equal(value, before[name])}
        frozen = {f"{prefix}." for prefix in ("stem", "stem_filter", *(f"blocks.{i}" for i in range(12)))}
        assert changed
        assert not [name for name in changed if any(name.startswith(prefix) for prefix in frozen)]
        assert {"blocks.12.expand.conv.weight", "widen.norm.running_mean", "linear.weight"} <= changed

    def test_none_are_frozen_by_default(self, small, pictures):
        model = small()
        crops = torch.from_numpy(pictures(2, 32, 32))
        torch.testing.assert_close(model.stem_maps(crops), model.input.normalised(crops).permute(0, 2, 3, 1))

    @pytest.mark.parametrize("steps", [-1, 19])
    def test_there_are_no_more_than_the_trunk_has(self, small, steps):
        with pytest.raises(VlrfaceError, match="MobileFaceNet has 18 steps"):
            small(frozen_steps=steps)

    def test_with_all_of_them_the_embedding_layer_learns_alone(self, small, pictures):
        model = small(frozen_steps=18).train()
        before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
        learning = {name: p for name, p in model.backbone.named_parameters() if p.requires_grad}
        assert {name.split(".")[0] for name in learning} == {"gather", "gather_norm", "linear", "norm"}
        model(torch.from_numpy(pictures(4, 32, 32))).embedding.pow(2).sum().backward()
        torch.optim.SGD(learning.values(), lr=0.1).step()
        changed = {name for name, value in model.backbone.state_dict().items() if not torch.equal(value, before[name])}
        assert {name.split(".")[0] for name in changed} == {"gather", "gather_norm", "linear", "norm"}


class TestFrozenNorms:
    def test_they_keep_their_statistics_and_learn_their_scales(self, small, pictures):
        model = small(frozen_norms=True)
        before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
        crops = torch.from_numpy(pictures(4, 32, 32))
        calm = model.eval()(crops)
        training = model.train()(crops)
        # No statistics of a batch, so a crop's embedding in training is that of evaluation.
        torch.testing.assert_close(training.embedding, calm.embedding)
        torch.testing.assert_close(training.attended, calm.attended)
        (training.embedding * torch.randn(4, 128, generator=torch.Generator().manual_seed(0))).sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        changed = {name for name, value in model.backbone.state_dict().items() if not torch.equal(value, before[name])}
        assert {"stem.norm.weight", "blocks.3.filter.norm.bias", "norm.weight"} <= changed
        assert not [name for name in changed if "running" in name or "tracked" in name]
