"""Prob-PSENN from outside: it learns, knows what it has not seen, resumes, saves, explains, and refuses bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from torch import nn

import unsnarl
from unsnarl.errors import CheckpointError, DataError, NotFittedError, OptionError
from unsnarl.systems.prototypes.prob_psenn import ProbPSENN


@pytest.fixture(scope="module")
def digits():
    data = unsnarl.load("digits")
    x, y = data.observations.numpy(), data.factors["digit"].to_numpy()
    known, new = y < 4, y == 9
    return x[known][:500], y[known][:500], x[known][500:], y[known][500:], x[new]


def quick(**options) -> ProbPSENN:
    settings = {
        "z_dim": 6,
        "widths": (64,),
        "batch_size": 50,
        "pretrain_epochs": 12,
        "epochs": 12,
        "test_samples": 40,
        "lr": 4e-3,
        "seed": 1,
    }
    return ProbPSENN(**(settings | options))


@pytest.fixture(scope="module")
def fitted(digits):
    return quick(pretrain_epochs=20, epochs=20).fit(digits[0], digits[1])


def tiny(n: int = 24, classes: int = 2, size: int = 4, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    x = np.clip(rng.random((n, channels, size, size)) * 0.4 + 0.5 * y[:, None, None, None] / classes, 0, 1)
    return x.astype(np.float32), y


def tiny_model(**options) -> ProbPSENN:
    settings = {"z_dim": 2, "widths": (8,), "batch_size": 8, "pretrain_epochs": 2, "epochs": 2, "test_samples": 5}
    return ProbPSENN(**(settings | options))


# ---- learning ---------------------------------------------------------------------------------------------------------


def test_it_learns_digits_and_knows_the_unseen_one(fitted, digits):
    _, _, x, y, new = digits
    assert fitted.score(x, y) > 0.92  # chance is 0.25; these are other writers
    assert (fitted.predict(x, mode=True) == y).mean() > 0.92
    q = fitted.predict_proba(x)
    assert q.shape == (len(x), 4)
    assert q.dtype == np.float32
    np.testing.assert_allclose(q.sum(1), 1, atol=1e-5)
    seen, unseen = fitted.uncertainty(x), fitted.uncertainty(new)
    label = np.repeat([0, 1], [len(x), len(new)])
    for name in ("explanatory_epistemic", "total", "overlap"):
        assert roc_auc_score(label, np.concatenate([seen[name], unseen[name]])) > 0.8, name
    np.testing.assert_allclose(seen["aleatoric"] + seen["epistemic"], seen["total"], atol=1e-9)


@pytest.mark.parametrize(
    "options", [{"family": "diagonal"}, {"family": "mixture"}, {"point": True}, {"variational": False}]
)
def test_all_variants_learn(digits, options):
    x, y, test_x, test_y, _ = digits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = quick(pretrain_epochs=8, epochs=8, **options).fit(x, y)
    assert model.score(test_x, test_y) > 0.85  # chance is 0.25
    assert model.prototype_samples(2, 3).shape == (3, 1, 8, 8)


def test_training_percentiles_are_uniform(fitted, digits):
    x, y, *_ = digits
    right = fitted.predict(x) == y
    far = fitted.uncertainty(x, overlap=False)["explanatory_epistemic"][right]
    np.testing.assert_allclose(np.quantile(far, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.03)
    assert far.min() == 0.0
    assert far.max() < 1.0


def test_percentiles_are_shares_of_nearer_training_distances(fitted, digits):
    x, y, test_x, *_ = digits
    draws = fitted._draws(40)
    with torch.no_grad():
        own = fitted.task_.answers(torch.tensor(2 * x - 1), draws)[0].mean(2).numpy()
        d = fitted.task_.answers(torch.tensor(2 * test_x[:9] - 1), draws)[0].mean(2).numpy()
    found = fitted.uncertainty(test_x[:9], overlap=False)["explanatory_epistemic"]
    k = fitted.predict(test_x[:9])
    expected = [(own[y == c, c] < d[i, c]).mean() for i, c in enumerate(k)]
    np.testing.assert_allclose(found, expected, atol=0.011)  # a rounding may move one of about a hundred across


def test_the_reference_may_be_the_nearest_class(digits):
    x, y, _, _, new = digits
    model = quick(reference="nearest", pretrain_epochs=2, epochs=2, test_samples=20).fit(x, y)
    means = model.task_.answers(torch.tensor(2 * new - 1), model._draws(20))[0].mean(2).detach()
    found = model.uncertainty(new, overlap=False)["explanatory_epistemic"]
    nearest = model.task_.percentile(means.min(1).values, means.argmin(1))
    np.testing.assert_allclose(found, nearest.numpy(), atol=0.02)


def test_prototypes_are_fitted_to_the_codes_of_their_class(digits):
    x, y, *_ = digits
    model = quick(epochs=0, pretrain_epochs=3).fit(x, y)
    codes = model.transform(x)
    for k in range(4):
        np.testing.assert_allclose(model.task_.prototypes.means[k].detach(), codes[y == k].mean(0), atol=1e-4)
        covariance = np.cov(codes[y == k].T)
        np.testing.assert_allclose(
            model.task_.prototypes.covariances()[k].detach(), covariance, atol=1e-3 * covariance.max()
        )
    untouched = quick(epochs=0, pretrain_epochs=3, refit=False).fit(x, y)
    assert not torch.allclose(untouched.task_.prototypes.means, model.task_.prototypes.means, atol=0.1)


def test_only_the_parts_named_are_trained():
    x, y = tiny()
    before = tiny_model(epochs=0).fit(x, y).task_
    after = tiny_model(epochs=2, train=("prototypes",)).fit(x, y).task_
    assert torch.equal(before.votes, after.votes)
    assert torch.equal(before.encoder[1].weight, after.encoder[1].weight)
    assert torch.equal(before.decoder[0].weight, after.decoder[0].weight)
    assert not torch.equal(before.prototypes.locations, after.prototypes.locations)


def test_a_frozen_network_keeps_the_statistics_of_its_batch_norms():
    x, y = tiny(size=16)
    options = {"network": "conv", "widths": (4, 4, 4, 8), "pretrain_epochs": 1}
    before = tiny_model(epochs=0, **options).fit(x, y).task_
    frozen = tiny_model(epochs=1, train=("prototypes", "votes"), **options).fit(x, y).task_
    trained = tiny_model(epochs=1, **options).fit(x, y).task_
    assert torch.equal(before.encoder[1].running_mean, frozen.encoder[1].running_mean)
    assert not torch.equal(before.encoder[1].running_mean, trained.encoder[1].running_mean)


def test_prototypes_and_reference_can_be_set_anew(digits):
    x, y, test_x, test_y, _ = digits
    model = quick(pretrain_epochs=2, epochs=2).fit(x, y)
    model.fit_prototypes(test_x, test_y)
    np.testing.assert_allclose(
        model.task_.prototypes.means[1].detach(), model.transform(test_x[test_y == 1]).mean(0), atol=1e-4
    )
    assert model.task_.distances.shape == (len(test_x),)
    with pytest.raises(OptionError, match="set_reference"):
        model.uncertainty(test_x, n_samples=25)
    model.set_reference(test_x, test_y, n_samples=25)
    far = model.uncertainty(test_x, n_samples=25, overlap=False)["explanatory_epistemic"]
    assert abs(np.median(far) - 0.5) < 0.1
    with pytest.raises(DataError, match="classes that the model was fitted on"):
        model.set_reference(test_x, test_y + 1)


def test_validation_data_are_held_out(digits):
    x, y, *_ = digits
    model = quick(validation_split=0.2, pretrain_epochs=6, epochs=6).fit(x, y)
    assert model.task_.distances.shape == (sum(np.bincount(y) - (np.bincount(y) * 0.2).astype(int)),)
    assert model.validation_score_ > 0.8


def test_a_vote_against_its_own_class_is_reported(digits):
    x, y, *_ = digits
    model = quick(pretrain_epochs=1, epochs=1).fit(x, y)
    assert (np.diag(model.vote_table()) < 0).all()
    with torch.no_grad():
        model.task_.votes[2, 2] = 0.3
    with pytest.warns(UserWarning, match="prototype of class 2 came to vote against its own class"):
        model._warn_of_votes()
    with torch.no_grad():
        model.task_.votes[2, 2] = 300.0
    assert any("votes against its own class" in line for line in model.explain(x[0]).words)


# ---- the same numbers again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["full", "mixture"])
def test_a_run_that_stopped_goes_on_to_the_same_bits(tmp_path, family):
    x, y = tiny(classes=3)
    options = {"run": tmp_path / "run", "checkpoint_every": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        whole = tiny_model(family=family).fit(x, y)

        class Stop(Exception):
            pass

        for last in (2, 9):  # within the first stage, then within the second

            def stop(step, _, last=last):
                if step == last:
                    raise Stop

            with pytest.raises(Stop):
                tiny_model(family=family).fit(x, y, callbacks=[stop], **options)
        resumed = tiny_model(family=family).fit(x, y, **options)
    for name, value in whole.task_.state_dict().items():
        assert torch.equal(value, resumed.task_.state_dict()[name]), name
    np.testing.assert_array_equal(whole.predict_proba(x), resumed.predict_proba(x))


def test_callbacks_count_over_both_stages():
    x, y = tiny()
    seen = []
    model = tiny_model().fit(x, y, callbacks=[lambda step, _: seen.append(step)], log_every=1)
    assert seen == list(range(13))
    assert model.history_["step"].tolist() == list(range(1, 13))


def test_saved_and_loaded_it_answers_alike(tmp_path, fitted, digits):
    x = digits[2][:30]
    fitted.save_pretrained(tmp_path / "model")
    again = ProbPSENN.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(fitted.predict_proba(x), again.predict_proba(x))
    one, other = fitted.uncertainty(x), again.uncertainty(x)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    assert torch.equal(fitted.prototype_samples(1, 2), again.prototype_samples(1, 2))
    assert again.classes_.tolist() == [0, 1, 2, 3]
    assert again.get_params() == fitted.get_params()


def test_own_networks_are_trained_as_copies_and_loaded_with_their_architecture(tmp_path):
    x, y = tiny()
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    decoder = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Unflatten(1, (1, 4, 4)))
    first = encoder[1].weight.clone()
    model = ProbPSENN(encoder, decoder, z_dim=2, batch_size=8, pretrain_epochs=2, epochs=2, test_samples=5).fit(x, y)
    assert torch.equal(encoder[1].weight, first)
    assert not torch.equal(model.task_.encoder[1].weight, first)
    model.save_pretrained(tmp_path / "own")
    with pytest.raises(CheckpointError, match="its own encoder"):
        ProbPSENN.from_pretrained(tmp_path / "own")
    again = ProbPSENN.from_pretrained(tmp_path / "own", encoder=encoder, decoder=decoder)
    np.testing.assert_array_equal(model.predict_proba(x), again.predict_proba(x))
    assert clone(model).encoder is not encoder


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        (nn.Flatten(), None, "both encoder= and decoder="),
        (nn.Flatten(), nn.Linear(2, 16), "must give"),
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), nn.Linear(2, 16), "decoder must give images"),
        (nn.Linear(9, 4), nn.Linear(2, 16), "cannot take one image"),
        (lambda x: x, nn.Linear(2, 16), "torch.nn.Module"),
    ],
)
def test_networks_that_do_not_fit_are_refused(encoder, decoder, message):
    x, y = tiny()
    model = ProbPSENN(z_dim=2)
    model.encoder, model.decoder = encoder, decoder  # past the check of types that runs in tests
    with pytest.raises(OptionError, match=message):
        model.fit(x, y)


# ---- images and labels ------------------------------------------------------------------------------------------------


def test_convolutional_networks_take_colour_images_of_another_size():
    x, y = tiny(size=20, channels=3)
    bytes_ = (255 * x).astype(np.uint8)
    model = tiny_model(network="auto", widths=(4, 4, 4, 8), pretrain_epochs=1, epochs=1).fit(bytes_, y)
    assert model.task_.augmented
    assert isinstance(model.task_.encoder[0], nn.Conv2d)
    assert model.prototype_samples(0, 2).shape == (2, 3, 20, 20)
    np.testing.assert_allclose(model.transform(bytes_), model.transform(bytes_ / np.float32(255)), atol=1e-5)


def test_images_come_back_in_the_range_they_came_in():
    x, y = tiny()
    plain = tiny_model().fit(x, y)
    scaled = tiny_model(pixel_range=(-1, 1)).fit(2 * x - 1, y)
    np.testing.assert_allclose(scaled.transform(2 * x - 1), plain.transform(x), atol=1e-5)
    np.testing.assert_allclose(scaled.decode(np.zeros((1, 2))), 2 * plain.decode(np.zeros((1, 2))) - 1, atol=1e-5)
    assert plain.decode(np.zeros((3, 2))).min() >= 0


def test_labels_may_be_names_and_data_sets_may_name_them():
    x, y = tiny()
    names = np.array(["ant", "bee"])[y]
    model = tiny_model().fit(x, names)
    assert model.classes_.tolist() == ["ant", "bee"]
    assert set(model.predict(x)) <= {"ant", "bee"}
    assert model.vote_table().columns.tolist() == ["ant", "bee"]
    data = unsnarl.FactorDataset(x, {"animal": names, "day": np.arange(len(x)) % 3})
    again = tiny_model().fit(data, "animal")
    np.testing.assert_array_equal(again.predict_proba(data), model.predict_proba(x))
    assert again.score(data, "animal") == model.score(x, names)
    with pytest.raises(OptionError, match="'cat' is not a class"):
        model.prototype_samples("cat")
    with pytest.raises(DataError, match="names a factor"):
        tiny_model().fit(data, "plant")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [1, 2] * 12}, "integers 0 to 1"),
        ({"y": [0] * 24}, "integers 0 to 1"),
        ({"y": [0, 1] * 11}, "one row an observation"),
        ({"y": [0.5, 1] * 12}, "fractions"),
        ({"y": None}, "y is missing"),
        ({"x": np.full((24, 1, 4, 4), 1.5, np.float32)}, "outside pixel_range"),
        ({"x": -np.ones((24, 1, 4, 4), np.float32)}, "tanh"),
        ({"x": np.full((24, 1, 4, 4), np.nan, np.float32)}, "finite"),
        ({"x": np.zeros((24, 16), np.float32)}, "reshape"),
        ({"x": np.zeros((24, 2, 4, 4), np.float32)}, "1 or 3 channels"),
    ],
)
def test_bad_data_are_refused(change, message):
    x, y = tiny()
    with pytest.raises(DataError, match=message):
        tiny_model(n_classes=2).fit(change.get("x", x), change.get("y", y))


@pytest.mark.parametrize(
    "options",
    [
        {"family": "round"},
        {"z_dim": 0},
        {"nll_weight": 0.0},
        {"r2_weight": -1.0},
        {"train": ()},
        {"train": ("encoder", "hat")},
        {"train": "encoder"},
        {"pixel_range": (1, 0)},
        {"test_samples": 1},
        {"batch_size": 1},
        {"n_classes": 1},
        {"reference": "far"},
        {"validation_split": 0.95},
        {"network": "conv", "widths": (3,)},
    ],
)
def test_options_outside_their_range_are_refused(options):
    x, y = tiny()
    with pytest.raises(OptionError, match=next(iter(options)) if "network" not in options else "widths"):
        tiny_model(**options).fit(x, y)


def test_one_draw_cannot_disagree(fitted, digits):
    with pytest.raises(OptionError, match="n_samples=1"):
        fitted.uncertainty(digits[2], n_samples=1)
    assert fitted.predict_proba(digits[2][:3], n_samples=1).shape == (3, 4)


def test_a_class_with_few_samples_is_shrunk_with_a_warning():
    x, y = tiny(n=24)
    y = np.where(np.arange(24) < 2, 1, 0)
    with pytest.warns(UserWarning, match="class 1 has 2 samples"):
        model = tiny_model(z_dim=4).fit(x, y)
    assert np.isfinite(model.uncertainty(x)["total"]).all()


def test_distances_that_do_not_vary_have_no_overlap(digits):
    x, y, *_ = digits
    model = quick(family="diagonal", pretrain_epochs=1, epochs=1).fit(x, y)
    with torch.no_grad():
        model.task_.prototypes.raw_diagonal.fill_(-200.0)
    with pytest.raises(DataError, match="constant sample"):
        model.uncertainty(x[:2])
    assert np.allclose(model.uncertainty(x[:2], overlap=False)["epistemic"], 0, atol=1e-6)


def test_before_fit_and_other_shapes(fitted):
    with pytest.raises(NotFittedError):
        ProbPSENN().predict(np.zeros((1, 8, 8)))
    with pytest.raises(DataError, match="fitted on"):
        fitted.predict(np.zeros((2, 1, 9, 9), np.float32))
    with pytest.raises(DataError, match="codes must have shape"):
        fitted.decode(np.zeros((2, 5)))


# ---- explanations -----------------------------------------------------------------------------------------------------


def test_an_explanation_adds_up(fitted, digits):
    x = digits[2]
    found = fitted.explain(x[7], n_images=5)
    q = fitted.predict_proba(x[7:8])[0]
    assert found.prediction == int(q.argmax())
    assert found.probabilities[found.prediction] == pytest.approx(float(q.max()), abs=1e-6)
    np.testing.assert_allclose(list(found.probabilities.values()), np.sort(q)[::-1], atol=1e-6)
    w = fitted.vote_table()
    distance = found.votes["distance"]
    np.testing.assert_allclose(found.votes["for prediction"], w[found.prediction] * distance, rtol=1e-5)
    lead = (w[found.prediction] - w[found.rival[0]]) * distance
    np.testing.assert_allclose(found.votes["margin"], lead, rtol=1e-4, atol=1e-5)
    alone = fitted.uncertainty(x[7:8])
    assert found.uncertainty == {name: pytest.approx(float(v[0])) for name, v in alone.items()}
    assert found.samples.shape == (5, 1, 8, 8)
    assert found.image.shape == (1, 8, 8)
    code = fitted.transform(x[7:8])[0]
    k = found.prediction
    draws = fitted._draws(40)[:, k].numpy()
    nearest = ((draws - code) ** 2).sum(1)
    assert found.distances["closest"] == pytest.approx(nearest.min(), rel=1e-4)
    expected = fitted.decode(draws[[nearest.argmin()]])[0]
    torch.testing.assert_close(found.prototypes["closest"], expected, atol=1e-5, rtol=1e-4)
    page = found.to_page()
    assert page["prediction"] == str(k)
    assert page["words"] == found.words
    assert [shown["name"] for shown in page["prototypes"]] == [
        "mean prototype",
        "closest prototype",
        "closest prototype of the runner-up",
    ]


def test_words_warn_of_what_no_prototype_explains(fitted, digits):
    far = fitted.uncertainty(digits[4], overlap=False)["explanatory_epistemic"]
    assert (far > 0.95).mean() > 0.3  # of digits never seen, where 5% of seen ones would be
    for row, warned in ((far.argmax(), True), (far.argmin(), False)):
        words = fitted.explain(digits[4][row]).words
        assert any("Do not trust the explanation" in line for line in words) is warned
    with pytest.raises(DataError, match="one image"):
        fitted.explain(np.zeros((2, 1, 8, 8), np.float32))


def test_a_point_explains_by_one_picture():
    x, y = tiny()
    model = tiny_model(point=True).fit(x, y)
    found = model.explain(x[0])
    assert "overlap" not in found.uncertainty
    assert found.uncertainty["epistemic"] == 0
    assert np.isnan(model.uncertainty(x)["overlap"]).all()
    assert torch.equal(found.prototypes["mean"], found.prototypes["closest"])
    assert len(found.to_page()["prototypes"]) == 2
    np.testing.assert_array_equal(model.predict_proba(x), model.predict_proba(x, mode=True))
