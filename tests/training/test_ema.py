"""The moving average of weights: its decay, its place in a task, resuming."""

import math

import pytest
import torch
from torch import nn

from unsnarl.errors import OptionError
from unsnarl.training import Run, Task, train
from unsnarl.training._ema import EMA


def test_the_average_follows_the_closed_form():
    layer = nn.Linear(2, 1)
    nn.init.zeros_(layer.weight)
    average = EMA(layer, steps=50)
    nn.init.ones_(layer.weight)
    for _ in range(30):
        average.update(layer)
    assert average.module.weight.flatten().tolist() == pytest.approx([1 - math.exp(-30 / 50)] * 2, rel=1e-5)
    assert average.decay == pytest.approx(math.exp(-1 / 50))


def test_it_is_a_module_of_its_own():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = EMA(net, steps=0)
    net(torch.randn(8, 2))  # moves the running statistics
    with torch.no_grad():
        net[0].weight.add_(1)
    assert not torch.equal(average.module[0].weight, net[0].weight)
    average.update(net)
    assert torch.equal(average.module[0].weight, net[0].weight)  # no memory
    assert torch.equal(average.module[1].running_mean, net[1].running_mean)
    assert not any(p.requires_grad for p in average.parameters())
    assert average.module[0].weight.data_ptr() != net[0].weight.data_ptr()
    net.eval(), average.eval()
    x = torch.randn(4, 2)
    torch.testing.assert_close(average(x), net(x))


def test_bad_options():
    with pytest.raises(OptionError, match="steps=-1"):
        EMA(nn.Linear(1, 1), steps=-1)
    with pytest.raises(OptionError, match="other shapes"):
        EMA(nn.Linear(1, 1)).update(nn.Linear(2, 1))


def test_it_can_be_detached_from_an_optimiser():
    layer = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    average = EMA(layer, steps=3)
    handle = average.follow(layer, optimizer)
    layer.weight.grad = torch.ones(1, 1)
    start = layer.weight.item()
    optimizer.step()
    once = average.module.weight.item()
    assert once == pytest.approx(start - (1 - math.exp(-1 / 3)), abs=1e-6)
    handle.remove()
    optimizer.step()
    assert average.module.weight.item() == once


class Averaged(Task):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 1)
        with torch.no_grad():
            self.net.weight.fill_(0.1)
            self.net.bias.fill_(0.2)
        self.average = EMA(self.net, steps=5)

    def optimizers(self):
        optimizer = torch.optim.Adam(self.net.parameters(), lr=0.05)
        self.average.follow(self.net, optimizer)
        return {"main": optimizer}

    def forward(self, phase, batch, step, generator):
        return {"loss": (self.net(batch[0]) - batch[0].sum(1, keepdim=True)).square().mean()}


def batches(step):
    return (torch.randn(8, 3, generator=torch.Generator().manual_seed(step)),)


def test_a_resumed_run_has_the_same_average(tmp_path):
    whole = Averaged()
    train(whole, batches, steps=20, progress=False)
    train(Averaged(), batches, steps=12, run=Run(tmp_path, {}), progress=False)
    rest = Averaged()
    train(rest, batches, steps=20, run=Run(tmp_path, {}), progress=False)
    for (name, a), b in zip(whole.state_dict().items(), rest.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(whole.average.module.weight, whole.net.weight)
