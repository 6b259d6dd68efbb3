"""Recording activations by hooks."""

import pytest
import torch
from torch import nn

from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.nn import ActivationRecorder, record_activations


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x, scale=1.0):
        h = self.linear(x) * scale
        return {"loss": None, "hidden": (h, h + 1)}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU(inplace=True), nn.Linear(4, 2))


def test_records_outputs_and_inputs_of_the_last_pass(net):
    net.eval()
    x = torch.randn(5, 3)
    with ActivationRecorder(net, ["3", "0"], side="input") as seen:
        net(torch.zeros(2, 3))
        net(x)
    assert torch.equal(seen["0"], x)
    assert torch.equal(seen["3"], torch.relu(net[0](x)))


def test_hooks_are_gone_afterwards_even_after_an_error(net):
    with pytest.raises(ZeroDivisionError), ActivationRecorder(net, "0"):
        raise ZeroDivisionError
    assert not net[0]._forward_hooks


def test_gradients_flow_when_not_detached(net):
    with ActivationRecorder(net, net[0], detach=False) as seen:
        net(torch.randn(2, 3))
        seen["0"].sum().backward()
    assert net[0].weight.grad is not None


def test_takes_the_first_tensor_of_structured_outputs():
    model = TwoOutputs()
    with ActivationRecorder(model, "") as seen:
        expected = model(torch.ones(2, 3))["hidden"][0]
    assert torch.equal(seen[""], expected)


def test_stream_is_run_in_eval_mode_and_modes_come_back(net):
    net.train()
    net[1].eval()
    x = torch.randn(10, 3)
    found = record_activations(net, x.split(4), ["0", "2"], limit=7)
    assert net.training
    assert not net[1].training
    assert net[2].training
    assert torch.allclose(found["2"], torch.relu(net[0](x[:7])))
    assert len(found["0"]) == 7
    assert not found["0"].requires_grad


def test_keeps_what_a_later_in_place_layer_writes_over(net):
    x = torch.randn(4, 3)
    found = record_activations(net, [x], ["0", "2"])
    assert (found["0"] < 0).any()
    assert torch.equal(torch.relu(found["0"]), found["2"])


def test_stream_of_tuples_and_dictionaries(net):
    x = torch.randn(4, 3)
    pairs = record_activations(net, [(x, torch.zeros(4))], "0")["0"]
    model = TwoOutputs()
    scaled = record_activations(model, [{"x": x, "scale": 2.0}], "")[""]
    assert torch.allclose(pairs, net[0](x))
    assert torch.allclose(scaled, 2 * model.linear(x))


def test_complains_in_one_sentence(net):
    with pytest.raises(UnknownNameError, match="layer 'fc'"):
        ActivationRecorder(net, "fc")
    with pytest.raises(OptionError, match="no part of the Sequential"):
        ActivationRecorder(net, nn.Linear(2, 2))
    with pytest.raises(OptionError, match="layers is empty"):
        ActivationRecorder(net, [])
    with pytest.raises(OptionError, match="side"):
        ActivationRecorder(net, "0", side="left")
    with pytest.raises(DataError, match="has not run"):
        ActivationRecorder(net, "0")["0"]
    with pytest.raises(DataError, match="batches is empty"):
        record_activations(net, [], "0")
    with pytest.raises(DataError, match="not a str"):
        record_activations(net, ["x"], "0")
    with pytest.raises(OptionError, match="limit"):
        record_activations(net, [torch.ones(1, 3)], "0", limit=0)
