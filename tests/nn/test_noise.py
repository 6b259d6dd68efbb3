"""Noise on the inputs of layers."""

import copy
import pickle

import pytest
import torch
from torch import nn

from unsnarl.errors import OptionError, UnknownNameError
from unsnarl.nn import record_activations
from unsnarl.nn._noise import StochasticNet


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 2))


@pytest.mark.parametrize("relative", [True, False])
def test_the_size_of_the_noise(relative):
    """A layer that copies its input shows the noise itself."""
    copier = nn.Linear(4, 4, bias=False)
    nn.init.eye_(copier.weight)
    x = torch.tensor([[0.0, 1.0, -2.0, 10.0]]).repeat(20_000, 1)
    noise = StochasticNet(copier, sigma=0.1, relative=relative)(x).detach() - x
    expected = 0.1 * (x[0].abs() if relative else torch.ones(4))
    assert noise.std(0).tolist() == pytest.approx(expected.tolist(), rel=0.03, abs=1e-9)
    assert noise.mean(0).tolist() == pytest.approx([0] * 4, abs=0.03)
    assert abs(torch.corrcoef(noise.T)[2, 3]) < 0.03  # independent from element to element


@pytest.mark.parametrize("training", [True, False])
def test_every_layer_in_training_and_in_evaluation(training):
    model = net().train(training)
    noisy = StochasticNet(model, sigma=0.5, relative=False)
    assert noisy.noisy_layers == ["0", "2", "3"]
    x = torch.zeros(200, 3)
    if training:
        noisy.train()
    for layer in ("0", "2", "3"):
        alone = StochasticNet(net().train(training), sigma=0.5, relative=False, layers=[layer])
        assert alone(x).std(0).min() > 0.01, layer
    assert not torch.equal(noisy(x), noisy(x))


def test_the_network_itself_is_left_as_it_was():
    model = net().eval()
    before = model(torch.ones(2, 3))
    noisy = StochasticNet(model, sigma=0.5)
    noisy(torch.ones(2, 3))
    assert torch.equal(model(torch.ones(2, 3)), before)
    with pytest.raises(RuntimeError):
        noisy(torch.ones(2, 7))
    assert torch.equal(model(torch.ones(2, 3)), before)
    assert all(not module._forward_pre_hooks for module in model.modules())


def test_the_same_seed_gives_the_same_stream():
    x = torch.ones(2, 3)
    one, other = (StochasticNet(net().eval(), sigma=0.5, seed=7) for _ in range(2))
    torch.manual_seed(99)  # the global stream plays no part
    first, second = one(x), one(x)
    assert not torch.equal(first, second)
    assert torch.equal(other(x), first)
    assert torch.equal(other(x), second)
    assert torch.equal(one.manual_seed(7)(x), first)
    assert not torch.equal(one.manual_seed(8)(x), first)


def test_a_generator_of_the_users():
    x = torch.ones(2, 3)
    runs = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(3)
        noisy = StochasticNet(net().eval(), sigma=0.5, generator=generator)
        runs.append([noisy(x), noisy(x)])
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][0], runs[0][1])


def test_copies_go_on_where_the_original_is():
    noisy = StochasticNet(net().eval(), sigma=0.5)
    x = torch.ones(2, 3)
    noisy(x)
    copied, pickled = copy.deepcopy(noisy), pickle.loads(pickle.dumps(noisy))
    expected = noisy(x)
    assert torch.equal(copied(x), expected)
    assert torch.equal(pickled(x), expected)


def test_gradients_flow_and_weights_are_the_networks():
    model = net()
    noisy = StochasticNet(model, sigma=0.1)
    noisy(torch.ones(4, 3)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert set(noisy.state_dict()) == {f"model.{name}" for name in model.state_dict()}


def test_recorded_layers_show_it():
    noisy = StochasticNet(net(), sigma=0.3)
    batches = [torch.ones(8, 3)]
    once, again = (record_activations(noisy, batches, ["model.0"])["model.0"] for _ in range(2))
    assert not torch.equal(once, again)


def test_attention_keeps_its_masks_and_its_shared_input():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x, mask = torch.randn(2, 3, 8), torch.triu(torch.full((3, 3), -torch.inf), 1)
    noisy = StochasticNet(attention, sigma=0.1)
    assert noisy.noisy_layers == [""]
    seen = []
    handle = attention.register_forward_hook(lambda m, args, kw, out: seen.append((args, kw)), with_kwargs=True)
    out, _ = noisy(x, x, x, attn_mask=mask)
    handle.remove()
    (query, key, value), keywords = seen[0]
    assert query is key
    assert key is value
    assert not torch.equal(query, x)
    assert torch.equal(keywords["attn_mask"], mask)
    assert torch.isfinite(out).all()


def test_a_transformer_layer_takes_no_path_around_the_noise():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    noisy = StochasticNet(layer, sigma=0.1)
    with torch.inference_mode():
        x = torch.randn(2, 3, 8)
        assert (noisy(x) - layer(x)).abs().max() > 0.01


def test_tokens_pass_and_zeros_are_untouched_by_relative_noise():
    table = nn.Embedding(5, 3)
    tokens = torch.tensor([[1, 2]])
    assert torch.equal(StochasticNet(table, sigma=1.0)(tokens), table(tokens))
    layer = nn.Linear(3, 2)
    zeros = torch.zeros(4, 3)
    assert torch.equal(StochasticNet(layer, sigma=1.0)(zeros), layer(zeros))
    assert not torch.equal(StochasticNet(layer, sigma=1.0, relative=False)(zeros), layer(zeros))
    assert torch.equal(StochasticNet(layer, sigma=0)(torch.ones(4, 3)), layer(torch.ones(4, 3)))


def test_half_precision_stays():
    layer = nn.Linear(3, 2).bfloat16()
    assert StochasticNet(layer, sigma=0.1)(torch.ones(4, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_bad_input():
    with pytest.raises(OptionError, match="sigma=-1 must be a number"):
        StochasticNet(net(), sigma=-1)
    with pytest.raises(OptionError, match="ReLU has no layer with weights"):
        StochasticNet(nn.ReLU(), sigma=0.1)
    with pytest.raises(UnknownNameError, match="unknown layer 'conv'"):
        StochasticNet(net(), sigma=0.1, layers=["conv"])
