"""ITHPRegressor: learning from dictionaries of modalities, predicting from the prime one, explaining, saving, refusing."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from unsnarl.errors import CheckpointError, DataError, NotFittedError, OptionError
from unsnarl.systems.multimodal._concat_fusion import ConcatFusionRegressor, PrimeOnlyRegressor
from unsnarl.systems.multimodal.ithp import ITHPRegressor

SMALL = {
    "bottleneck_dims": (8, 4),
    "hidden": 16,
    "lr": 1e-2,
    "batch_size": 32,
    "fusion_dropout": 0.1,
    "initializer_range": None,
}
EAGER = {"beta": 100.0, "gamma": 100.0, "lam": 1.0, "output_dropout": 0.0}  # foretelling matters


def planted(n, seed=0):
    """Tokens that say a label through noise; a voice that echoes it, with a speaker in it; a face that echoes it."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    y = rng.normal(size=n).astype(np.float32)
    speaker = rng.integers(4, size=n)
    length = rng.integers(2, 7, size=n)
    mask = np.arange(6) < length[:, None]
    text = rng.normal(size=(n, 6, 16)) + y[:, None, None] * fixed.normal(size=16) / 2
    audio = 2 * y[:, None, None] * fixed.normal(size=5) + 2 * fixed.normal(size=(4, 5))[speaker][:, None]
    audio = audio + rng.normal(size=(n, 6, 5))
    vision = 2 * y[:, None, None] * fixed.normal(size=3) + rng.normal(size=(n, 6, 3))
    x = {"text": text, "audio": audio, "vision": vision}
    x = {k: (v * mask[:, :, None]).astype(np.float32) for k, v in x.items()} | {"mask": mask}
    return x, y, speaker


X, Y, SPEAKER = planted(200)
X_TEST, Y_TEST, SPEAKER_TEST = planted(150, seed=1)


@pytest.fixture(scope="module")
def fitted():
    return ITHPRegressor(None, **SMALL, **EAGER).fit(X, Y, steps=250)


# ---- learning and predicting ---------------------------------------------------------------------------------------


def test_it_learns(fitted):
    assert fitted.score(X_TEST, Y_TEST) > 0.6  # predicting the mean has 0
    first = ITHPRegressor(None, **SMALL).fit(X, Y, steps=1).score(X_TEST, Y_TEST)
    assert first < 0.1
    words = fitted.task_.scaler.words(1, torch.tensor(X_TEST["vision"]))[torch.tensor(X_TEST["mask"])]
    foretold = fitted.explain(X_TEST).distortion["vision"].mean()
    assert foretold < 0.9 * words.var(0).mean()  # what foretelling the mean would leave
    assert {"loss", "task", "bottleneck", "rate 0", "distortion 0", "rate 1", "distortion 1"} <= set(fitted.history_)


def test_predictions_come_from_the_prime_modality_alone(fitted):
    text, mask = X_TEST["text"], X_TEST["mask"]
    alone = fitted.predict(text=text, mask=mask)
    noise = {**X_TEST, "audio": np.full_like(X_TEST["audio"], 7), "vision": X_TEST["vision"][::-1]}
    np.testing.assert_array_equal(alone, fitted.predict(X_TEST))
    np.testing.assert_array_equal(alone, fitted.predict(noise))
    np.testing.assert_array_equal(fitted.transform(text=text, mask=mask), fitted.transform(noise))
    with pytest.raises(DataError, match="the prime modality 'text' is missing"):
        fitted.predict(audio=X_TEST["audio"])


def test_pads_do_not_count(fitted):
    changed = dict(X_TEST)
    changed["text"] = np.where(X_TEST["mask"][:, :, None], X_TEST["text"], np.float32(50))
    np.testing.assert_allclose(fitted.predict(changed), fitted.predict(X_TEST), atol=1e-6)
    lists = [row[m] for row, m in zip(X_TEST["text"], X_TEST["mask"], strict=True)]
    np.testing.assert_allclose(fitted.predict(text=lists), fitted.predict(X_TEST), atol=1e-5)
    ragged = {k: [row[m] for row, m in zip(X[k], X["mask"], strict=True)] for k in ("text", "audio", "vision")}
    again = [ITHPRegressor(None, **SMALL).fit(x, Y, steps=10).predict(X_TEST) for x in (ragged, X)]
    np.testing.assert_allclose(*again, atol=1e-5)


