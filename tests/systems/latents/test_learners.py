"""Every learner: that it learns, what its verbs give, and that it survives a disk."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fitted_learners import CONV, DENSE, GANS, GAUSSIAN, OPTIONS, QUANTIZED, data, images, make, table
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import unsnarl
from unsnarl.errors import CheckpointError, FileError, NotFittedError
from unsnarl.nn import Architecture

NAMES = list(OPTIONS)
AUTOENCODERS = [name for name in NAMES if name not in GANS]


# ---- learning ---------------------------------------------------------------------------------------------------------

# share of the variance around the column means that may be left on observations not seen in training
LEFT = {
    "AE": 0.05,
    "BioAE": 0.05,
    "QLAE": 0.1,
    "VQVAE": 0.15,
    "VAE": 0.2,
    "BetaVAE": 0.7,
    "BetaTCVAE": 0.3,
    "FactorVAE": 0.2,
}


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_a_table_with_two_factors_is_explained_far_better_than_by_its_means(name: str, fitted):
    new = table(100, seed=1)
    means = float(((new - table(300).mean(0)) ** 2).mean())
    error = float(((fitted(name).reconstruct(new).numpy() - new) ** 2).mean())
    assert error < LEFT[name] * means
    assert fitted(name).score(new) == pytest.approx(-error, rel=1e-5)


@pytest.mark.parametrize("name", GANS)
def test_a_generator_comes_near_real_images_and_the_encoder_reads_its_latents(name: str, fitted):
    model = fitted(name)
    real = torch.unique(torch.from_numpy(images(300)).float() / 255, dim=0)

    def distance(generated: torch.Tensor) -> float:
        return float((generated[:, None] - real[None]).square().flatten(2).mean(2).min(1).values.mean())

    assert distance(model.sample(200)) < 0.6 * distance(make(name, steps=1).fit(images(300)).sample(200))
    drawn = model.task_.draw(400, torch.Generator().manual_seed(5)).detach()
    back = model.transform(model.decode(drawn))
    if name == "InfoWGANGP":
        assert ((back - drawn.numpy()) ** 2).mean() < 0.6 / 12  # 1/12 is the variance of the latents
    else:
        levels = (drawn[:, :, None] - model.task_.quantizer.codebook.detach()).abs().argmin(2).numpy()
        assert (back == levels).mean() > 0.45  # a guess is right once in four


def test_images_are_learned_too():
    x, new = images(64), images(32, seed=1)
    model = make("QLAE", network=CONV, levels=4, batch_size=32, lr=1e-2, steps=150).fit(x)
    mean = torch.from_numpy(x).float().mean(0) / 255
    baseline = float(unsnarl.objectives.psnr(torch.from_numpy(new).float() / 255, mean.expand(32, 1, 8, 8)).mean())
    assert model.score(new) > baseline + 3


def test_more_pressure_leaves_less_in_the_code(fitted):
    assert fitted("BetaVAE").history_["kl"].iloc[-1] < 0.8 * fitted("VAE").history_["kl"].iloc[-1]


def test_bioae_keeps_its_latents_nonnegative_where_an_autoencoder_does_not(fitted):
    x = table(300)
    assert (fitted("AE").transform(x) < 0).mean() > 0.2
    assert (fitted("BioAE").transform(x) < -0.01).mean() < 0.05


def test_decay_shrinks_weights():
    norms = [
        float(
            make("QLAE", weight_decay=decay, steps=60)
            .fit(table(300))
            .task_.decoder.body[0]
            .weight.detach()
            .square()
            .sum()
        )
        for decay in (0.0, 10.0)
    ]
    assert norms[1] < 0.5 * norms[0]


@pytest.mark.parametrize("name", ["QLAE", "FactorVAE"])
def test_the_seed_decides_the_numbers(name: str):
    x = table(100)
    codes = [make(name, steps=5, seed=seed).fit(x).task_.encoder.head.weight for seed in (1, 1, 2)]
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[0], codes[2])


@pytest.mark.parametrize("name", ["QLAE", "FactorVAE", "QuantizedInfoWGANGP"])
def test_fitting_neither_uses_nor_touches_the_global_random_state(name: str):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = make(name, steps=3).fit(data(name, 50))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    again = make(name, steps=3).fit(data(name, 50))
    assert all(torch.equal(a, b) for a, b in zip(first.task_.parameters(), again.task_.parameters(), strict=True))


def test_a_second_fit_starts_anew():
    x = table(100)
    model = make("AE", steps=5).fit(table(50, seed=3)).fit(x)
    assert torch.equal(model.task_.encoder.head.weight, make("AE", steps=5).fit(x).task_.encoder.head.weight)


def test_history_and_callbacks():
    x, seen = table(50), []

    def callback(step: int, model: Any) -> None:
        seen.append((step, model.transform(x).shape))

    model = make("QLAE", steps=4).fit(x, log_every=2, callbacks=[callback])
    assert seen == [(step, (50, 3)) for step in range(5)]
    assert list(model.history_.columns) == ["step", "seconds", "loss", "reconstruction", "quantization", "commitment"]
    assert model.history_["step"].tolist() == [2, 4]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int8, bool])
def test_tables_of_any_numbers(dtype: Any):
    x = (table(50) * 3).astype(dtype)
    model = make("VAE", steps=2).fit(x)
    assert model.transform(x).dtype == np.float32
    assert model.reconstruct(torch.from_numpy(x)).dtype == torch.float32


def test_constant_columns_and_large_numbers():
    x = table(60)
    x[:, 3] = 0.1
    x[:, 4] = 1e8 + 1e6 * x[:, 4]
    model = make("AE", steps=100).fit(x)
    back = model.reconstruct(x).numpy()
    assert np.abs(back[:, 3] - 0.1).max() < 1
    assert np.corrcoef(back[:, 4], x[:, 4])[0, 1] > 0.9


@pytest.mark.parametrize("kind", ["dataset", "frame", "tensor", "gradient"])
def test_what_observations_may_come_in(kind: str):
    x = table(40)
    given = {
        "dataset": unsnarl.FactorDataset(x, {"a": np.arange(40) % 3}),
        "frame": pd.DataFrame(x, columns=[f"c{i}" for i in range(8)]),
        "tensor": torch.from_numpy(x).double(),
        "gradient": torch.from_numpy(x).requires_grad_(),
    }[kind]
    expected = make("AE", steps=3).fit(x).transform(x)
    np.testing.assert_allclose(make("AE", steps=3).fit(given).transform(given), expected, atol=1e-6)


# ---- verbs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types(name: str, fitted):
    model, x = fitted(name), data(name, 20, seed=1)
    codes = model.transform(x)
    assert codes.shape == (20, model.latents)
    assert codes.dtype == (np.int64 if name in QUANTIZED else np.float32)
    assert model.discrete_codes == (name in QUANTIZED)
    back = model.decode(codes)
    assert back.shape == x.shape
    assert back.dtype == torch.float32
    assert torch.equal(model.reconstruct(x), back)
    assert isinstance(model.score(x), float)
    assert model.get_feature_names_out().tolist() == [f"latent {i}" for i in range(model.latents)]
    if name in GANS:
        assert 0 <= float(back.min()) <= float(back.max()) <= 1
    for one in (x[3], x[3:4]):
        strip = model.traverse(one, 1, n_values=4)
        assert strip.shape == (len(model.latent_values(1, 4)), *x.shape[1:])
        assert 1 <= len(strip) <= 4


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_depend_on_their_neighbours(name: str, fitted):
    model, x = fitted(name), data(name, 300, seed=1)
    np.testing.assert_allclose(model.transform(x)[-3:], model.transform(x[-3:]), atol=1e-5)
    torch.testing.assert_close(model.reconstruct(x)[-3:], model.reconstruct(x[-3:]), atol=1e-4, rtol=1e-4)


def test_a_traversal_moves_one_latent_over_its_range(fitted):
    model, x = fitted("AE"), table(300)
    low, high = np.quantile(model.transform(x)[:, 1], [0.01, 0.99])
    np.testing.assert_allclose(model.latent_values(1, 3), [low, (low + high) / 2, high], atol=1e-4)
    codes = np.repeat(model.transform(x[:1]), 3, axis=0)
    codes[:, 1] = model.latent_values(1, 3)
    assert torch.equal(model.traverse(x[0], 1, 3), model.decode(codes))


@pytest.mark.parametrize("name", ["QLAE", "QuantizedInfoWGANGP"])
def test_a_traversal_of_a_quantized_latent_shows_each_level_once_by_value(name: str, fitted):
    model = fitted(name)
    values = model.task_.quantizer.codebook.detach()[0]
    shown = model.latent_values(0, 100)
    assert sorted(shown.tolist()) == list(range(model.levels))
    assert (values[torch.from_numpy(shown)].diff() >= 0).all()


@pytest.mark.parametrize("name", QUANTIZED)
def test_encode_gives_values_and_their_indices(name: str, fitted):
    model, x = fitted(name), data(name, 20, seed=1)
    values, indices = model.encode(x)
    assert np.array_equal(indices, model.transform(x))
    assert values.dtype == np.float32
    codebook = model.task_.quantizer
    if name == "VQVAE":
        assert np.array_equal(values, codebook.vectors.detach().numpy()[indices].reshape(20, -1))
        assert torch.equal(model.decode(indices.astype(float)), model.decode(indices))
    else:
        expected = np.take_along_axis(codebook.codebook.detach().numpy(), indices.T, axis=1).T
        assert np.array_equal(values, expected)
        assert torch.equal(model.decode(values), model.decode(indices))


@pytest.mark.parametrize("name", GAUSSIAN)
def test_encode_gives_means_and_log_variances(name: str, fitted):
    model, x = fitted(name), table(300)
    mu, logvar = model.encode(x)
    assert mu.shape == logvar.shape == (300, 3)
    assert np.array_equal(mu, model.transform(x))
    kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(1).mean()
    column = {"FactorVAE": "vae.kl", "BetaTCVAE": None}.get(name, "kl")
    if column:
        assert kl == pytest.approx(model.history_[column].iloc[-1], rel=0.3)
    types = model.active_variables(x)
    assert sorted([*types.active, *types.mixed, *types.passive]) == [0, 1, 2]
    assert len(types.passive) < 3


@pytest.mark.parametrize("name", [*GAUSSIAN, *GANS])
def test_sample(name: str, fitted):
    model = fitted(name)
    draws = model.sample(300, seed=4)
    assert draws.shape == (300, *data(name, 1).shape[1:])
    assert torch.equal(draws, model.sample(300, seed=4))
    assert not torch.equal(draws, model.sample(300, seed=5))
    if name in GAUSSIAN:
        real = table(300)
        assert np.abs(draws.numpy().mean(0) - real.mean(0)).max() < real.std(0).max()


def test_a_collapsed_autoencoder_has_passive_latents():
    model = make("BetaVAE", beta=200.0, steps=100).fit(table(200))
    assert list(model.active_variables(table(200)).passive) == [0, 1, 2]


# ---- as scikit-learn estimators ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_hyperparameters_are_kept_as_given(name: str):
    model = make(name)
    assert model.get_params() | OPTIONS[name] == model.get_params()
    twin = clone(model.set_params(seed=9))
    assert twin.get_params() == model.get_params()
    assert twin.seed == 9
    assert vars(model) == model.get_params()
    assert "seed=9" in repr(model)


def test_in_a_pipeline_that_gives_data_frames():
    x = table(50)
    pipeline = make_pipeline(StandardScaler(), make("AE", steps=3)).set_output(transform="pandas")
    frame = pipeline.fit_transform(x)
    assert list(frame.columns) == ["latent 0", "latent 1"]
    model = pipeline[-1]
    assert torch.equal(model.decode(frame), model.reconstruct(StandardScaler().fit_transform(x)))
    assert model.traverse(x[0], 1).shape == (7, 8)


# ---- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_gives_the_same_bits(name: str, fitted, tmp_path):
    model, x = fitted(name), data(name, 30, seed=1)
    model.save_pretrained(tmp_path / "model")
    assert {"config.json", "model.safetensors"} <= {p.name for p in (tmp_path / "model").iterdir()}
    assert json.loads((tmp_path / "model/config.json").read_text())["system"] == name
    loaded = type(model).from_pretrained(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    assert np.array_equal(loaded.transform(x), model.transform(x))
    assert torch.equal(loaded.reconstruct(x), model.reconstruct(x))
    assert torch.equal(loaded.traverse(x[0], 0), model.traverse(x[0], 0))
    for a, b in zip(loaded.task_.state_dict().values(), model.task_.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    pd.testing.assert_frame_equal(loaded.history_, model.history_, check_exact=True, check_dtype=False)
    assert getattr(loaded, "n_features_in_", None) == getattr(model, "n_features_in_", None)
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again/config.json").read_text() == (tmp_path / "model/config.json").read_text()
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "model/model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["QLAE", "FactorVAE"])
def test_copies_and_pickles(name: str, fitted):
    model, x = fitted(name), table(10)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(twin.transform(x), model.transform(x))
    weights = sum(p.numel() * 4 for p in model.task_.parameters())
    assert len(pickle.dumps(model)) < weights + 60_000  # no optimiser state


def test_hyperparameters_from_numpy_can_be_saved(tmp_path):
    model = make("AE", steps=2).fit(table(20), run=tmp_path / "run")
    model.set_params(latents=np.int64(2), lr=np.float64(5e-3), seed=np.int32(0)).save_pretrained(tmp_path / "model")
    assert unsnarl.AE.from_pretrained(tmp_path / "model").get_params() == make("AE", steps=2).get_params()
    model.set_params(seed=0, latents=2).fit(table(20), run=tmp_path / "run")  # the same run, although lr is NumPy's


def test_a_history_with_steps_that_one_phase_skipped_is_kept(tmp_path):
    model = make("QuantizedInfoWGANGP", steps=5).fit(images(40), log_every=1)
    assert model.history_["generator.loss"].isna().tolist() == [True, False, True, False, True]
    model.save_pretrained(tmp_path)
    loaded = unsnarl.QuantizedInfoWGANGP.from_pretrained(tmp_path)
    pd.testing.assert_frame_equal(loaded.history_, model.history_, check_exact=True)


def test_column_names_are_kept(tmp_path):
    frame = pd.DataFrame(table(20), columns=list("abcdefgh"))
    make("AE", steps=2).fit(frame).save_pretrained(tmp_path)
    loaded = unsnarl.AE.from_pretrained(tmp_path)
    assert loaded.feature_names_in_.tolist() == list("abcdefgh")
    assert loaded.n_features_in_ == 8


def test_a_model_of_another_class_is_refused(fitted, tmp_path):
    fitted("AE").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        unsnarl.QLAE.from_pretrained(tmp_path)
    assert str(caught.value) == f"{tmp_path} holds a AE, not a QLAE: use AE.from_pretrained"


@pytest.mark.parametrize("damage", ["truncated", "garbage", "missing", "other weights"])
def test_damaged_weights_are_refused(damage: str, fitted, tmp_path):
    fitted("AE").save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    content = weights.read_bytes()
    messages = {
        "truncated": f"{weights} is truncated or not a safetensors file (",
        "garbage": f"{weights} is truncated or not a safetensors file (",
        "missing": f"there is no checkpoint at {weights}",
        "other weights": f"the weights in {weights} do not fit this model: ",
    }
    if damage == "missing":
        weights.unlink()
    elif damage == "other weights":
        fitted("BioAE").save_pretrained(tmp_path / "other")
        weights.write_bytes((tmp_path / "other/model.safetensors").read_bytes())
    else:
        weights.write_bytes(content[:-100] if damage == "truncated" else b"PK\x03\x04" * 99)
    with pytest.raises(CheckpointError) as caught:
        unsnarl.AE.from_pretrained(tmp_path)
    assert str(caught.value).startswith(messages[damage])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"system": "AE", "params": {}}', None])
def test_a_damaged_config_is_refused(content: str | None, fitted, tmp_path):
    fitted("AE").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.unlink() if content is None else config.write_text(content)
    with pytest.raises(CheckpointError) as caught:
        unsnarl.AE.from_pretrained(tmp_path)
    assert str(caught.value).startswith(f"{config} is missing")
    assert "damaged" in str(caught.value)


def test_a_config_of_another_version_is_refused(fitted, tmp_path):
    fitted("AE").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["params"]["sparkle"] = 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as caught:
        unsnarl.AE.from_pretrained(tmp_path)
    assert "does not fit this version of AE" in str(caught.value)
    assert "sparkle" in str(caught.value)


def test_folders_that_are_not_there(fitted, tmp_path):
    with pytest.raises(FileError, match="nothing is neither a folder nor a model on the hub that can be reached"):
        unsnarl.AE.from_pretrained(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError) as caught:
        fitted("AE").save_pretrained(tmp_path / "file")
    assert str(caught.value) == f"cannot write {tmp_path / 'file'}: file exists"


def test_saving_before_fit_leaves_an_older_model_alone(fitted, tmp_path):
    fitted("AE").save_pretrained(tmp_path)
    with pytest.raises(NotFittedError):
        make("AE").save_pretrained(tmp_path)
    assert np.array_equal(unsnarl.AE.from_pretrained(tmp_path).transform(table(5)), fitted("AE").transform(table(5)))


@pytest.mark.parametrize("name", ["QLAE", "FactorVAE"])
def test_a_run_folder_resumes(name: str, tmp_path):
    x = table(60)
    options: dict[str, Any] = {"log_every": 2, "checkpoint_every": 4}
    whole = make(name).fit(x, steps=10, **options)
    make(name).fit(x, steps=6, run=tmp_path, **options)
    seen: list[int] = []
    resumed = make(name).fit(x, steps=10, run=tmp_path, callbacks=[lambda step, _: seen.append(step)], **options)
    assert seen == [7, 8, 9, 10]
    assert np.array_equal(resumed.transform(x), whole.transform(x))
    assert torch.equal(resumed.task_.high, whole.task_.high)
    columns = [c for c in whole.history_ if c != "seconds"]
    pd.testing.assert_frame_equal(resumed.history_[columns], whole.history_[columns], check_exact=True)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["system"] == name
    assert config["network"] == json.loads(json.dumps(DENSE.to_dict()))
    assert config["data"].startswith("(60, 8) float32 ")
    assert "steps" not in config


def test_a_run_of_other_data_or_hyperparameters_is_not_continued(tmp_path):
    make("AE", steps=3).fit(table(60), run=tmp_path)
    with pytest.raises(CheckpointError) as caught:
        make("AE", steps=3).fit(table(60, seed=1), run=tmp_path)
    assert f"{tmp_path} holds a run with other settings (data: '(60, 8) float32 " in str(caught.value)
    with pytest.raises(
        CheckpointError, match=r"lr: 0.005 there, 0.1 here\); choose another folder or pass resume=False"
    ):
        make("AE", steps=3, lr=0.1).fit(table(60), run=tmp_path)
    with pytest.raises(CheckpointError, match="system: 'AE' there, 'BioAE' here"):
        make("BioAE", steps=3).fit(table(60), run=tmp_path)
    assert make("AE", steps=3, lr=0.1).fit(table(60), run=tmp_path, resume=False).history_["step"].tolist() == [3]


def test_an_architecture_survives(tmp_path):
    network = Architecture(widths=(4,), depth=2, hidden=(6, 5), decoder="plain")
    x = images(20)
    model = make("VAE", network=network, steps=2).fit(x)
    model.save_pretrained(tmp_path)
    loaded = unsnarl.VAE.from_pretrained(tmp_path)
    assert loaded.network == network
    assert torch.equal(loaded.reconstruct(x), model.reconstruct(x))
