import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from unsnarl.data import FactorTable
from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.information import column_entropies, pairwise_mutual_information
from unsnarl.measures._gap import mutual_information_gap
from unsnarl.measures._irs import irs
from unsnarl.measures._measure import measure
from unsnarl.measures._measure_report import MeasureReport
from unsnarl.measures._measure_table import MEASURES, measure_names
from unsnarl.measures._scores import Score, Scores

QUICK = ["mig", "irs", "sap"]


def known(n=600, seed=0):
    """Latent 0 = size, 1 and 2 = noisy copies of hue, 3 mixes shape and pose, 4 is noise, 5 constant; "side" is nowhere."""
    rng = np.random.default_rng(seed)
    factors = pd.DataFrame(rng.integers(0, 4, size=(n, 5)), columns=["size", "hue", "shape", "pose", "side"])
    z = rng.normal(size=(n, 6))
    z[:, 0] = factors["size"] + 0.05 * z[:, 0]
    z[:, 1] = factors["hue"] + 0.3 * z[:, 1]
    z[:, 2] = factors["hue"] + 0.3 * z[:, 2]
    z[:, 3] = 4 * factors["shape"] + factors["pose"] + 0.05 * z[:, 3]
    z[:, 5] = 2.5
    return z, factors


@pytest.fixture(scope="module")
def everything() -> MeasureReport:
    z, factors = known()
    return measure(z, factors, baseline=True, latent_names=None)


def test_all_measures_run_and_the_finding_is_true(everything):
    assert list(everything.scores) == list(MEASURES)
    assert everything.skipped == {}
    assert everything.finding == [
        f"Latent 0 carries size alone (NMI {everything.nmi[0, 0]:.2f}).",
        f"Hue is spread over latents 1 and 2 (NMI up to {everything.nmi[:, 1].max():.2f}).",
        "Latent 3 mixes shape and pose.",
        "No single latent carries side.",
        "Latent 5 is constant.",
        "Latent 4 carries none of the factors.",
    ]
    assert everything.n == 600
    assert everything.factor_names == ["size", "hue", "shape", "pose", "side"]
    assert set(everything.kinds.values()) == {"discrete"}
    assert set(everything.timings) == {*MEASURES, "finding"}


def test_scores_are_those_of_the_functions(everything):
    z, factors = known()
    assert everything["mig"] == mutual_information_gap(z, factors)
    assert everything.scores["irs"] == irs(z, factors)
    assert everything["infomec"].modularity == everything.scores["infomec"]["modularity"]
    with pytest.raises(UnknownNameError, match="unknown measure 'dsi'; did you mean 'dci'"):
        everything["dsi"]


def test_every_number_is_in_the_table_with_its_meaning(everything):
    table = everything.table()
    assert table.columns.tolist() == [
        "measure", "score", "value", "low", "high", "chance", "range", "meaning", "skipped",
    ]  # fmt: skip
    assert (table.skipped == "").all()
    assert (table.meaning.str.len() > 20).all()
    unbounded = table.measure.isin(["dimensionality", "diffusion_spectral", "lossy_information"])
    assert table.range[~unbounded].isin(["0 to 1", "up to 1"]).all()
    assert table.range[unbounded].isin(["0 and up", "1 and up"]).all()
    assert set(table.measure) == set(MEASURES)
    for name, row in MEASURES.items():
        kinds = [score.partition(":")[0] for score in table[table.measure == name].score]
        assert list(dict.fromkeys(kinds)) == list(row.numbers)
    assert (table.value[~unbounded] <= 1 + 1e-9).all()
    assert table.low.isna().all()
    assert table.chance.notna().all()


def test_shuffled_codes_score_by_chance(everything):
    chance = everything.table().set_index(["measure", "score"]).chance
    assert chance["factor_vae_score", "factor_vae"] < 0.4
    assert chance["mutual_information_gap", "mig"] < 0.05
    assert abs(chance["modularity_explicitness", "explicitness"] - 0.5) < 0.06
    value = everything.table().set_index(["measure", "score"]).value
    assert (value["dci", "disentanglement"] - chance["dci", "disentanglement"]) > 0.2


def test_matrices_are_latents_by_factors_with_names(everything):
    matrices = everything.matrices()
    assert next(iter(matrices)) == "nmi"
    for name, frame in matrices.items():
        assert frame.shape == (6, 5), name
        assert frame.columns.tolist() == everything.factor_names
        assert frame.index.tolist() == [f"latent {j}" for j in range(6)]
    assert matrices["dci: importance"].loc["latent 0"].idxmax() == "size"
    assert matrices["mutual_information_gap"].loc["latent 0"].idxmax() == "size"
    assert "infomec: nmi" not in matrices  # the same as the first


