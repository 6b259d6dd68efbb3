"""Batches are a pure function of the seed and the step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.errors import DataError, OptionError
from unsnarl.training import TensorBatches, as_input, stream_seed

seeds = st.integers(0, 2**63 - 1)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, n=st.integers(1, 40), batch_size=st.integers(1, 50), steps=st.permutations(range(20)))
def test_a_batch_depends_on_nothing_but_seed_and_step(seed: int, n: int, batch_size: int, steps: list[int]):
    x = torch.arange(n)
    in_order = TensorBatches(x, batch_size=batch_size, seed=seed)
    expected = [in_order(step)[0].tolist() for step in range(20)]
    jumping = TensorBatches(x, batch_size=batch_size, seed=seed)
    assert [jumping(step)[0].tolist() for step in steps] == [expected[step] for step in steps]
    assert all(len(batch) == min(n, batch_size) for batch in expected)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, n=st.integers(1, 40), batch_size=st.integers(1, 50), epoch=st.integers(0, 3))
def test_an_epoch_sees_no_observation_twice(seed: int, n: int, batch_size: int, epoch: int):
    batches = TensorBatches(torch.arange(n), batch_size=batch_size, seed=seed)
    per_epoch = batches.steps_per_epoch
    seen = torch.cat([batches(epoch * per_epoch + i)[0] for i in range(per_epoch)]).tolist()
    assert len(seen) == len(set(seen)) == n - n % min(n, batch_size)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, step=st.integers(0, 100), world=st.integers(1, 4))
def test_processes_share_each_batch_among_them(seed: int, step: int, world: int):
    x = torch.arange(50)
    whole = TensorBatches(x, batch_size=12, seed=seed)(step)[0].tolist()
    parts = [
        TensorBatches(x, batch_size=12, seed=seed, rank=r, world_size=world)(step)[0].tolist() for r in range(world)
    ]
    assert {len(part) for part in parts} == {12 // world}
    assert sorted(i for part in parts for i in part) == sorted(whole)


def test_epochs_seeds_and_streams_differ():
    x = torch.arange(1000)

    def epoch(number: int, **options: int) -> list[int]:
        return TensorBatches(x, batch_size=1000, **options)(number)[0].tolist()

    orders = [epoch(0), epoch(1), epoch(0, seed=1), epoch(0, stream=1)]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert sum(p == q for p, q in zip(a, b, strict=True)) < 10  # 1 is expected of unrelated orders


def test_rows_of_several_tensors_stay_together():
    x = torch.arange(30)
    a, b = TensorBatches(x, x * 2, batch_size=7, seed=3)(5)
    assert torch.equal(b, a * 2)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(-(2**63), 2**64), path=st.lists(st.integers(0, 10**6), max_size=3))
def test_stream_seeds_are_seeds(seed: int, path: list[int]):
    value = stream_seed(seed, *path)
    assert 0 <= value < 2**63
    assert value == stream_seed(seed, *path)
    torch.Generator().manual_seed(value)


def test_places_in_a_run_get_seeds_of_their_own():
    found = {
        stream_seed(seed, a, b, step) for seed in range(5) for a in range(3) for b in range(3) for step in range(200)
    }
    assert len(found) == 5 * 3 * 3 * 200


def test_what_a_network_sees():
    assert as_input(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert as_input(torch.ones(2, dtype=dtype)).dtype == torch.float32
    same = torch.ones(2)
    assert as_input(same) is same
    assert as_input(torch.ones(2, dtype=torch.int64)).dtype == torch.int64


def test_bad_input():
    with pytest.raises(DataError, match="tensor 0 has 3, tensor 1 has 4"):
        TensorBatches(torch.zeros(3), torch.zeros(4), batch_size=2)
    with pytest.raises(OptionError, match="batch_size=0 must be an integer at least 1"):
        TensorBatches(torch.zeros(3), batch_size=0)
