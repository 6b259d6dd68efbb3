"""The information plane of a network in training, and its smoothing."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.information import EstimatorWarning
from unsnarl.measures.lossy import InformationPlane, LossyMutualInformation, PCACompressor, smooth_curve
from unsnarl.nn._noise import StochasticNet
from unsnarl.training import Task, TensorBatches, train


def rings(n=1200, seed=0):
    """Two classes that a linear layer cannot tell apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    return x, (np.linalg.norm(x, axis=1) > 1.17).astype(np.int64)


def network(inputs=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 2))


class Classify(Task):
    """Cross-entropy of a network."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def optimizers(self):
        return {"main": torch.optim.Adam(self.net.parameters(), lr=1e-2)}

    def forward(self, phase, batch, step, generator):
        return {"loss": nn.functional.cross_entropy(self.net(batch[0]), batch[1])}


def test_training_moves_the_layers_up():
    """The label depends on two of ten inputs, so an untrained narrow layer knows little of it."""
    x = np.random.default_rng(0).normal(size=(1200, 10)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    options = {"x_compressor": "first", "dim": 2, "k": 20}
    plane = InformationPlane(network(10), ["3", "4"], 0.05, x=x, y=y, **options)
    assert isinstance(plane.model, StochasticNet)
    before = plane.update(0)
    train(
        Classify(plane.model),
        TensorBatches(torch.as_tensor(x), torch.as_tensor(y), batch_size=100),
        steps=300,
        progress=False,
        callbacks=[lambda step: plane.update(step / 100) if step in (100, 200, 300) else None],
    )
    after = plane.table().set_index(["epoch", "layer"]).loc[(3.0, "4")]
    assert after["i_ly"] > before["4"].i_ly + 0.3
    assert after["i_ly"] < np.log(2) + 0.15
    table = plane.table()
    assert after["i_xl"] > before["4"].i_xl + 0.3  # of the two inputs that matter
    assert list(table.columns) == ["epoch", "layer", "i_xl", "i_xl_error", "i_ly", "i_ly_error"]
    assert len(table) == 8
    assert (table["i_xl_error"] > 0).all()


def test_more_noise_less_information_of_the_input():
    x, y = rings()
    values = []
    for sigma in (0.01, 0.1, 1.0):
        plane = InformationPlane(network(), "3", sigma, x=x, y=y, x_compressor="identity", dim=2)
        values.append(plane.update(0)["3"].i_xl)
    assert values[0] > values[1] + 1 > values[2] + 1.5


@pytest.mark.parametrize("options", [{"k": 10}, {"k": 5, "weights": "nearest"}])
def test_it_is_the_lossy_information_of_what_the_layer_puts_out(options):
    x, y = rings(600)
    net = StochasticNet(network(), sigma=0.1, seed=3)
    plane = InformationPlane(net, ["3"], x=x, y=y, x_compressor="identity", dim=2, **options)
    point = plane.update(0)["3"]
    net.manual_seed(3)
    with torch.inference_mode():
        for part in (x[:64], x[:64]):  # the two looks for noise
            net.eval()(torch.as_tensor(part))
        seen = {}
        handle = net.model[3].register_forward_hook(lambda m, a, out: seen.update(parts=[*seen.get("parts", []), out]))
        for part in torch.as_tensor(x).split(512):
            net(part)
        handle.remove()
    layer = torch.cat(seen["parts"]).double().numpy()
    by_hand = LossyMutualInformation("identity", PCACompressor(2), **options).fit(x, layer).estimate()
    assert (point.i_xl, point.i_xl_error) == pytest.approx(tuple(by_hand), abs=1e-6)
    with_label = LossyMutualInformation(PCACompressor(2), **options).fit(layer, y).estimate()
    assert (point.i_ly, point.i_ly_error) == pytest.approx(tuple(with_label), abs=1e-6)


def test_a_deterministic_network_is_named():
    x, y = rings(400)
    plane = InformationPlane(network(), ["1", "4"], 0.0, x=x, y=y, x_compressor="identity", dim=2)
    with pytest.warns(EstimatorWarning, match="of '1', '4' do not change from pass to pass.*I\\(X; L\\) is infinite"):
        plane.update(0)
    noisy = InformationPlane(network(), ["1", "4"], 0.1, x=x, y=y, x_compressor="identity", dim=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", EstimatorWarning)
        noisy.update(0)


def test_a_layer_that_is_off_is_a_gap_and_not_the_end():
    x, y = rings(400)
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    nn.init.constant_(net[0].bias, -100.0)
    plane = InformationPlane(net, ["0", "1"], 0.1, x=x, y=y, x_compressor="identity", dim=2)
    with pytest.warns(EstimatorWarning, match="layer '1' at epoch 0: observations are constant"):
        found = plane.update(0)
    assert np.isnan(found["1"].i_xl)
    assert found["0"].i_xl > 0


def test_layers_by_module_and_continuous_targets():
    x, _ = rings(500)
    net = network()
    plane = InformationPlane(net, [net[3]], 0.1, x=x, y=x[:, 0] * 2, x_compressor="identity", dim=2)
    assert plane.layers == ["3"]
    assert plane.update(0)["3"].i_ly > 0.5


def test_pictures(tmp_path):
    x, y = rings(300)
    plane = InformationPlane(network(), ["1", "4"], 0.1, x=x, y=y, x_compressor="identity", dim=2, k=5)
    with pytest.raises(DataError, match="the plane is empty"):
        plane.plot()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimatorWarning)
        for epoch in range(4):
            plane.update(epoch)
    figure = plane.plot(tmp_path / "plane.png")
    assert (tmp_path / "plane.png").stat().st_size > 5000
    assert [axis.get_title() for axis in figure.axes[:2]] == ["1", "4"]


def test_smoothed_tables_keep_the_raw_values():
    x, y = rings(300)
    plane = InformationPlane(network(), ["4"], 0.1, x=x, y=y, x_compressor="identity", dim=2, k=5)
    raw = np.sin(np.arange(50) / 8) + 0.3 * np.random.default_rng(0).normal(size=50)
    plane._rows = [
        {"epoch": i, "layer": "4", "i_xl": v, "i_xl_error": 0, "i_ly": v, "i_ly_error": 0} for i, v in enumerate(raw)
    ]
    assert plane.table()["i_xl"].to_numpy() == pytest.approx(raw)
    assert plane.table(smooth=True)["i_xl"].to_numpy() == pytest.approx(smooth_curve(raw))


def test_smoothing():
    t = np.arange(200)
    slow, fast = np.sin(2 * np.pi * t / 100), np.sin(2 * np.pi * t / 5)
    smooth = smooth_curve(slow + 0.5 * fast)
    assert np.abs(smooth - slow)[20:-20].max() < 0.05  # nothing is delayed, and the fast wave is gone
    gap = slow.copy()
    gap[50:53] = np.nan
    filled = smooth_curve(gap)
    assert np.isnan(filled[50:53]).all()
    assert np.abs(np.delete(filled - slow, range(50, 53)))[20:-20].max() < 0.1
    assert smooth_curve([1.0, 2.0, 1.5]) == pytest.approx([1.0, 2.0, 1.5])
    assert smooth_curve(np.full(9, 2.5)) == pytest.approx(np.full(9, 2.5))
    with pytest.raises(OptionError, match="window=30 must be odd"):
        smooth_curve(slow, window=30)
    with pytest.raises(OptionError, match="cutoff"):
        smooth_curve(slow, cutoff=1.5)
    with pytest.raises(DataError, match="one curve"):
        smooth_curve(slow.reshape(2, 100))


def test_bad_input():
    x, y = rings(300)
    with pytest.raises(UnknownNameError, match="unknown layer 'conv'"):
        InformationPlane(network(), ["conv"], x=x, y=y)
    with pytest.raises(DataError, match="x has 300, y has 299"):
        InformationPlane(network(), ["4"], x=x, y=y[1:])
    with pytest.raises(DataError, match="49 observations"):
        InformationPlane(network(), ["4"], x=x[:49], y=y[:49], k=5)
    with pytest.raises(OptionError, match="weights='even' is not allowed"):
        InformationPlane(network(), ["0"], x=x, y=y, x_compressor="identity", weights="even")
    with pytest.raises(OptionError, match="sigma=-1"):
        InformationPlane(network(), ["4"], -1, x=x, y=y)
    with pytest.raises(OptionError, match="dim=12"):
        InformationPlane(network(), ["4"], x=x, y=y, dim=12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimatorWarning)
        plane = InformationPlane(network(), ["4"], 0.1, x=x, y=y, x_compressor="identity", dim=2)
        plane.update(1)
        with pytest.raises(OptionError, match="epoch=1 must be larger"):
            plane.update(1)
