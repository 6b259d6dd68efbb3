"""The transformer: causality, sizes and rates as published, sampling with a cache equal to whole passes."""

import math

import pytest
import torch
from torch.nn import functional as F

from unsnarl.errors import DataError, OptionError
from unsnarl.nn._gpt import GPT, gpt_parameter_groups


def trained_looking(**sizes):
    """A model whose zero layers are filled, so that everything in it counts."""
    options = {"vocabulary": 5, "context": 9, "layers": 2, "width": 16, "head_width": 8} | sizes
    model = GPT(**options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.5, generator=generator)
            else:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return model


def by_hand(model, tokens):
    """The equations of the module's docstring, one head and one position at a time."""
    x = model.tokens.weight[tokens] + model.positions.weight[: tokens.shape[1]]
    width, d, depth = model.width, model.head_width, model.layers

    def norm(v, layer):
        centred = v - v.mean(-1, keepdim=True)
        return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5) * layer.weight

    for block in model.blocks:
        seen = norm(x, block.attention_norm)
        weight = block.attention.all.weight
        parts = [seen @ weight[i * width : (i + 1) * width].T for i in range(3)]
        heads = []
        for head in range(width // d):
            q, k, v = (part[..., head * d : (head + 1) * d] for part in parts)
            q = norm(q, block.attention.query_norm)
            k = norm(k, block.attention.key_norm) * 8 / math.sqrt(d)
            scores = q @ k.transpose(1, 2) / math.sqrt(d)
            hidden = torch.ones(tokens.shape[1], tokens.shape[1]).triu(1).bool()
            heads.append(torch.softmax(scores.masked_fill(hidden, -math.inf), -1) @ v)
        x = x + torch.cat(heads, -1) @ block.attention.out.weight.T / depth
        inner = norm(x, block.mlp_norm) @ block.up.weight.T
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        x = x + inner @ block.down.weight.T / depth
    return norm(x, model.norm) @ model.head.weight.T


def test_the_forward_pass_follows_the_equations():
    model = trained_looking()
    tokens = torch.randint(0, 5, (3, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), by_hand(model, tokens), atol=1e-4, rtol=1e-4)


def test_it_sees_only_what_came_before():
    model = trained_looking()
    tokens = torch.randint(0, 5, (2, 9), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 5
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax(dim=(0, 2)).min() > 1e-3


@pytest.mark.parametrize("layers", [1, 2])
def test_leaving_early_positions_out_changes_neither_logits_nor_gradients(layers):
    model = trained_looking(layers=layers)
    tokens = torch.randint(0, 5, (2, 9), generator=torch.Generator().manual_seed(0))
    whole, part = model(tokens)[:, 4:], model(tokens, 4)
    torch.testing.assert_close(whole, part, atol=1e-5, rtol=1e-4)
    one = torch.autograd.grad(whole.square().sum(), list(model.parameters()))
    two = torch.autograd.grad(part.square().sum(), list(model.parameters()))
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_an_untrained_model_knows_nothing_and_starts_as_published():
    model = GPT(7, 20, layers=3, width=128, head_width=64, seed=4)
    logits = model(torch.randint(0, 7, (2, 20)))
    assert not logits.any()
    assert not any(b.attention.out.weight.any() or b.down.weight.any() for b in model.blocks)
    assert model.blocks[1].attention.all.weight.std().item() == pytest.approx(1 / math.sqrt(128), rel=0.05)
    assert model.blocks[2].up.weight.std().item() == pytest.approx(1 / math.sqrt(128), rel=0.05)
    assert model.tokens.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not any("bias" in name for name, _ in model.named_parameters())
    d = 128
    assert model.parameter_count == 7 * d + 20 * d + 3 * (12 * d * d + 2 * d + 2 * 64) + d + 7 * d
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.parameters(), GPT(7, 20, layers=3, width=128, seed=4).parameters(), strict=True)
    )
    assert not torch.equal(model.tokens.weight, GPT(7, 20, layers=3, width=128, seed=5).tokens.weight)


def test_every_weight_has_its_published_rate():
    model = GPT(7, 20, layers=2, width=32)
    rate = {id(p): group["lr"] for group in gpt_parameter_groups(model) for p in group["params"]}
    for name, parameter in model.named_parameters():
        vector = "norm" in name or name in ("tokens.weight", "positions.weight")
        assert rate[id(parameter)] == pytest.approx(6e-4 if vector else 0.03 / parameter.shape[1]), name
    assert len(rate) == len(list(model.parameters()))


def test_sampling_with_a_cache_gives_the_logits_of_whole_passes():
    model = trained_looking()
    rows = torch.randint(0, 5, (4, 10), generator=torch.Generator().manual_seed(0))
    drawn = torch.zeros(4, 10, dtype=torch.bool)
    drawn[:, [3, 4, 5, 7, 9]] = True
    heard, said = model.sample(rows, drawn, generator=torch.Generator().manual_seed(3))
    assert torch.equal(heard[~drawn], rows[~drawn])
    assert said.shape == (4, 7, 5)
    with torch.no_grad():
        torch.testing.assert_close(said, model(heard[:, :-1])[:, 2:], atol=1e-4, rtol=1e-4)
    again, _ = model.sample(rows, drawn, generator=torch.Generator().manual_seed(3))
    assert torch.equal(heard, again)


def test_samples_have_the_models_distribution():
    model = trained_looking(vocabulary=3, layers=1)
    rows = torch.zeros(4000, 3, dtype=torch.long)
    drawn = torch.tensor([False, True, True]).expand(4000, 3)
    heard, said = model.sample(rows, drawn, generator=torch.Generator().manual_seed(0))
    expected = torch.softmax(said[0, 0], -1)
    found = F.one_hot(heard[:, 1], 3).float().mean(0)
    assert (found - expected).abs().max() < 4 * 0.5 / math.sqrt(4000)
    cold, _ = model.sample(rows, drawn, generator=torch.Generator().manual_seed(0), temperature=1e-4)
    assert (cold[:, 1] == said[0, 0].argmax()).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary": 1}, "vocabulary=1"),
        ({"layers": 0}, "layers=0"),
        ({"width": 24, "head_width": 16}, "multiple of head_width=16"),
    ],
)
def test_sizes_that_make_no_sense(options, message):
    with pytest.raises(OptionError, match=message):
        GPT(**({"vocabulary": 2, "context": 4} | options))


def test_rows_it_cannot_read():
    model = GPT(2, 4, layers=1, width=8)
    with pytest.raises(DataError, match="5 columns"):
        model(torch.zeros(1, 5, dtype=torch.long))
    with pytest.raises(DataError, match="at least one token"):
        model.sample(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.bool))
    with pytest.raises(DataError, match="none of the first column"):
        model.sample(torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool))


def test_one_rate_trains_narrow_and_wide_alike():
    """Copy the token three places back: both widths learn it at the published rates."""
    losses = {}
    for width in (16, 32):
        model = GPT(4, 12, layers=2, width=width)
        optimizer = torch.optim.Adam(gpt_parameter_groups(model), betas=(0.9, 0.95), eps=1e-20)
        generator = torch.Generator().manual_seed(0)
        for _ in range(120):
            half = torch.randint(0, 4, (16, 6), generator=generator)
            rows = torch.cat([half, half], 1)
            loss = F.cross_entropy(model(rows[:, :-1], 5).flatten(0, 1), rows[:, 6:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[width] = loss.item()
    assert losses[32] < 0.7 * math.log(4)
    assert losses[16] < 0.9 * math.log(4)
