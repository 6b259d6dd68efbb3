"""Learning rate, stopping and the weights that are kept, against torch's own scheduler."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.systems.multimodal.dlf._plateau import PlateauWatch


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_the_learning_rate_is_that_of_reduce_on_plateau(patience):
    p = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience)
    watch = PlateauWatch([p], ["loss"], 60, patience=patience, early_stop=100)
    rng = np.random.default_rng(0)
    for epoch in range(60):
        watch.add({"loss": torch.tensor(1.0)})
        error = float(np.exp(-epoch / 10) + 0.1 * rng.random())
        scheduler.step(error)
        assert not watch.observe(error, epoch + 1)
        assert 0.1 * watch.lr_factor == pytest.approx(optimizer.param_groups[0]["lr"])
    assert watch.lr_factor < 1


def test_it_stops_and_gives_back_the_best_weights():
    p = nn.Parameter(torch.zeros(2, 2))
    watch = PlateauWatch([p], ["loss", "task"], 9, early_stop=3)
    errors = [1.0, 0.5, 0.6, 0.5 - 1e-7, 0.7]  # the fourth is not lower by as much as counts
    stopped = []
    for epoch, error in enumerate(errors):
        with torch.no_grad():
            p.fill_(epoch)
        for loss in (1.0, 3.0):
            watch.add({"loss": torch.tensor(loss + epoch), "task": torch.tensor(0.0), "more": torch.tensor(9.0)})
        stopped.append(watch.observe(error, 2 * (epoch + 1)))
    assert stopped == [False, False, False, False, True]
    watch.restore_best()
    assert (p == 1).all()
    table = watch.history(0.1)
    assert table["loss"].tolist() == [2, 3, 4, 5, 6]
    assert table["valid_mae"].tolist() == pytest.approx(errors)
    assert table["step"].tolist() == [2, 4, 6, 8, 10]
    assert table["kept"].tolist() == [False, True, False, False, False]
    assert table["lr"].tolist() == pytest.approx([0.1] * 5)


def test_all_of_its_state_is_in_buffers():
    p = nn.Parameter(torch.zeros(3))
    first, second = (PlateauWatch([p], ["loss"], 5, patience=0) for _ in range(2))
    for error in (1.0, 2.0):
        first.add({"loss": torch.tensor(error)})
        first.observe(error, 1)
    first.add({"loss": torch.tensor(5.0)})
    second.load_state_dict(first.state_dict())
    for watch in (first, second):
        watch.observe(3.0, 3)
    assert second.lr_factor == 0.25
    assert second.history(1.0).equals(first.history(1.0))
    assert set(dict(first.named_parameters())) == set()
