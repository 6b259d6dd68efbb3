"""Generators with known answers."""

from __future__ import annotations

import pytest
import torch

from unsnarl.data.known._sparse_features import sparse_features, sparse_parity
from unsnarl.errors import OptionError


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95])
def test_sparse_features_have_the_stated_distribution(sparsity):
    x = sparse_features(20_000, 10, sparsity, seed=1)
    active = 1 - sparsity
    n = x.numel()
    assert (x > 0).float().mean().item() == pytest.approx(active, abs=4 * (active * sparsity / n) ** 0.5 + 1e-4)
    assert x.mean().item() == pytest.approx(active / 2, abs=0.005)
    assert x.square().mean().item() == pytest.approx(active / 3, abs=0.005)
    drawn = x[x > 0].sort().values  # uniform given that it is active
    uniform = (torch.arange(len(drawn)) + 0.5) / len(drawn)
    assert (drawn - uniform).abs().max().item() < 2 / len(drawn) ** 0.5
    correlation = torch.corrcoef(x.T) - torch.eye(10)
    assert correlation.abs().max().item() < 0.04


def test_sparse_features_are_seeded_and_go_on_with_a_generator():
    assert torch.equal(sparse_features(9, 4, 0.5, seed=3), sparse_features(9, 4, 0.5, seed=3))
    generator = torch.Generator().manual_seed(3)
    first, second = (sparse_features(9, 4, 0.5, generator=generator) for _ in range(2))
    assert torch.equal(first, sparse_features(9, 4, 0.5, seed=3))
    assert not torch.equal(first, second)


def test_parity_holds_every_input_once_with_the_right_label():
    data = sparse_parity()
    assert data.inputs.shape == (3 * 4096, 15)
    assert len(data.inputs.unique(dim=0)) == 3 * 4096
    assert set(data.inputs.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(data.inputs[:, :3].argmax(1), data.task)
    assert (data.inputs[:, :3].sum(1) == 1).all()
    for row in (0, 1, 4096 + 7, 9_000, 12_287):
        task = int(data.task[row])
        bits = data.inputs[row, 3 + 4 * task : 7 + 4 * task]
        assert int(data.labels[row]) == int(bits.sum()) % 2
    assert data.labels.float().mean() == 0.5


def test_the_split_keeps_the_share_of_each_task_and_label():
    data = sparse_parity(seed=2)
    both = torch.cat([data.train, data.test])
    assert len(both) == 12_288
    assert len(both.unique()) == 12_288
    for task in range(3):
        for label in (0, 1):
            stratum = (data.task == task) & (data.labels == label)
            assert int(stratum[data.train].sum()) == 1638
            assert int(stratum[data.test].sum()) == 410
    first = data.task[data.train[:300]]  # in no order: all tasks among the first rows
    assert all((first == task).sum() > 50 for task in range(3))
    assert torch.equal(sparse_parity(seed=2).train, data.train)
    assert not torch.equal(sparse_parity(seed=3).train, data.train)


def test_parity_of_other_sizes():
    data = sparse_parity(tasks=2, bits=3, test_share=0.5)
    assert data.inputs.shape == (128, 8)
    assert len(data.test) == 64
    bits = data.inputs[:, 2:].reshape(-1, 2, 3).sum(2) % 2
    assert torch.equal(bits[torch.arange(128), data.task].long(), data.labels)


def test_bad_options():
    for options, message in [
        ({"n": 0, "features": 2, "sparsity": 0.5}, "n="),
        ({"n": 5, "features": 0, "sparsity": 0.5}, "features"),
        ({"n": 5, "features": 2, "sparsity": 1.0}, "sparsity"),
        ({"n": 5, "features": 2, "sparsity": -0.1}, "sparsity"),
    ]:
        with pytest.raises(OptionError, match=message):
            sparse_features(**options)
    with pytest.raises(OptionError, match="tasks"):
        sparse_parity(tasks=0)
    with pytest.raises(OptionError, match="bits"):
        sparse_parity(bits=0)
    with pytest.raises(OptionError, match=r"tasks \* bits"):
        sparse_parity(tasks=5, bits=5)
    with pytest.raises(OptionError, match="test_share"):
        sparse_parity(test_share=1.0)