def test_nmi_agrees_with_the_estimator(everything):
    z, factors = known()
    labels = factors.to_numpy()
    expected = pairwise_mutual_information(z[:, :5], labels, estimator="ross", n_neighbors=10, clip=True)
    np.testing.assert_allclose(everything.nmi[:5], expected / column_entropies(labels), rtol=1e-6)
    assert (everything.nmi[5] == 0).all()
    np.testing.assert_allclose(np.asarray(everything["infomec"].nmi).T, everything.nmi, rtol=1e-6)


def test_json(everything):
    again = json.loads(everything.to_json())
    assert again["n"] == 600
    assert again["scores"]["mutual_information_gap"]["mig"]["value"] == pytest.approx(float(everything["mig"]))
    assert again["factors"]["hue"] == "discrete"
    assert np.array(again["matrices"]["nmi"]).shape == (6, 5)
    assert again["types"] is None
    assert again["settings"]["seed"] == 0
    assert again["finding"] == everything.finding


def test_text(everything):
    text = repr(everything)
    assert text.startswith("MeasureReport: 600 observations, 6 latents, 5 factors\n  Latent 0 carries size alone")
    assert f"  irs: irs={float(everything['irs']):.3f}\n" in text + "\n"


def test_the_report_room_reads_it(everything):
    """The HTML report relies on table, matrices, finding and skipped."""
    for name in ("table", "matrices", "to_dict"):
        assert callable(getattr(everything, name))
    assert all(isinstance(line, str) for line in everything.finding)


def test_continuous_factors_skip_with_the_reason():
    rng = np.random.default_rng(0)
    angle = rng.random(400) * 6
    z = np.stack([angle + 0.01 * rng.normal(size=400), rng.normal(size=400)], axis=1)
    report = measure(z, {"angle": angle, "sort": rng.integers(3, size=400)})
    assert sorted(report.scores) == ["dci", "diffusion_spectral", "dimensionality", "irs", "lossy_information", "sap"]
    for name in ("infomec", "mutual_information_gap", "modularity_explicitness", "beta_vae_score", "factor_vae_score"):
        assert "discrete factors only, but 'angle' is continuous" in report.skipped[name]
        assert "factor_bins" in report.skipped[name]
    assert report.finding[0].startswith("Latent 0 carries angle alone (NMI ")
    table = report.table()
    assert table[table.measure == "infomec"].skipped.item() == report.skipped["infomec"]
    assert table[table.measure == "infomec"].value.isna().all()
    with pytest.raises(DataError, match="infomec was skipped: InfoMEC is defined for discrete factors only"):
        report["infomec"]
    binned = measure(z, {"angle": angle, "sort": rng.integers(3, size=400)}, factor_bins=5, names=["mig", "infomec"])
    assert binned.skipped == {}
    assert binned.scores["mutual_information_gap"] > 0.3
    one = measure(z, {"angle": angle}, names=["beta_vae"])
    assert "at least two factors" in one.skipped["beta_vae_score"]
    assert one.finding[0].startswith("Latent 0 carries angle alone")


def test_a_measure_that_breaks_does_not_stop_the_others(monkeypatch):
    from unsnarl.measures import _irs

    def broken(*_, **__):
        raise np.linalg.LinAlgError("singular matrix")

    monkeypatch.setattr(_irs, "irs", broken)
    z, factors = known(200)
    report = measure(z, factors, names=["irs", "mig"])
    assert report.skipped == {"irs": "it stopped with LinAlgError: singular matrix"}
    assert list(report.scores) == ["mutual_information_gap"]
    assert "irs: skipped, it stopped with LinAlgError" in repr(report)


