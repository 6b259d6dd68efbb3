"""Gradients summed over batches with a clip after each, and which batches make a step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unsnarl.errors import OptionError
from unsnarl.systems.multimodal.dlf._accumulation import AccumulatedBatches, accumulated_losses


def problem():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    unused = nn.Parameter(torch.ones(2))
    batches = [(torch.randn(5, 3), 4 * torch.randn(5, 1)) for _ in range(4)]

    def losses(x, y):
        error = (net(x) - y).square().mean()
        return {"loss": error, "other": 2 * error}

    return net, [*net.parameters(), unused], batches, losses


@pytest.mark.parametrize("clip", [None, 0.6, 0.05])
def test_gradients_are_those_of_a_loop_that_clips_after_every_backward(clip):
    net, parameters, batches, losses = problem()
    for batch in batches:
        losses(*batch)["loss"].backward()
        if clip is not None:
            nn.utils.clip_grad_value_(net.parameters(), clip)
    expected = [None if p.grad is None else p.grad.clone() for p in parameters]
    net.zero_grad()
    terms = accumulated_losses(losses, parameters, batches, clip_value=clip)
    terms["loss"].backward()
    for p, wanted in zip(parameters, expected, strict=True):
        if wanted is None:
            assert p.grad is None
        else:
            torch.testing.assert_close(p.grad, wanted)
    each = torch.stack([losses(*batch)["loss"] for batch in batches])
    torch.testing.assert_close(terms["loss"], each.sum())
    torch.testing.assert_close(terms["other"], 2 * each.mean())


def test_clipping_after_each_batch_is_not_clipping_the_sum():
    """Gradients 3 then -2: clipped to 1 each time they leave -1; the sum of 1 would stay 1."""
    p = nn.Parameter(torch.zeros(()))
    batches = [(torch.tensor(3.0),), (torch.tensor(-2.0),)]
    accumulated_losses(lambda x: {"loss": x * p}, [p], batches, clip_value=1.0)["loss"].backward()
    assert p.grad.item() == -1


def test_a_scaled_loss_scales_the_gradients():
    p = nn.Parameter(torch.zeros(()))
    batches = [(torch.tensor(1.0),), (torch.tensor(2.0),)]
    (8 * accumulated_losses(lambda x: {"loss": x * p}, [p], batches)["loss"]).backward()
    assert p.grad.item() == 24


@pytest.mark.parametrize(
    ("n", "accumulate", "leftover", "steps", "sizes"),
    [
        (1284, 10, "drop", 8, {160}),  # CMU-MOSI: 81 batches, the last of 4 samples never learned from
        (155, 10, "drop", 1, {155}),  # ten batches, the last one short
        (160, 10, "drop", 1, {160}),
        (100, 3, "drop", 2, {48}),
        (100, 3, "step", 3, {48, 4}),
        (20, 10, "step", 1, {20}),
    ],
)
def test_which_batches_make_a_step(n, accumulate, leftover, steps, sizes):
    batches = AccumulatedBatches(torch.arange(n), batch_size=16, accumulate=accumulate, leftover=leftover)
    assert batches.steps_per_epoch == steps
    epoch = [batches(step)[0] for step in range(steps)]
    assert {len(batch) for batch in epoch} == sizes
    seen = torch.cat(epoch)
    assert len(seen.unique()) == len(seen)
    if leftover == "step":
        assert len(seen) == n
    assert not torch.equal(batches(steps)[0], epoch[0])  # the next epoch is another permutation
    assert torch.equal(batches(0)[0], epoch[0])


def test_too_few_observations_for_a_step():
    with pytest.raises(OptionError) as caught:
        AccumulatedBatches(torch.arange(100), batch_size=16, accumulate=10)
    assert str(caught.value) == (
        "accumulate=10 batches of 16 make a step, but 100 observations make only 7 an epoch, so no step would ever be taken; "
        "lower accumulate or pass leftover='step'"
    )
