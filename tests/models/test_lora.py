"""LoRA: the start changes nothing, merged weights are the adapted ones, and only what should learn does."""

import copy

import pytest
import torch
from torch import nn

from vlrface.models.backbone import InputSpec
from vlrface.models.iresnet import iresnet
from vlrface.models.lora import LoraConfig, LowRankChange, adapt, merged, merged_state, plain_state
from vlrface.models.mobilefacenet import MobileFaceNet, mobilefacenet_input
from vlrface.models.recognizer import Recognizer
from vlrface.types import VlrfaceError


def pixels(size=32, count=3):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def mobilefacenet():
    return MobileFaceNet(mobilefacenet_input(32, 32)).eval()


def disturb(model):
    """As training would: every number that learns moves."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in model.parameters():
            if each.requires_grad:
                each += 0.05 * torch.randn(each.shape, generator=generator)
    return model


def test_a_change_is_the_sum_over_its_rank_by_a_slow_loop():
    generator = torch.Generator().manual_seed(3)
    weight, up, down = (torch.randn(shape, generator=generator) for shape in ((3, 2, 2, 1), (3, 2), (2, 4)))
    expected = weight.clone()
    for out in range(3):
        for column, (channel, row) in enumerate((c, r) for c in range(2) for r in range(2)):
            for k in range(2):
                expected[out, channel, row, 0] += 1.5 * up[out, k] * down[k, column]
    torch.testing.assert_close(merged(weight, up, down, torch.tensor(1.5)), expected)


@pytest.mark.parametrize("make", [mobilefacenet, lambda: iresnet(18, InputSpec(32, 32), embedding_dim=8).eval()])
def test_it_starts_as_the_plain_network_and_merges_to_what_it_became(make):
    plain = make()
    before = plain(pixels())
    adapted = copy.deepcopy(plain)
    adapt(adapted, LoraConfig(rank=2, alpha=3.0))
    torch.testing.assert_close(adapted(pixels()), before, rtol=0, atol=0)
    became = disturb(adapted)(pixels())
    assert not torch.allclose(became, before, rtol=1e-3, atol=1e-3)
    state = plain_state(adapted)
    assert state.keys() == plain.state_dict().keys()
    plain.load_state_dict(state)
    assert torch.equal(plain(pixels()), became)
    assert merged_state(state) == state


def test_a_first_step_is_that_of_plain_training_projected_on_the_rank():
    """With α = r, U = 0 and orthonormal D: ΔW = -rate · G · DᵀD."""
    plain, adapted = nn.Linear(12, 5, bias=False), nn.Linear(12, 5, bias=False)
    adapted.load_state_dict(plain.state_dict())
    change = LowRankChange(plain.weight.detach(), 3, 3.0, torch.Generator().manual_seed(0))
    nn.utils.parametrize.register_parametrization(adapted, "weight", change)
    data, start = torch.randn(7, 12, generator=torch.Generator().manual_seed(1)), plain.weight.detach().clone()
    for layer in (plain, adapted):
        layer(data).pow(2).sum().backward()
        torch.optim.SGD(layer.parameters(), lr=0.01).step()
    down = torch.linalg.qr(torch.randn(12, 3, generator=torch.Generator().manual_seed(0))).Q.T
    torch.testing.assert_close(change(start) - start, (plain.weight - start) @ down.T @ down)


def test_only_low_rank_changes_and_vectors_learn():
    model = mobilefacenet()
    weights = {name for name, p in model.named_parameters() if p.ndim > 1}
    vectors = {name for name, p in model.named_parameters() if p.ndim <= 1}
    adapt(model, LoraConfig(rank=4))
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert vectors <= learning
    matrices = learning - vectors
    # Where rank 4 would save nothing, the layer learns whole: the kernel of the last map has 4 numbers a channel.
    whole = {name for name in matrices if not name.endswith((".up", ".down"))}
    assert whole == {"gather.weight"}
    adapted = {name.split(".parametrizations")[0] + ".weight" for name in matrices - whole}
    assert adapted == weights - whole
    frozen = [p for name, p in model.named_parameters() if name.endswith(".original")]
    assert len(frozen) == len(adapted)
    assert not any(p.requires_grad for p in frozen)


@pytest.mark.parametrize(
    ("config", "frozen", "prefixes"),
    [
        (LoraConfig(rank=2, embedding=False), 16, {"blocks.14", "widen"}),
        (LoraConfig(rank=2, first_step=17), 0, {"widen", "gather", "linear"}),
        (LoraConfig(rank=2, last_step=2, embedding=False), 0, {"stem", "stem_filter"}),
        (LoraConfig(rank=2, last_step=0), 0, {"gather", "linear"}),
    ],
)
def test_the_steps_say_where(config, frozen, prefixes):
    model = mobilefacenet()
    adapt(model, config, frozen_steps=frozen)
    names = [name.split(".parametrizations")[0] for name in model.state_dict() if name.endswith(".up")]
    assert {".".join(n.split(".")[: 2 if n.startswith("blocks") else 1]) for n in names} == prefixes


def test_it_learns_in_training_and_frozen_steps_stay(pictures):
    model = mobilefacenet()
    adapt(model, LoraConfig(rank=2), frozen_steps=14)
    recognizer = Recognizer(model, frozen_steps=14).train()
    before = {name: value.clone() for name, value in recognizer.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in recognizer.parameters() if p.requires_grad], lr=0.1)
    aim = torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    for _ in range(2):  # the first step moves U alone: D has no gradient while U is 0
        optimizer.zero_grad()
        (recognizer(torch.from_numpy(pictures(4, 32, 32))).embedding * aim).sum().backward()
        optimizer.step()
    changed = {name for name, value in recognizer.state_dict().items() if not torch.equal(value, before[name])}
    assert "backbone.widen.conv.parametrizations.weight.0.up" in changed
    assert "backbone.widen.conv.parametrizations.weight.0.down" in changed
    assert not [name for name in changed if name.endswith((".original", ".scale"))]
    assert not [name for name in changed if name.startswith(("backbone.stem", "backbone.blocks.11."))]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rank": 0}, "rank 0"),
        ({"alpha": 0.0}, "alpha finite and above 0"),
        ({"first_step": -1}, "adapts steps -1"),
        ({"first_step": 4, "last_step": 3}, "the last no smaller"),
    ],
)
def test_a_value_out_of_range_is_refused(values, said):
    with pytest.raises(VlrfaceError, match=said):
        LoraConfig(**values)


def test_what_adapts_nothing_is_refused():
    with pytest.raises(VlrfaceError, match="adapts no layer"):
        adapt(mobilefacenet(), LoraConfig(rank=4, embedding=False), frozen_steps=18)
    with pytest.raises(VlrfaceError, match="adapts no layer"):
        adapt(mobilefacenet(), LoraConfig(rank=1000))
    with pytest.raises(VlrfaceError, match="MobileFaceNet has 18 steps"):
        adapt(mobilefacenet(), LoraConfig(last_step=19))