def test_the_voice_of_the_speaker_is_left_behind(fitted):
    from sklearn.linear_model import LogisticRegression

    def accuracy(train, test):
        probe = LogisticRegression(max_iter=2000).fit((train - train.mean(0)) / train.std(0), SPEAKER)
        return probe.score((test - train.mean(0)) / train.std(0), SPEAKER_TEST)

    def mean(x):
        return x["audio"].sum(1) / x["mask"].sum(1, keepdims=True)

    assert accuracy(mean(X), mean(X_TEST)) > 0.6  # it is there to be heard
    assert accuracy(fitted.transform(X), fitted.transform(X_TEST)) < 0.4  # chance is 0.25
    concat = ConcatFusionRegressor(None, **{**SMALL, "bottleneck_dims": (16,)}).fit(X, Y, steps=5)
    assert accuracy(concat.transform(X), concat.transform(X_TEST)) > 0.5


def test_sampling_is_off_unless_asked_for(fitted):
    np.testing.assert_array_equal(fitted.predict(X_TEST), fitted.predict(X_TEST))
    drawn = fitted.predict(X_TEST, sample=True)
    np.testing.assert_array_equal(drawn, fitted.predict(X_TEST, sample=True))
    assert np.abs(drawn - fitted.predict(X_TEST)).max() > 1e-3
    assert np.abs(fitted.transform(X_TEST, sample=True) - fitted.transform(X_TEST)).max() > 1e-2
    other = clone(fitted).set_params(seed=1).fit(X, Y, steps=1)
    assert other.seed == 1


def test_states(fitted):
    assert fitted.transform(X_TEST, level=0).shape == (150, 8)
    last = fitted.transform(X_TEST, tokens=True)
    assert last.shape == (150, 6, 4)
    weight = X_TEST["mask"][:, :, None]
    np.testing.assert_allclose(fitted.transform(X_TEST, level=1), (last * weight).sum(1) / weight.sum(1), atol=1e-6)
    with pytest.raises(OptionError, match="level=2"):
        fitted.transform(X_TEST, level=2)


def test_rows_do_not_depend_on_their_neighbours(fitted):
    np.testing.assert_allclose(
        fitted.predict(X_TEST)[:3], fitted.predict({k: v[:3] for k, v in X_TEST.items()}), atol=1e-5
    )