def test_warnings_are_kept_not_shown():
    factors = np.random.default_rng(0).integers(3, size=(200, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = measure(factors[:, :1] + 0.5, factors, names=["mig", "sap"])
    assert report.warnings["mutual_information_gap"] == [
        "the mutual information gap is nan: it compares latents, and there is one only"
    ]
    assert math.isnan(report["mig"])
    assert "see .warnings" in repr(report)
    assert json.loads(report.to_json())["scores"]["mutual_information_gap"]["mig"]["value"] is None


def test_intervals_come_from_bootstrap():
    z, factors = known(300)
    report = measure(z, factors, names=QUICK, bootstrap=10)
    table = report.table()
    assert (table.low <= table.value).all()
    assert (table.value <= table.high).all()
    assert json.loads(report.to_json())["scores"]["sap"]["sap"]["interval"] == [table.low[2], table.high[2]]


def test_logvar_adds_the_active_variables():
    rng = np.random.default_rng(0)
    z, factors = known(500)
    feature = np.sin(factors["side"].to_numpy() + z[:, 4])[:, None]
    mu = np.hstack([z[:, :5], 0.02 * feature + 0.001 * rng.normal(size=(500, 3))])
    logvar = np.log(np.full((500, 8), [0.01] * 5 + [0.98] * 3))
    report = measure(mu, factors, names=["mig"], logvar=logvar, baseline=True)
    active = report.scores["active_variables"]
    assert (active.active, active.mixed, active.passive) == (5, 0, 3)
    assert active.share_removed > 0.9
    assert report.types is not None
    assert report.types.passive.tolist() == [5, 6, 7]
    assert "Latents 5, 6 and 7 are passive." in report.finding
    assert "active_variables" not in report.baseline
    rows = report.table()
    assert (rows[rows.measure == "active_variables"].meaning != "").all()
    assert json.loads(report.to_json())["types"]["passive"] == [5, 6, 7]
    wrong = measure(mu, factors, names=["mig"], logvar=np.exp(logvar))
    assert "as standard deviations or variances do" in wrong.skipped["active_variables"]
    with pytest.raises(DataError, match=r"logvar must have the shape of codes, \(500, 8\), got \(500, 7\)"):
        measure(mu, factors, logvar=logvar[:, 1:])


def test_missing_values_and_single_valued_factors_are_left_out_and_said():
    z, factors = known(300)
    factors = factors.assign(still=1).astype(object)
    factors.loc[[3, 77], "hue"] = None
    report = measure(z, factors, names=["mig"])
    assert report.n == 298
    assert report.finding[-2:] == [
        "2 of 300 observations with a missing factor value were left out.",
        "Left out: still, with one value only.",
    ]
    assert report.factor_names == ["size", "hue", "shape", "pose", "side"]
    keep = np.setdiff1d(np.arange(300), [3, 77])
    clean, names = z[keep], ["size", "hue", "shape", "pose", "side"]
    assert report["mig"] == mutual_information_gap(clean, known(300)[1].iloc[keep][names])


def test_identifiers_are_left_out_and_lumps_are_cut():
    z, factors = known(200)
    lump = np.where(np.arange(200) % 25 == 0, z[:, 4] ** 2 + 1, 0.0)  # 96% zeros: no quantile tells the others apart
    factors = factors[["size"]].assign(id=[f"row {i}" for i in range(200)], lump=lump)
    report = measure(z, factors, names=["irs"], kinds={"lump": "continuous"})
    assert report.factor_names == ["size", "lump"]
    assert report.finding[-1] == "Left out: id, with another category in every row."
    assert list(report.scores) == ["irs"]
    with pytest.raises(DataError, match="of any factor: id, with another category in every row"):
        measure(z, factors[["id"]])


def test_tiny_input_does_not_stop_the_report():
    report = measure(np.arange(8.0).reshape(4, 2), [0, 0, 1, 1])
    assert report.n == 4
    assert report.finding
    assert set(report.scores) | set(report.skipped) == set(MEASURES)


def test_a_level_that_only_missing_rows_have_is_gone():
    z, factors = known(200)
    factors = factors.astype(float)
    factors.loc[0, ["size", "hue"]] = [9.0, np.nan]
    report = measure(z, factors, names=["factor_vae"], kinds="discrete")
    assert report.skipped == {}


def test_names_of_latents():
    z, factors = known(200)
    frame = pd.DataFrame(z, columns=[f"pc{j}" for j in range(6)])
    assert measure(frame, factors, names=["mig"]).finding[0].startswith("pc0 carries size alone")
    assert measure(pd.DataFrame(z), factors, names=["mig"]).latent_names[0] == "latent 0"
    named = measure(
        torch.tensor(z), factors.to_numpy(), names=["mig"], latent_names=list("abcdef"), factor_names=list("vwxyz")
    )
    assert named.matrices()["nmi"].loc["a"].idxmax() == "v"
    with pytest.raises(DataError, match="latent_names has 2 entries for 6 latents"):
        measure(z, factors, latent_names=["a", "b"])


def test_discrete_codes():
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(400, 2))
    values = np.array([-0.5, 0.1, 0.2, 0.9])[factors]  # quantised values: categories in floats
    by_value = measure(values, factors, names=["infomec", "mig"], discrete=True)
    by_index = measure(factors, factors, names=["infomec", "mig"])
    assert by_value["infomec"].modularity == pytest.approx(by_index["infomec"].modularity)
    assert by_value["mig"] == pytest.approx(by_index["mig"])
    np.testing.assert_allclose(by_value.nmi, by_index.nmi)
    assert by_index.nmi[0, 0] == pytest.approx(1.0)
    as_quantities = measure(factors, factors, names=["infomec"], discrete=False)
    assert as_quantities["infomec"].discrete is False


def test_embeddings_of_many_dimensions_give_short_sentences():
    rng = np.random.default_rng(0)
    factors = rng.integers(3, size=(500, 2))
    z = rng.normal(size=(500, 120))
    z[:, :20] += 1.2 * factors[:, :1]
    report = measure(z, pd.DataFrame(factors, columns=["topic", "tone"]), names=["irs"])
    assert report.finding[0].startswith("Topic is spread over ")
    assert " of 120 latents, the strongest being latent " in report.finding[0]
    assert report.finding[1] == "No single latent carries tone."
    assert sum(map(len, report.finding)) < 400


def test_an_exclusive_or_is_not_called_absent():
    rng = np.random.default_rng(0)
    bits = rng.integers(2, size=(500, 2))
    report = measure(bits + 0.0, {"parity": bits.sum(axis=1) % 2}, names=["irs"])
    assert report.finding == ["No single latent carries parity."]


def test_noise_is_rarely_said_to_carry_anything():
    wrong = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        report = measure(rng.normal(size=(150, 4)), rng.integers(4, size=(150, 2)), names=["irs"])
        wrong += report.finding != ["No single latent carries any of the factors."]
    assert wrong <= 2


def test_progress_ends_at_the_total():
    z, factors = known(200)
    told = []
    measure(z, factors, names=["mig", "dci"], baseline=True, progress=lambda *a: told.append(a))
    assert told[0] == ("mutual_information_gap", 0.0, 5)
    assert told[-1] == ("done", 5.0, 5)
    done = [d for _, d, _ in told]
    assert done == sorted(done)
    assert any(name == "dci" and 0 < d % 1 < 1 for name, d, _ in told)
    assert [name for name, _, _ in told if name == "finding"] == ["finding"]


def test_same_seed_same_report():
    z, factors = known(150)
    one, other = (measure(z, factors, names=["factor_vae", "dci"], seed=4, baseline=True) for _ in range(2))
    assert one.table().equals(other.table())
    assert (one.nmi == other.nmi).all()
    assert (one.chance == other.chance).all()


def test_a_factor_table_and_kinds():
    z, factors = known(200)
    table = FactorTable.of(factors, kinds={"hue": "continuous"})
    assert "'hue' is continuous" in measure(z, table, names=["mig"]).skipped["mutual_information_gap"]
    assert measure(z, factors, kinds={"hue": "continuous"}, names=["mig"]).kinds["hue"] == "continuous"


def test_measure_names():
    assert measure_names() == list(MEASURES)
    assert measure_names("mig") == ["mutual_information_gap"]
    assert measure_names(["mig", "mutual_information_gap", "dci"]) == ["mutual_information_gap", "dci"]
    with pytest.raises(UnknownNameError, match="unknown measure 'infomce'; did you mean 'infomec'"):
        measure_names(["infomce"])


def test_the_numbers_known_beforehand_are_those_that_come_back(everything):
    for name, scores in everything.scores.items():
        assert isinstance(scores, Score | Scores)
        names = list(scores) if isinstance(scores, Scores) else [scores.name]
        assert list(dict.fromkeys(n.partition(":")[0] for n in names)) == list(MEASURES[name].numbers)


def test_bad_input():
    z, factors = known(100)
    with pytest.raises(DataError, match="codes has 1 value that is not finite"):
        measure(np.where(np.arange(600).reshape(100, 6) == 5, np.nan, z), factors)
    with pytest.raises(DataError, match="codes has 100, factors has 99"):
        measure(z, factors[:99])
    with pytest.raises(DataError, match="codes must be 2-D"):
        measure(z[:, 0], factors)
    with pytest.raises(DataError, match="nothing can be measured of any factor: factor 0, with one value only"):
        measure(z, np.ones((100, 1)))
    with pytest.raises(DataError, match="every row has a missing factor value"):
        measure(z, pd.DataFrame({"a": [1.0] + [np.nan] * 99, "b": [np.nan] + [1.0] * 99}))
    with pytest.raises(OptionError, match="bootstrap=-1 must be an integer at least 0"):
        measure(z, factors, bootstrap=-1)
    with pytest.raises(OptionError, match="factor_bins=1 must be an integer at least 2"):
        measure(z, factors, factor_bins=1)
    with pytest.raises(UnknownNameError, match="unknown measure 'mag'"):
        measure(z, factors, names=["mag"])
