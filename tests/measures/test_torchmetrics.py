import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torchmetrics import MeanMetric, MetricCollection

from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.measures._measure import measure
from unsnarl.measures._measure_table import MEASURES
from unsnarl.measures._torchmetrics import LatentFactorMetric

NAMES = ["mig", "sap", "irs"]


def data(n=600, seed=0):
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randint(4, (n, 2), generator=generator)
    noise = torch.randn(n, 3, generator=generator)
    codes = torch.cat([factors.float() + 0.2 * noise[:, :2], noise[:, 2:]], dim=1)
    return codes, factors


def feed(metric, codes, factors, size):
    for part, labels in zip(codes.split(size), factors.split(size), strict=True):
        metric.update(part, labels)
    return metric


def test_batches_give_what_one_call_gives():
    codes, factors = data()
    found = feed(LatentFactorMetric(NAMES), codes, factors, 64).compute()
    report = measure(codes, factors, names=NAMES)
    assert list(found) == ["mig", "sap", "irs"]
    for name, value in zip(found, report.scores.values(), strict=True):
        assert found[name].item() == pytest.approx(float(value), abs=1e-6)
        assert found[name].dtype == torch.float32
        assert found[name].ndim == 0


def test_names_of_the_numbers_do_not_depend_on_the_data():
    codes, _ = data(200)
    metric = LatentFactorMetric(["infomec", "dci", "mig"])
    metric.update(codes, torch.rand(200, 2))
    with pytest.warns(UserWarning, match="infomec is nan: InfoMEC is defined for discrete factors only"):
        found = metric.compute()
    assert list(found) == [
        "infomec_modularity", "infomec_explicitness", "infomec_compactness", "dci_disentanglement", "dci_completeness",
        "dci_informativeness", "dci_informativeness_train", "mig",
    ]  # fmt: skip
    assert math.isnan(found["infomec_modularity"])
    assert math.isnan(found["mig"])
    assert not math.isnan(found["dci_completeness"])
    assert sum(len(row.numbers) for row in MEASURES.values()) == 20


def test_a_number_for_each_factor_is_logged_as_their_mean():
    codes, factors = data(300)
    metric = LatentFactorMetric(["diffusion_spectral", "lossy_information"])
    metric.update(codes, factors)
    found = metric.compute()
    assert list(found) == ["diffusion_spectral_dse", "diffusion_spectral_dsmi", "mi"]
    each = [value for name, value in metric.report["lossy_information"].items() if name.startswith("mi: ")]
    assert len(each) == factors.shape[1] > 1
    assert float(found["mi"]) == pytest.approx(np.mean(each), abs=1e-6)


def test_all_measures_by_default():
    codes, factors = data(200)
    metric = LatentFactorMetric()
    metric.update(codes, factors)
    found = metric.compute()
    assert len(found) == sum(len(row.numbers) for row in MEASURES.values())
    assert all(math.isfinite(value) for value in found.values())


def test_the_sample_does_not_depend_on_the_batches_and_is_bounded():
    codes, factors = data(1000)
    whole = LatentFactorMetric(NAMES, max_observations=150)
    whole.update(codes, factors)
    parts = feed(LatentFactorMetric(NAMES, max_observations=150), codes, factors, 33)
    assert sum(map(len, parts.codes)) <= 300
    one, other = whole.compute(), parts.compute()
    assert one == other
    assert whole.report.n == 150
    assert int(parts.seen) == 1000
    reseeded = LatentFactorMetric(NAMES, max_observations=150, seed=1)
    reseeded.update(codes, factors)
    assert reseeded.compute() != one


def test_the_sample_is_uniform_over_the_stream():
    """Each tenth of 20,000 observations is a tenth of the 2,000 kept, to four standard deviations."""
    n, kept = 20_000, 2_000
    place = torch.arange(n)
    metric = LatentFactorMetric(["mig"], max_observations=kept)
    for part in place.split(512):
        metric.update(part[:, None].float(), part[:, None] % 4)
    held = torch.cat(metric.codes)[:, 0]
    keys = torch.cat(metric.keys)
    chosen = held[torch.topk(keys, kept, largest=False).indices]
    assert len(torch.unique(chosen)) == kept
    counts = torch.histc(chosen, bins=10, min=0, max=n)
    assert (abs(counts - kept / 10) < 4 * math.sqrt(kept * 0.1 * 0.9)).all()


def test_no_limit():
    codes, factors = data(500)
    metric = feed(LatentFactorMetric(["mig"], max_observations=None), codes, factors, 50)
    metric.compute()
    assert metric.report.n == 500


def test_reset_and_reuse():
    codes, factors = data()
    metric = feed(LatentFactorMetric(["mig"]), codes, factors, 100)
    first = metric.compute()
    metric.reset()
    assert metric.report is None
    assert int(metric.seen) == 0
    with (
        pytest.raises(DataError, match=r"no observations; call update\(codes, factors\) before compute"),
        pytest.warns(),
    ):
        metric.compute()
    assert feed(metric, codes, factors, 30).compute() == first