def test_classification_of_single_vectors():
    """The form for MUStARD: one vector a modality and observation, two classes, vision first."""
    pooled = {k: X[k].mean(1) for k in ("text", "audio", "vision")}
    test = {k: X_TEST[k].mean(1) for k in pooled}
    label, truth = np.where(Y > 0, "joke", "earnest"), np.where(Y_TEST > 0, "joke", "earnest")
    model = ITHPRegressor(None, ("vision", "text", "audio"), "classification", beta=32, gamma=8, **SMALL)
    model.fit(pooled, label, steps=80)
    assert model.score(test, truth) > 0.75
    probabilities = model.predict_proba(vision=test["vision"])
    assert probabilities.shape == (150, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(model.classes_, ["earnest", "joke"])
    np.testing.assert_array_equal(model.predict(test), model.classes_[probabilities.argmax(1)])
    assert model.transform(test, level=1).shape == (150, 4)


def test_any_number_of_detectors():
    x = {**X, "pulse": X["vision"][:, :, :1] + X["audio"][:, :, :1]}
    three = ITHPRegressor(
        None, ("text", "audio", "vision", "pulse"), bottleneck_dims=(8, 6, 4), gamma=(32, 8), hidden=16, lr=5e-3
    )
    three.fit(x, Y, steps=10)
    assert three.transform(x, level=2).shape == (200, 4)
    one = ITHPRegressor(None, ("text", "audio"), bottleneck_dims=(8,), hidden=16, lr=5e-3).fit(
        {k: X[k] for k in ("text", "audio", "mask")}, Y, steps=10
    )
    assert one.transform(X_only(X)).shape == (200, 8)


def X_only(x):
    return {"text": x["text"], "mask": x["mask"]}


def test_missing_rows_of_a_detector_do_not_teach():
    gone = np.zeros((200, 6), bool)
    gone[:, 3:] = True
    nan = {**X, "audio": np.where(gone[:, :, None], np.float32(np.nan), X["audio"])}
    a = ITHPRegressor(None, **SMALL).fit(nan, Y, steps=5)
    other = {**nan, "text": X["text"].copy()}
    b = ITHPRegressor(None, **SMALL).fit(other, Y, steps=5)
    full = ITHPRegressor(None, **SMALL).fit(X, Y, steps=5)
    np.testing.assert_array_equal(a.predict(X_TEST), b.predict(X_TEST))
    assert np.abs(a.predict(X_TEST) - full.predict(X_TEST)).max() > 1e-5
    assert np.isnan(full.explain({**X_TEST, "audio": np.full_like(X_TEST["audio"], np.nan)}).distortion["audio"]).all()
    half = {**X, "audio": X["audio"].copy()}
    half["audio"][0, 0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        ITHPRegressor(None, **SMALL).fit(half, Y, steps=1)


def test_unlabelled_observations_teach_through_the_detectors():
    few = {k: v[:30] for k, v in X.items()}
    more, _, _ = planted(300, seed=2)
    options = {**SMALL, **EAGER}
    quiet = {**more, "audio": np.zeros_like(more["audio"]), "vision": np.zeros_like(more["vision"])}
    taught = [ITHPRegressor(None, **options).fit(few, Y[:30], unlabelled=x, steps=200) for x in (more, quiet)]
    seen = [m.explain(X_TEST).distortion["vision"].mean() for m in taught]
    assert seen[0] < 0.97 * seen[1]  # the detectors of sentences without a label are learned
    with torch.inference_mode():
        columns = [torch.tensor(X["text"]), torch.tensor(X["mask"]), torch.tensor(Y)]
        losses = [
            taught[0].task_("main", (*columns[:2], y, flag), 0, torch.Generator().manual_seed(0))["task"]
            for y, flag in (
                (columns[2], torch.ones(200)),
                (columns[2].where(torch.arange(200) < 30, 9), (torch.arange(200) < 30).float()),
            )
        ]
    assert losses[0] != losses[1] < 2  # labels of rows that have none, here 9, do not count
    assert ITHPRegressor(None, **options).fit(few, Y[:30], unlabelled=more, epochs=1).history_["step"].iloc[-1] == 10
    with pytest.raises(DataError, match="both need the same modalities"):
        ITHPRegressor(None, **options).fit(few, Y[:30], unlabelled=X_only(more), steps=1)
    wrong = {**more, "audio": more["audio"][:, :, :4]}
    with pytest.raises(DataError, match="audio has 4 features in unlabelled, but 5 in X"):
        ITHPRegressor(None, normalize="batch", **options).fit(few, Y[:30], unlabelled=wrong, steps=1)


# ---- scaling of detectors -------------------------------------------------------------------------------------------


def test_ranges_are_those_of_the_training_words():
    model = ITHPRegressor(None, **SMALL).fit(X, Y, steps=1)
    words = X["audio"][X["mask"]]
    np.testing.assert_allclose(model.task_.scaler.low_0.numpy(), words.min(0))
    np.testing.assert_allclose(model.task_.scaler.range_0.numpy(), np.ptp(words, axis=0), rtol=1e-6)
    far = model.task_.scaler.words(0, torch.full((1, 5), 1e6))
    assert far.max() == 1
    concat = ConcatFusionRegressor(None, **SMALL).fit(X, Y, steps=1)
    scaled = concat.task_.scaler.words(0, torch.tensor(X["audio"]))[torch.tensor(X["mask"])]
    torch.testing.assert_close(scaled.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(5))


def test_the_range_of_a_batch_depends_on_the_batch():
    model = ITHPRegressor(None, normalize="batch", **SMALL).fit(X, Y, steps=2)
    a = model.explain(X_TEST).distortion["audio"][:5]
    b = model.explain({k: v[:5] for k, v in X_TEST.items()}).distortion["audio"]
    assert np.abs(a - b).max() > 1e-4  # which is why it is not the default
    constant = model.task_.scaler(torch.full((4, 5), 3.0))
    assert torch.equal(constant, torch.zeros(4, 5))  # the official code divides zero by zero


def test_detectors_in_the_unit_interval_as_they_are():
    squeezed = {**X, "audio": 1 / (1 + np.exp(-X["audio"])), "vision": 1 / (1 + np.exp(-X["vision"]))}
    model = ITHPRegressor(None, normalize=None, **SMALL).fit(squeezed, Y, steps=2)
    assert torch.equal(model.task_.scaler.words(0, torch.full((2, 5), 0.3)), torch.full((2, 5), 0.3))
    with pytest.raises(DataError, match=r"'audio' must lie in \[0, 1\] with normalize=None"):
        ITHPRegressor(None, normalize=None, **SMALL).fit({**squeezed, "audio": X["audio"]}, Y, steps=1)


# ---- baselines ------------------------------------------------------------------------------------------------------


def test_prime_only_is_ithp_without_its_losses():
    plain = PrimeOnlyRegressor(None, **SMALL, noise=True, head_dropout=0.0, dropout=0.0)
    plain.set_params(fusion_dropout=0.0)
    ours = ITHPRegressor(None, **{**SMALL, "fusion_dropout": 0.0}, beta=0, gamma=0, head_dropout=0.0, dropout=0.0)
    plain.fit(X_only(X), Y, steps=3)
    ours.fit(X, Y, steps=3)
    assert list(plain.history_.columns) == ["step", "seconds", "loss", "task"]
    counted = [
        sum(p.numel() for m in (t.fusion.encoders, t.host_shift) for p in m.parameters())
        for t in (plain.task_, ours.task_)
    ]
    assert counted[0] == counted[1]
    assert "bottleneck" not in ours.history_
    assert plain.fit(X_only(X), Y, steps=80).score(X_TEST, Y_TEST) > 0.5


def test_concat_reads_its_detectors():
    concat = ConcatFusionRegressor(None, **SMALL).fit(X, Y, steps=250)
    assert concat.score(X_TEST, Y_TEST) > 0.85  # text alone gets about 0.78
    assert concat.score({**X_TEST, "vision": X_TEST["vision"][::-1]}, Y_TEST) < 0.7
    with pytest.raises(DataError, match="'audio' is missing: ConcatFusionRegressor reads every modality"):
        concat.predict(text=X_TEST["text"])
    assert concat.explain(X_TEST).rate == []
    assert concat.explain(X_TEST).distortion == {}


# ---- explaining -----------------------------------------------------------------------------------------------------


def test_explanations(fitted):
    why = fitted.explain(X_TEST)
    np.testing.assert_allclose(why.prediction[:, 0], fitted.predict(X_TEST), atol=1e-6)
    assert why.effect.shape == (150, 6)
    assert not why.effect[~X_TEST["mask"]].any()
    assert [r.shape for r in why.rate] == [(150, 6)] * 2
    # the effect of a token's shift, by hand
    with torch.inference_mode():
        seen = fitted.task_.perceive(torch.tensor(X_TEST["text"]), torch.tensor(X_TEST["mask"]))
        shift = seen.shift.clone()
        shift[:, 1] = 0
        without = fitted.task_.host_shift(seen.tokens, shift, torch.tensor(X_TEST["mask"]))
        bare = fitted.task_.host_shift(seen.tokens, 0 * shift, torch.tensor(X_TEST["mask"]))
    expected = (seen.logits - without)[:, 0].numpy() * X_TEST["mask"][:, 1]
    np.testing.assert_allclose(why.effect[:, 1], expected, atol=1e-6)
    np.testing.assert_allclose(why.without_shift, bare.numpy(), atol=1e-6)
    # rates are those of the training loss, but for the mean over dimensions
    level = [r[X_TEST["mask"]].mean() / d for r, d in zip(why.rate, (8, 4), strict=True)]
    with torch.inference_mode():
        out = fitted.task_.fusion(torch.tensor(X_TEST["text"]), mask=torch.tensor(X_TEST["mask"]))
    np.testing.assert_allclose(level, [rate.item() for rate, _ in out.levels], rtol=1e-4)
    assert set(why.distortion) == {"audio", "vision"}
    assert fitted.explain(text=X_TEST["text"]).distortion == {}
    assert list(fitted.explain(X_TEST).table(3)["token"]) == list(range(X_TEST["mask"][3].sum()))
    partly = fitted.explain({k: v for k, v in X_TEST.items() if k != "audio"})
    np.testing.assert_allclose(partly.distortion["vision"], why.distortion["vision"], atol=1e-6)


# ---- saving, resuming -----------------------------------------------------------------------------------------------


def test_saved_and_loaded(fitted, tmp_path):
    fitted.save_pretrained(tmp_path)
    again = ITHPRegressor.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.predict(X_TEST), fitted.predict(X_TEST))
    np.testing.assert_allclose(
        again.explain(X_TEST).distortion["audio"], fitted.explain(X_TEST).distortion["audio"], atol=1e-7
    )
    assert again.get_params() == fitted.get_params()
    with pytest.raises(CheckpointError, match="not a PrimeOnlyRegressor"):
        PrimeOnlyRegressor.from_pretrained(tmp_path)


def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path):
    whole = ITHPRegressor(None, **SMALL).fit(X, Y, steps=12)

    def stop(step, _):
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ITHPRegressor(None, **SMALL).fit(X, Y, steps=12, run=tmp_path, checkpoint_every=5, callbacks=[stop])
    resumed = ITHPRegressor(None, **SMALL).fit(X, Y, steps=12, run=tmp_path, checkpoint_every=5)
    for a, b in zip(whole.task_.state_dict().values(), resumed.task_.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(CheckpointError, match="other settings"):  # the schedule depends on the number of steps
        ITHPRegressor(None, **SMALL).fit(X, Y, steps=20, run=tmp_path)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "y", "message"),
    [
        ({"audio": X["audio"][:, :4]}, Y, r"'audio' has \(observations, tokens\) \(200, 4\)"),
        ({"audio": X["audio"][:50]}, Y, r"align them first"),
        ({"audio": [row[:1] for row in X["audio"]]}, Y, r"align them first"),
        ({"audio": np.ones_like(X["audio"])}, Y, "'audio' is constant"),
        ({"audio": X["text"]}, Y, "'audio' is the prime modality itself"),
        ({"audio": np.full_like(X["audio"], np.nan)}, Y, "'audio' is missing in every observation"),
        ({"audio": None}, Y, "'audio' is missing: learning needs every modality"),
        ({"text": None}, Y, "the prime modality 'text' is missing"),
        ({"text": np.full_like(X["text"], np.inf)}, Y, "text has .* not finite"),
        ({"text": np.full_like(X["text"], np.nan)}, Y, "text has .* not finite"),
        ({"text": X["text"][:, 0, 0]}, Y, "'text' must be numbers of shape"),
        ({"mask": X["mask"][:, :3]}, Y, r"mask must be booleans of shape \(200, 6\)"),
        ({"sound": X["audio"]}, Y, "unknown modality 'sound'; this model knows text, audio, vision and mask"),
        ({}, Y[:100], "one row an observation, but text has 200, y has 100"),
        ({}, None, "y is missing"),
        ({}, np.full(200, np.nan), "y has 200 values that are not finite"),
        ({}, np.array(["good"] * 200), "use task='classification'"),
    ],
)  # fmt: skip
def test_bad_data(change, y, message):
    with pytest.raises(DataError, match=message):
        ITHPRegressor(None, **SMALL).fit({**X, **change}, y, steps=1)


