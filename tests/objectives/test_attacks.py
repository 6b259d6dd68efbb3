"""Adversarial examples on models whose worst case is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unsnarl.errors import DataError, OptionError
from unsnarl.objectives._attacks import classification_loss, fgsm, pgd


class Linear(nn.Module):
    """One logit w . x + b over flattened images."""

    def __init__(self, w, b=0.0):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.as_tensor(w)), b

    def forward(self, x):
        return (x.flatten(1) @ self.w + self.b)[:, None]


def images(n=6, seed=0):
    return torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed))


W = torch.tensor([1.0, -2.0, 0.5, 0.0])


def test_fgsm_on_a_linear_model_is_the_worst_case():
    model, x = Linear(W), images()
    y = torch.tensor([1, 0, 1, 0, 1, 0])
    changed = fgsm(model, x, y, 0.1)
    direction = (
        torch.where(y == 1, -1.0, 1.0)[:, None] * W.sign()
    )  # lowers the logit of class 1, raises that of class 0
    assert torch.allclose(changed.flatten(1), (x.flatten(1) + 0.1 * direction).clamp(0, 1))
    assert torch.equal(changed[:, 0, 1, 1], x[:, 0, 1, 1])  # no gradient, no change
    assert classification_loss(model(changed), y) > classification_loss(model(x), y)


def test_targeted_attacks_lower_the_loss():
    model, x, y = Linear(W), images(), torch.ones(6)
    before = classification_loss(model(x), y)
    assert classification_loss(model(fgsm(model, x, y, 0.1, targeted=True)), y) < before
    assert classification_loss(model(pgd(model, x, y, 0.1, steps=10, targeted=True)), y) < before


def test_pgd_reaches_the_corner_of_the_box_and_stays_in_it():
    model, x, y = Linear(W), images(), torch.zeros(6)
    changed = pgd(model, x, y, 0.1, step_size=0.01, steps=40, generator=torch.Generator().manual_seed(0))
    corner = (x.flatten(1) + 0.1 * W.sign()).clamp(0, 1)
    torch.testing.assert_close(
        changed.flatten(1)[:, :3], corner[:, :3]
    )  # from anywhere in the box, 40 steps of .01 get there
    assert (changed - x).abs().max() <= 0.1 + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.equal(changed.flatten(1)[:, 3], x.flatten(1)[:, 3])  # the random start remains where nothing pulls


def test_pgd_without_random_start_and_one_full_step_is_fgsm():
    model, x, y = Linear(W), images(), torch.tensor([1, 0, 1, 1, 0, 0])
    same = pgd(model, x, y, 0.2, step_size=0.2, steps=1, random_start=False)
    assert torch.allclose(same, fgsm(model, x, y, 0.2))


def test_pgd_beats_fgsm_on_a_curved_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))
    with torch.no_grad():
        model[1].weight.mul_(8), model[3].weight.mul_(4)
    x, y = images(200, 1), torch.arange(200) % 3
    one = classification_loss(model(fgsm(model, x, y, 0.3)), y)
    many = classification_loss(model(pgd(model, x, y, 0.3, step_size=0.03, steps=40)), y)
    assert many > one


def test_leaves_the_model_as_it_was():
    model, x, y = Linear(W), images(), torch.zeros(6)
    classification_loss(model(x), y).backward()
    gradient, weight = model.w.grad.clone(), model.w.detach().clone()
    model.eval()
    for changed in (fgsm(model, x, y, 0.1), pgd(model, x, y, 0.1, steps=2)):
        assert not changed.requires_grad
        assert not x.requires_grad
    assert torch.equal(model.w.grad, gradient)
    assert torch.equal(model.w, weight)
    assert not model.training
    with torch.no_grad():  # also where gradients are off
        assert not torch.equal(fgsm(model, x, y, 0.1), x)


def test_the_same_generator_gives_the_same_attack():
    model, x, y = Linear(W), images(), torch.zeros(6)
    draws = [pgd(model, x, y, 0.1, steps=1, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_loss_by_hand_and_of_ones_own():
    logits = torch.tensor([[0.0], [2.0]])
    expected = (torch.log(torch.tensor(2.0)) + torch.log1p(torch.exp(torch.tensor(-2.0)))) / 2
    assert torch.allclose(classification_loss(logits, torch.tensor([0, 1])), expected)
    many = torch.tensor([[1.0, 2.0, 3.0]])
    assert torch.allclose(classification_loss(many, torch.tensor([2])), torch.logsumexp(many, 1) - 3)
    model, x, y = Linear(W), images(), torch.zeros(6)
    mine = fgsm(model, x, y, 0.1, loss=lambda outputs, _: -outputs.sum())  # wants the logit low
    assert torch.allclose(mine.flatten(1), (x.flatten(1) - 0.1 * W.sign()).clamp(0, 1))


def test_zero_epsilon_changes_nothing():
    model, x, y = Linear(W), images(), torch.zeros(6)
    assert torch.equal(fgsm(model, x, y, 0), x)
    assert torch.equal(pgd(model, x, y, 0, steps=3), x)


def test_bad_input():
    model, x, y = Linear(W), images(), torch.zeros(6)
    with pytest.raises(OptionError, match="epsilon"):
        fgsm(model, x, y, -0.1)
    with pytest.raises(OptionError, match="epsilon"):
        pgd(model, x, y, 8.0)  # pixels of 0..255 in mind
    with pytest.raises(OptionError, match="steps"):
        pgd(model, x, y, 0.1, steps=0)
    with pytest.raises(OptionError, match="step_size"):
        pgd(model, x, y, 0.1, step_size=0)
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        fgsm(model, 255 * x, y, 0.1)
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        fgsm(model, x * torch.nan, y, 0.1)