def test_more_updates_after_compute():
    codes, factors = data()
    metric = LatentFactorMetric(["mig"])
    metric.update(codes[:300], factors[:300])
    metric.compute()
    metric.update(codes[300:], factors[300:])
    metric.compute()
    assert metric.report.n == 600


def test_forward_updates_without_computing():
    codes, factors = data(100)
    metric = LatentFactorMetric(["mig"])
    assert metric(codes, factors) == {}
    assert int(metric.seen) == 100


def test_inside_a_collection():
    codes, factors = data()
    metrics = MetricCollection(
        {
            "latents": LatentFactorMetric(["mig", "infomec"]),
            "few": LatentFactorMetric(["mig"], max_observations=100),
        },
        prefix="val/",
    )
    metrics.update(codes[:50], factors[:50])
    metrics.update(codes[50:], factors[50:])
    found = metrics.compute()
    direct = measure(codes, factors, names=["mig"])
    assert set(found) == {
        "val/few_mig", "val/latents_mig", "val/latents_infomec_modularity", "val/latents_infomec_explicitness",
        "val/latents_infomec_compactness",
    }  # fmt: skip
    assert found["val/latents_mig"].item() == pytest.approx(float(direct["mig"]), abs=1e-6)
    assert metrics["few"].report.n == 100
    assert metrics(codes, factors) == {}
    metrics.reset()
    assert int(metrics["latents"].seen) == 0


def test_beside_other_metrics_and_with_clone_and_state_dict():
    codes, factors = data()
    metric = feed(LatentFactorMetric(["mig"], factor_names=["a", "b"]), codes, factors, 100)
    copy = metric.clone()
    assert copy.compute() == metric.compute()
    assert copy.report.factor_names == ["a", "b"]
    metric.persistent(True)
    again = LatentFactorMetric(["mig"])
    again.load_state_dict(metric.state_dict())
    assert int(again.seen) == 600
    again.update(codes[:10], factors[:10])
    assert sum(map(len, again.codes)) == 610
    loss = MeanMetric()
    loss.update(1.0)
    assert MetricCollection([loss, LatentFactorMetric(["mig"])]).keys()


def test_merging_two_metrics():
    codes, factors = data()
    one, other = LatentFactorMetric(["mig"]), LatentFactorMetric(["mig"])
    one.update(codes[:300], factors[:300])
    other.update(codes[300:], factors[300:])
    one.merge_state(other)
    one.compute()
    assert one.report.n == 600


def test_shapes_and_gradients():
    codes, factors = data(64)
    metric = LatentFactorMetric(["mig"])
    metric.update(codes.reshape(64, 3, 1).requires_grad_(), factors[:, 0])
    assert metric.codes[0].shape == (64, 3)
    assert not metric.codes[0].requires_grad
    metric.update(codes[:0], factors[:0, 0])
    assert int(metric.seen) == 64
    metric.update(codes.to(torch.float32), factors[:, 0])
    assert metric.compute()["mig"] > 0


def test_bad_input():
    codes, factors = data(20)
    metric = LatentFactorMetric(["mig"])
    with pytest.raises(DataError, match=r"one batch size, got \(20, 3\) and \(19, 2\)"):
        metric.update(codes, factors[:19])
    with pytest.raises(DataError, match=r"got \(20,\) and \(20, 2\)"):
        metric.update(codes[:, 0], factors)
    metric.update(codes, factors)
    with pytest.raises(DataError, match="codes has 2 columns, but earlier batches had 3"):
        metric.update(codes[:, :2], factors)
    with pytest.raises(UnknownNameError, match="unknown measure 'migg'"):
        LatentFactorMetric(["migg"])
    with pytest.raises(OptionError, match="max_observations=1 must be an integer at least 2"):
        LatentFactorMetric(max_observations=1)


def _process(rank, world, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    codes, factors = data(400, seed=rank)
    n, size = (350, 37) if rank else (400, 90)  # ranks differ in number and length of batches
    for limit in (10_000, 200):
        metric = feed(LatentFactorMetric(["mig"], max_observations=limit), codes[:n], factors[:n], size)
        value = metric.compute()["mig"].item()
        assert int(metric.seen) == n  # each process goes on with its own
        Path(folder, f"{rank}-{limit}.txt").write_text(f"{value!r} {metric.report.n}")
    torch.distributed.destroy_process_group()


def test_two_processes_score_the_observations_of_both(tmp_path):
    mp.spawn(_process, (2, str(tmp_path)), nprocs=2)
    for limit, n in ((10_000, 750), (200, 200)):
        told = [(tmp_path / f"{rank}-{limit}.txt").read_text().split() for rank in range(2)]
        assert told[0] == told[1]
        assert int(told[0][1]) == n
    parts = [data(400, seed=0), tuple(t[:350] for t in data(400, seed=1))]
    codes, factors = (np.concatenate([p[i].numpy() for p in parts]) for i in range(2))
    value = float((tmp_path / "0-10000.txt").read_text().split()[0])
    assert value == pytest.approx(float(measure(codes, factors, names=["mig"])["mig"]), abs=1e-6)