def test_features_that_never_change_are_no_obstacle():
    audio = X["audio"].copy()
    audio[:, :, 2] = 4
    model = ITHPRegressor(None, **SMALL).fit({**X, "audio": audio}, Y, steps=2)
    assert torch.isfinite(model.task_.scaler.words(0, torch.tensor(audio))).all()
    assert np.isfinite(model.predict(X_TEST)).all()


def test_bad_classes():
    with pytest.raises(DataError, match="y has one class only"):
        ITHPRegressor(None, task="classification", **SMALL).fit(X, np.zeros(200, int), steps=1)
    with pytest.raises(DataError, match="use task='regression'"):
        ITHPRegressor(None, task="classification", **SMALL).fit(X, Y, steps=1)
    with pytest.raises(DataError, match="not both"):
        ITHPRegressor(None, **SMALL).fit(X, Y, steps=1).predict(X_TEST, text=X_TEST["text"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "text"}, "must name different modalities"),
        ({"order": ("text", "text", "audio")}, "must name different modalities"),
        ({"order": ("text", "audio")}, "names 1 detectors, but bottleneck_dims"),
        ({"order": ("text",), "bottleneck_dims": ()}, "names 0 detectors"),
        ({"task": "ranking"}, "task='ranking'"),
        ({"normalize": "zscore"}, "normalize='zscore'"),
        ({"pooler": "last"}, "pooler='last'"),
        ({"beta": -1.0}, "beta=-1"),
        ({"gamma": (1.0, 2.0)}, "gamma="),
        ({"lam": -0.3}, "lam=-0.3"),
        ({"lr": 0.0}, "lr=0"),
        ({"fusion_dropout": 1.5}, "fusion_dropout=1.5"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"bottleneck_dims": (8, 0)}, "bottleneck_dims=0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(OptionError, match=message):
        ITHPRegressor(None, **{**SMALL, **options}).fit(X, Y)


def test_before_fit_and_after(fitted):
    with pytest.raises(NotFittedError):
        ITHPRegressor(None).predict(X_TEST)
    with pytest.raises(OptionError, match="needs task='classification'"):
        fitted.predict_proba(X_TEST)
    with pytest.raises(DataError, match="'text' has 9 features, but this model was fitted on 16"):
        fitted.predict(text=X_TEST["text"][:, :, :9])
    with pytest.raises(DataError, match="'audio' has 4 features, but this model was fitted on 5"):
        fitted.explain({**X_TEST, "audio": X_TEST["audio"][:, :, :4]})
    with pytest.raises(DataError, match="must be a dictionary of modalities"):
        fitted.predict(X_TEST["text"])
