"""PIBD as a learner: it learns, explains itself, copes with what is missing, resumes and is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pibd_patients import SMALL, arrays, simulated, small
from sklearn.base import clone

from unsnarl.data.survival import SurvivalData
from unsnarl.errors import NotFittedError
from unsnarl.systems.multimodal._late_fusion import LateFusionSurvival
from unsnarl.systems.multimodal.pibd import PIBD
from unsnarl.systems.multimodal.pibd._batches import PatientBatches
from unsnarl.systems.multimodal.pibd._inputs import Reader
from unsnarl.systems.multimodal.pibd._sub_bags import sub_bags


@pytest.fixture(scope="module")
def fitted() -> PIBD:
    return small(epochs=3).fit(simulated())


@pytest.fixture(scope="module")
def others() -> SurvivalData:
    return simulated(12, seed=9)


# ---- learning -----------------------------------------------------------------------------------------------------


def test_it_learns_to_order_patients() -> None:
    data = simulated(220, seed=1, separation=2.0, patches=(12, 20), genes=6, pathways=2)
    train, test = data.subset(slice(160)), data.subset(slice(160, 220))
    model = small(epochs=16, z_dim=16, lr=5e-3, batch_size=32, club_steps=1).fit(train, log_every=1)
    assert model.score(test) > 0.65  # chance is 0.5, its standard error here about 0.05
    first, last = model.history_.iloc[:20].mean(), model.history_.iloc[-20:].mean()
    assert last["main.survival"] < first["main.survival"] - 0.05
    assert last["main.proxy"] < first["main.proxy"]  # instances have moved towards the label's prototype
    assert last["main.prototypes"] < first["main.prototypes"] - 1


def test_late_fusion_learns_too() -> None:
    data = simulated(220, seed=1, separation=2.0, patches=(12, 20), genes=6, pathways=2)
    train, test = data.subset(slice(160)), data.subset(slice(160, 220))
    model = LateFusionSurvival(z_dim=16, lr=5e-3, epochs=16, batch_size=32).fit(train)
    assert model.score(test) > 0.65
    weights = model.attend(test)
    assert [len(w) for w in weights] == [len(b) for b in test["patches"]]
    assert all(w.sum() == pytest.approx(1, abs=1e-5) for w in weights)
    alone = model.risk(None, test.pathway_arrays("genes"))
    assert np.isfinite(alone).all()
    assert np.abs(alone - model.risk(test)).max() > 1e-4


@pytest.mark.parametrize("club", ["joint", "alternating", "none"])
def test_who_moves_in_which_phase(club: str) -> None:
    """Estimators move in their own phase alone where they take turns, with everything where they do not, else not at all."""
    fitted = small(club=club, epochs=1).fit(simulated())
    first = fitted._build(fitted.facts_)
    estimators = {
        name: float((p - dict(first.named_parameters())[name]).abs().max())
        for name, p in fitted.task_.named_parameters()
        if "information" in name
    }
    if club == "none":
        assert max(estimators.values()) == 0
    else:
        assert min(estimators.values()) > 0
    phases = {"joint": ("main",), "none": ("main",), "alternating": ("main", *["estimator"] * 5)}
    assert fitted.task_.schedule(0) == phases[club]


def test_the_main_phase_does_not_touch_estimators_in_turns() -> None:
    model = small(epochs=1).fit(simulated())
    task = model._build(model.facts_)
    optimizers = task.optimizers()
    held = {id(p) for p in task.network.information.parameters()}
    main = {id(p) for group in optimizers["main"].param_groups for p in group["params"]}
    own = {id(p) for group in optimizers["estimator"].param_groups for p in group["params"]}
    assert own == held
    assert not main & held
    assert len(main | own) == len(list(task.network.parameters()))


def test_published_choices() -> None:
    model = PIBD.published(z_dim=8)
    expected = {
        "joint_prototype": "label",
        "club": "joint",
        "experts": "published",
        "duplicates": True,
        "divide": "all",
    }
    expected |= {"noise_at_test": True, "balanced": True, "bag_scaling": "none", "gene_scaling": "minmax"}
    expected |= {"lr": 5e-4, "epochs": 30, "batch_size": 32, "alpha": 0.1, "beta": 0.01, "gamma": 1.0, "lam": 0.1}
    expected |= {"topk_ratio": (0.5, 0.8), "samples": 50, "sub_bag": 512, "max_patches": 4096, "n_bins": 4}
    assert {name: getattr(model, name) for name in expected} == expected
    assert PIBD(8).get_params()["joint_prototype"] == "predicted"
    fitted = PIBD.published(**SMALL).fit(simulated())
    assert np.isfinite(fitted.risk(simulated(5, seed=3))).all()


def test_the_label_reaches_training_only_when_published() -> None:
    """Two labels for the same bags: the common token follows the label as published, and does not otherwise."""
    data = simulated()
    for joint, follows in (("label", True), ("predicted", False)):
        model = small(joint_prototype=joint, epochs=1, layer_dropout=0.0, dropout=0.0, pathway_dropout=0.0).fit(data)
        net = model.task_.network.train()
        bags, counts, genes, has = next(model._parts(model._patients(data)))[1]
        tokens = [
            net(bags, counts, genes, has, torch.full((len(bags),), cell), torch.Generator().manual_seed(0)).common
            for cell in (0, 5)
        ]
        assert torch.equal(*tokens) is not follows


def test_validation_keeps_the_best_epoch() -> None:
    data = simulated(80, seed=2)
    train, held_out = data.subset(slice(60)), data.subset(slice(60, 80))
    model = small(epochs=4, lr=2e-2, club_steps=1).fit(train, validation=held_out)
    assert len(model.validation_) == 5
    best = model.validation_["score"].min()
    from unsnarl.measures.survival import bin_times
    from unsnarl.objectives._hazard import hazard_nll

    bins = torch.from_numpy(bin_times(held_out.time, model.time_edges_))
    logits = model._logits(held_out, None)
    assert hazard_nll(logits, bins, torch.from_numpy(held_out.event)).item() == pytest.approx(best, abs=1e-5)
    assert "best" not in dict(model.task_.named_modules())
    ordered = small(epochs=2, validation_fraction=0.3, monitor="concordance").fit(data)
    assert -1 <= ordered.validation_["score"].min() <= -0.4


def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    data = simulated()
    options: dict[str, Any] = {"checkpoint_every": 3, "log_every": 2}
    whole = small(epochs=3, validation_fraction=0.25).fit(data, run=tmp_path / "whole", **options)

    def kill(step: int, _: Any) -> None:
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(epochs=3, validation_fraction=0.25).fit(data, run=tmp_path / "cut", callbacks=[kill], **options)
    again = small(epochs=3, validation_fraction=0.25).fit(data, run=tmp_path / "cut", **options)
    for (name, a), b in zip(whole.task_.state_dict().items(), again.task_.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert whole.validation_.equals(again.validation_)
    assert np.array_equal(whole.risk(data), again.risk(data))


def test_save_load_and_clone(fitted: PIBD, others: SurvivalData, tmp_path: Path) -> None:
    fitted.save_pretrained(tmp_path)
    loaded = PIBD.from_pretrained(tmp_path)
    assert np.array_equal(loaded.predict_survival(others), fitted.predict_survival(others))
    assert loaded.get_params() == fitted.get_params()
    assert loaded.cells_.equals(fitted.cells_)
    assert repr(loaded.explain(others)[0]) == repr(fitted.explain(others)[0])
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError, match="call fit first"):
        fresh.risk(others)


# ---- predictions --------------------------------------------------------------------------------------------------


def test_curves_fall_and_give_the_risk(fitted: PIBD, others: SurvivalData) -> None:
    curves = fitted.predict_survival(others)
    assert curves.shape == (12, 4)
    assert (np.diff(curves, axis=1) <= 0).all()
    assert curves.min() >= 0
    assert curves.max() <= 1
    assert np.allclose(fitted.risk(others), -curves.sum(1), atol=1e-6)
    assert np.array_equal(fitted.predict(others), fitted.risk(others))
    assert fitted.score(others) == pytest.approx(fitted.score(*arrays(others), others.time, others.event), abs=1e-9)


def test_arrays_and_data_are_the_same(fitted: PIBD, others: SurvivalData) -> None:
    assert np.allclose(fitted.risk(others), fitted.risk(*arrays(others)), atol=1e-6)
    train = simulated()
    by_arrays = small(epochs=1).fit(*arrays(train), train.y)  # scikit-survival's structured array
    by_data = small(epochs=1).fit(train)
    assert np.array_equal(by_arrays.risk(*arrays(others)), by_data.risk(others))
    assert by_data.risk(others.blinded()).shape == (12,)


def test_a_prediction_is_the_patients_own(fitted: PIBD, others: SurvivalData) -> None:
    """Neither the other patients, nor padding, nor the order of patches matter."""
    together = fitted.risk(others)
    alone = np.concatenate([fitted.risk(others.subset([i])) for i in range(12)])
    assert np.allclose(together, alone, atol=1e-5)
    bags, pathways = arrays(others)
    assert np.allclose(fitted.risk([bag[::-1].copy() for bag in bags], pathways), together, atol=1e-5)


def test_large_bags_are_seen_in_parts_that_do_not_depend_on_the_batch() -> None:
    model = small(sub_bag=4, epochs=1, max_patches=6).fit(simulated())
    others = simulated(12, seed=9, patches=(2, 21))
    together = model.risk(others)
    alone = np.concatenate([model.risk(others.subset([i])) for i in range(12)])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.array_equal(model.embed(others)["common"], model.embed(others)["common"])


def test_sub_bags() -> None:
    counts = torch.tensor([3, 9, 0])
    parts = list(sub_bags(counts, 9, 4, order=0))
    assert len(parts) == 2
    for index, mask, _ in parts:
        assert index is not None
        assert mask is not None
        assert mask.sum(1).tolist() == [3, 4, 0]
        assert sorted(index[0][mask[0]].tolist()) == [0, 1, 2]  # a small bag is whole in each
        assert len(set(index[1].tolist())) == 4
        assert index[1].max() < 9
    assert [weight.tolist() for _, _, weight in parts] == [[1, 1, 1], [0, 1, 0]]
    whole = list(sub_bags(torch.tensor([4, 4]), 4, 4))
    assert len(whole) == 1
    assert whole[0][0] is None
    assert whole[0][1] is None


def test_batches_draw_cells_equally_often() -> None:
    data = simulated(100, seed=4)
    reader = Reader.of(data, None, modalities=None, clusters=8)
    patients = reader.read(data, outcome=True)
    bins = (np.arange(100) % 10 == 0).astype(np.int64)  # one in ten in bin 1
    options: dict[str, Any] = {"batch_size": 25, "max_patches": None, "seed": 0}
    balanced = PatientBatches(patients, bins, balanced=True, **options)
    assert balanced.steps_per_epoch == 4
    drawn = torch.cat([balanced.indices(step) for step in range(160)]).numpy()
    cells = np.stack([bins[drawn], patients.event[drawn]])
    _, counts = np.unique(cells, axis=1, return_counts=True)
    assert len(counts) == 4
    assert np.abs(counts / counts.sum() - 0.25).max() < 0.03
    plain = PatientBatches(patients, bins, balanced=False, **options)
    epoch = torch.cat([plain.indices(step) for step in range(4)])
    assert sorted(epoch.tolist()) == list(range(100))
    bags, counts_, genes, has, time_bin, event = plain(2)
    rows = plain.indices(2).tolist()
    assert np.array_equal(bags[3, : counts_[3]].numpy(), data["patches"][rows[3]])
    assert time_bin.tolist() == bins[rows].tolist()
    assert event.tolist() == data.event[rows].tolist()
    assert genes.shape == (25, 12)
    assert has.all()


def test_memory_at_prediction_is_bounded(fitted: PIBD, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unsnarl.systems.multimodal.pibd._survival_learner.INSTANCES", 64)
    data = simulated(200, seed=6)
    patients = fitted._patients(data)
    sizes = [bags.shape[0] * bags.shape[1] for _, (bags, *_) in fitted._parts(patients)]
    assert max(sizes) <= 64
    assert len(sizes) > 15
    seen = np.concatenate([rows for rows, _ in fitted._parts(patients)])
    assert sorted(seen) == list(range(200))


# ---- missing modalities -------------------------------------------------------------------------------------------


def test_a_missing_modality_at_prediction(fitted: PIBD, others: SurvivalData) -> None:
    bags, pathways = arrays(others)
    full = fitted.risk(bags, pathways)
    without_slide, without_genes = fitted.risk(None, pathways), fitted.risk(bags, None)
    assert np.isfinite(without_slide).all()
    assert np.isfinite(without_genes).all()
    assert np.abs(without_slide - full).max() > 1e-4
    some = [None if i < 3 else bag for i, bag in enumerate(bags)]
    holes = {name: table.copy() for name, table in pathways.items()}
    for table in holes.values():
        table[5] = np.nan
    mixed = fitted.risk(some, holes)
    assert np.allclose(mixed[:3], without_slide[:3], atol=1e-5)
    assert np.allclose(mixed[5], without_genes[5], atol=1e-5)
    assert np.allclose(mixed[[3, 4, 6]], full[[3, 4, 6]], atol=1e-5)
    embedded = fitted.embed(None, pathways)["histology"]
    assert np.allclose(embedded, fitted.embed(simulated())["histology"].mean(0), atol=1e-5)  # of the training patients


def test_missing_modalities_in_training() -> None:
    data = simulated(60)
    bags, pathways = arrays(data)
    some = [None if i % 5 == 0 else bag for i, bag in enumerate(bags)]
    for table in pathways.values():
        table[1::5] = np.nan
    model = small(epochs=2).fit(some, pathways, data.time, data.event)
    assert model.facts_["lacking"] == [True, True]
    absent = model.task_.network.absent
    assert absent.abs().min() > 0  # learned from those who lack the modality
    assert np.isfinite(model.risk(some, pathways)).all()
    assert np.isfinite(model.history_.to_numpy()).all()


def test_one_expert_is_handed_through(fitted: PIBD, others: SurvivalData) -> None:
    net = fitted.task_.network
    bags, counts, genes, has = next(fitted._parts(fitted._patients(others)))[1]
    output = net(*fitted.task_.scaler(bags, torch.zeros_like(counts), genes), has)
    assert torch.allclose(output.common, net.genomics.prototypes.means[output.genomics.cell], atol=1e-6)


# ---- a table as the second bag ------------------------------------------------------------------------------------


def clinical(n: int = 60, *, holes: bool = False) -> SurvivalData:
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.normal(60, 10, n), rng.integers(0, 3, n), rng.normal(0, 1, n)])
    if holes:
        table[::7, 0] = np.nan
    genes = rng.standard_normal((n, 9))
    return SurvivalData(
        {"genes": genes, "clinical": table},
        time=rng.exponential(10, n) + 0.1,
        event=rng.random(n) < 0.7,
        columns={"clinical": ["age", "site", "marker"]},
        categories={"clinical": {"site": ["a", "b", "c"]}},
        may_be_missing=("clinical",) if holes else (),
    )


def test_variables_of_a_table_are_the_instances() -> None:
    data = clinical(holes=True)
    model = small(epochs=1, clusters=3).fit(data)
    patients = model._patients(data)
    assert model.facts_["reader"]["modalities"] == ["clinical", "genes"]
    assert len(model.facts_["reader"]["pathways"]) == 3
    assert patients.counts.tolist() == [2 if i % 7 == 0 else 3 for i in range(60)]
    bags, counts, genes, _ = next(model._parts(patients))[1]
    scaled = model.task_.scaler(bags, counts, genes)[0]
    age = scaled[bags[..., 0] == 1][:, 3]  # after the three tags
    assert age.mean().abs() < 1e-5
    assert age.std(correction=0) == pytest.approx(1, abs=1e-4)
    site = scaled[bags[..., 1] == 1]
    assert set(site[:, 4:7].unique().tolist()) == {0.0, 1.0}
    assert (site[:, 3] == 0).all()
    assert np.isfinite(model.risk(data)).all()


def test_clusters_and_scales_come_from_the_training_patients() -> None:
    data = clinical()
    rows = np.arange(40)
    model = small(epochs=1, clusters=3).fit(data.subset(rows))
    other = clinical()
    other.modalities["genes"][40:] *= 100
    other.modalities["clinical"][40:, 0] += 1000
    again = small(epochs=1, clusters=3).fit(other.subset(rows))
    assert again.facts_ == model.facts_
    for a, b in zip(model.task_.state_dict().values(), again.task_.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_validation_patients_stay_out_of_the_scales() -> None:
    model = small(epochs=1, validation_fraction=0.5).fit(simulated())
    whole = small(epochs=1).fit(simulated())
    assert not torch.equal(model.task_.scaler.shift, whole.task_.scaler.shift)
    assert sum(map(sum, model.facts_["cells"])) == 30


def test_gene_scaling_as_published() -> None:
    data = simulated()
    genes = data.modalities["genes"]
    genes[:5, 0] = 0.0
    model = small(epochs=1).fit(data)
    scaled = model.task_.scaler(torch.zeros(60, 1, 6), torch.ones(60, dtype=torch.long), torch.from_numpy(genes))[2]
    assert (scaled[:5, 0] == 0).all()
    assert scaled[:, 1].min() == pytest.approx(-1, abs=1e-5)
    assert scaled[:, 1].max() == pytest.approx(1, abs=1e-5)


# ---- explanations -------------------------------------------------------------------------------------------------


def test_selected_instances_are_the_most_similar(fitted: PIBD, others: SurvivalData) -> None:
    indices, scores = fitted.select_instances(others)
    for i, (index, score) in enumerate(zip(indices, scores, strict=True)):
        n = len(others["patches"][i])
        assert len(set(index.tolist())) == len(index) <= max(1, n // 2)
        assert (np.diff(score) <= 0).all()
        assert np.abs(score).max() <= 1 + 1e-6
        z = fitted.task_.network.histology.encoder(
            fitted.task_.scaler(torch.from_numpy(others["patches"][i])[None], torch.tensor([n]), torch.zeros(1, 12))[0]
        )
        prototypes = fitted.task_.network.histology.prototypes.means
        cosines = torch.cosine_similarity(z[0][:, None], prototypes[None], dim=2).detach().numpy()
        flat = np.sort(cosines.reshape(-1))[::-1][: max(1, n // 2)]
        assert score[0] == pytest.approx(flat[0], abs=1e-5)
        assert set(index.tolist()) == set(np.flatnonzero((cosines >= flat[-1] - 1e-7).any(1)).tolist())
    names, _ = fitted.select_instances(others, modality="genomics")
    assert all(0 < len(n) <= 3 for n in names)


def test_without_duplicates_and_without_selection() -> None:
    data, others = simulated(), simulated(12, seed=9)
    single = small(duplicates=False, epochs=1).fit(data)
    indices, _ = single.select_instances(others)
    assert [len(i) for i in indices] == [max(1, len(b) // 2) for b in others["patches"]]
    everything = small(select=False, epochs=1).fit(data)
    indices, _ = everything.select_instances(others)
    assert [sorted(i.tolist()) for i in indices] == [list(range(len(b))) for b in others["patches"]]
    counted = small(topk_ratio=(2, 3), epochs=1).fit(data)
    assert all(len(i) <= 2 for i in counted.select_instances(others)[0])


def test_explanations(fitted: PIBD, others: SurvivalData) -> None:
    bags, pathways = arrays(others)
    explained = fitted.explain([None if i == 2 else bag for i, bag in enumerate(bags)], pathways)
    assert len(explained) == 12
    for i, e in enumerate(explained):
        modalities = ["genomics"] if i == 2 else ["histology", "genomics"]
        assert list(e.sure) == modalities
        assert sum(e.influence.values()) == pytest.approx(1, abs=1e-5)
        for modality in modalities:
            rows = e.prototypes[e.prototypes["modality"] == modality]
            assert len(rows) == 8
            assert rows["votes"].sum() == pytest.approx(1, abs=1e-5)
            assert rows["votes"].max() == pytest.approx(e.sure[modality], abs=1e-6)
            assert rows["chosen"].sum() == 1
            assert rows["similarity"].abs().max() <= 1 + 1e-6
    risk = fitted.risk(others)
    assert explained[0].risk == pytest.approx(risk[0], abs=1e-5)
    assert explained[0].risk_alone["histology"] == pytest.approx(float(fitted.risk(bags[:1], None)[0]), abs=1e-5)
    assert explained[2].risk_alone["genomics"] == pytest.approx(explained[2].risk, abs=1e-6)
    assert "patient 0: risk" in repr(explained[0])
    assert explained[0].pathways[explained[0].kept["genomics"].indices[0]] in repr(explained[0])
    assert np.array_equal(explained[0].kept["histology"].indices, fitted.select_instances(others)[0][0])
