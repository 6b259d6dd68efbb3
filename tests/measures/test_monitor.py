"""A monitor of representations during training: by hand, in this library's loop, and in Lightning."""

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.errors import DataError, FileError, OptionError, UnknownNameError
from unsnarl.information import diffusion_spectral_entropy, diffusion_spectral_mi
from unsnarl.measures import LossyMutualInformation, RepresentationMonitor
from unsnarl.measures.monitor import MonitorHistory
from unsnarl.training import Task, TensorBatches, train


class Classifier(Task):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))

    def optimizers(self):
        return {"main": torch.optim.Adam(self.net.parameters(), 1e-2)}

    def forward(self, phase, batch, step, generator):
        return {"loss": nn.functional.cross_entropy(self.net(batch[0]), batch[1])}


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 3
    return torch.randn(120, 6, generator=generator) + 2 * nn.functional.one_hot(y, 6), y


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.5), nn.ReLU(), nn.Linear(12, 3))


def test_numbers_are_those_of_the_functions_and_training_is_left_alone(net, data):
    x, y = data
    net.train()
    torch.manual_seed(1)
    drawn = torch.rand(1).item()
    torch.manual_seed(1)
    monitor = RepresentationMonitor(net, ["0", "2"], x, y, sigma=2.0, record=("dse", "dsmi_labels"))
    found = monitor.measure(0)
    assert net.training
    assert net[1].training
    assert torch.rand(1).item() == drawn
    hidden = net[0](x).detach().numpy()
    assert found["0"]["dse"] == pytest.approx(float(diffusion_spectral_entropy(hidden, 2.0)), abs=1e-5)
    assert found["0"]["dsmi_labels"] == pytest.approx(float(diffusion_spectral_mi(hidden, y.numpy(), 2.0).mi), abs=1e-5)
    assert found["2"]["dse"] != found["0"]["dse"]


def test_in_this_librarys_loop_it_records_every_so_many_steps_and_goes_on_from_its_file(data, tmp_path):
    x, y = data
    torch.manual_seed(0)
    task = Classifier()
    options = {"sigma": "median", "every": 5, "record": ("dse", "dsmi_labels"), "path": tmp_path / "history.json"}
    monitor = RepresentationMonitor(task.net, "1", x, y, **options)
    train(task, TensorBatches(x, y, batch_size=40), steps=20, progress=False, callbacks=[monitor])
    table = monitor.table()
    assert table["step"].tolist() == [0, 5, 10, 15, 20]
    assert table["dsmi_labels"].iloc[-1] > table["dsmi_labels"].iloc[0] + 0.1
    again = RepresentationMonitor(task.net, "1", x, y, **options)
    assert again.table().equals(table)
    assert MonitorHistory.load(tmp_path / "history.json").steps == [0, 5, 10, 15, 20]


def test_in_lightning(data, tmp_path):
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    x, y = data
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=40)
    monitor = RepresentationMonitor(None, "net.1", x, y, every=3, sigma="median", record=("dse",))
    trainer = pl.Trainer(
        max_steps=6,
        callbacks=[monitor],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=tmp_path,
    )
    trainer.fit(Module(), loader)
    assert monitor.table()["step"].tolist()[-2:] == [3, 6]


def test_effective_features(net, data):
    x, y = data
    x, y = x.repeat(3, 1) + 0.01 * torch.randn(360, 6, generator=torch.Generator().manual_seed(2)), y.repeat(3)
    monitor = RepresentationMonitor(
        net,
        "0",
        x,
        y,
        record=("effective_features",),
        feature_options={"expansion": 2, "epochs": 3},
    )
    with pytest.warns(UserWarning, match="is unreliable"):
        found = monitor.measure(0)["0"]
    assert 0 < found["effective_features"] <= 24
    assert found["features_per_neuron"] == pytest.approx(found["effective_features"] / 12)


def test_the_information_plane_is_that_of_lossy_compression(net, data):
    x, y = data
    x = x.repeat(10, 1) + 0.1 * torch.randn(1200, 6, generator=torch.Generator().manual_seed(2))
    y = y.repeat(10)
    monitor = RepresentationMonitor(
        net, "0", x, y, record="information_plane", noise=0.1, limit=1200, information_options={"dim": 2}
    )
    found = monitor.measure(0)["0"]
    hidden = net[0](x).detach().numpy().astype(np.float64)
    noise = np.random.default_rng(0).standard_normal(hidden.shape)
    noisy = hidden + 0.1 * np.sqrt(np.mean(hidden**2)) * noise
    ours = LossyMutualInformation("pca", "identity", dim=2).fit(noisy, y.numpy()).estimate()
    assert found["mi_labels"] == pytest.approx(ours.mi, abs=1e-3)
    assert found["mi_labels_se"] == pytest.approx(ours.standard_error, abs=1e-3)
    assert (
        0.2 < found["mi_labels"] < np.log(3) < found["mi_inputs"]
    )  # a layer tells more of its input than of the label


def test_what_inputs_explain_is_taken_over_the_same_clusters_at_every_step(net, data):
    x, y = data
    monitor = RepresentationMonitor(net, "0", x, y, sigma=2.0, record="dsmi_inputs")
    first = monitor.measure(0)["0"]["dsmi_inputs"]
    hidden = net[0](x).detach().numpy()
    ours, clusters = diffusion_spectral_mi(hidden, x.numpy(), 2.0)
    assert first == pytest.approx(float(ours), abs=1e-5)
    assert len(np.unique(clusters)) == 10
    assert monitor.measure(1)["0"]["dsmi_inputs"] == first


def test_a_run_that_goes_back_replaces_what_came_after(net, data, tmp_path):
    x, y = data
    for ending in ("json", "csv"):
        path = tmp_path / f"history.{ending}"
        monitor = RepresentationMonitor(net, "0", x, y, sigma=2.0, record="dse", path=path)
        for step in (0, 100, 200):
            monitor(step)
        again = RepresentationMonitor(net, "0", x, y, sigma=2.0, record="dse", path=path)
        again(100)
        assert MonitorHistory.load(path).steps == [0, 100]
        path.write_text("{" if ending == "json" else "nothing of ours\n1\n")
        with pytest.raises(FileError, match=f"history.{ending}"):
            MonitorHistory.load(path)


def test_curves_are_drawn(net, data, tmp_path):
    x, y = data
    monitor = RepresentationMonitor(net, "0", x, y, sigma="median", record=("dse", "dsmi_labels"))
    for step in (0, 10):
        monitor.measure(step)
    monitor.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000
    with pytest.raises(DataError):
        RepresentationMonitor(net, "0", x, y).plot()


def test_complains_in_one_sentence(net, data):
    x, y = data
    with pytest.raises(UnknownNameError, match="layer 'fc'"):
        RepresentationMonitor(net, "fc", x, y)
    with pytest.raises(OptionError, match="layers is empty"):
        RepresentationMonitor(net, [], x, y)
    with pytest.raises(DataError, match="without a model"):
        RepresentationMonitor(None, "0", x, y).measure(0)
    with pytest.raises(OptionError, match="sigma"):
        RepresentationMonitor(net, "0", x, y, sigma=-1.0)
    with pytest.raises(DataError, match="labels"):
        RepresentationMonitor(net, "0", x, np.zeros(7), record=("dsmi_labels",))
    with pytest.raises(DataError, match="labels"):
        RepresentationMonitor(net, "0", x, record="dsmi_labels")
