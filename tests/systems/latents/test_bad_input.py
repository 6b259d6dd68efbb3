"""What the learners refuse, and what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from fitted_learners import CONV, GANS, OPTIONS, images, make, table

import unsnarl
from unsnarl.errors import DataError, NotFittedError, OptionError, TrainingError
from unsnarl.nn import Architecture

FLOATS = images(8).astype(np.float32) / 255


def with_nan(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.reshape(-1)[x[0].size + 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (FLOATS * 1.5, "pixels must lie in [0, 1], found 0 to 1.5; divide by 255 or use uint8"),
        (FLOATS - 0.25, "pixels must lie in [0, 1], found -0.25 to 0.75; divide by 255 or use uint8"),
        (images(8).astype(np.int64), "images must be uint8 or floats in [0, 1], got torch.int64"),
        (
            np.zeros((4, 3, 2)),
            "observations must be images (n, channels, height, width) or a table (n, features), got shape (4, 3, 2)",
        ),
        (
            np.zeros(4),
            "observations must be images (n, channels, height, width) or a table (n, features), got shape (4,); Reshape "
            "your data: x.reshape(1, -1) is one observation",
        ),
        (
            with_nan(table(5)),
            "observations has 1 value that is not finite (first: NaN at row 1, column 2); remove or fill them first",
        ),
        (
            torch.from_numpy(with_nan(table(5))),
            "observations has 1 value that is not finite (first: NaN at row 1, column 2); remove or fill them first",
        ),
        (table(1), "fitting needs at least 2 observations, got 1 sample"),
        (table(0), "the data set has no observations"),
        (np.zeros((4, 0)), "observations have 0 feature(s) (shape=(4, 0)) while a minimum of 1 is required."),
        ([np.zeros(3), np.zeros(2)], "these learners need observations of one shape; ragged data cannot be used"),
        (np.array([["a", "b"], ["c", "d"]]), "observations must hold numbers, got dtype <U1"),
        (table(5) + 1j, "Complex data not supported; pass real numbers"),
        (scipy.sparse.csr_matrix(table(5)), "sparse input is not supported; pass X.toarray()"),
        (
            np.array([[1.0, {}], [2.0, 3.0]], dtype=object),
            "observations is an object array (mixed types, ragged rows or missing values); pass a rectangular array of numbers",
        ),
    ],
)
def test_observations(x: Any, message: str):
    with pytest.raises(DataError) as caught:
        make("AE", network="auto").fit(x)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", GANS)
def test_generators_need_images(name: str):
    with pytest.raises(DataError) as caught:
        make(name, network="auto").fit(table(10))
    assert str(caught.value) == f"{name} generates images; observations of shape (8,) are a table"


INTEGER, ABOVE = "must be an integer at least", "must be a number above 0"


@pytest.mark.parametrize(
    ("name", "option", "value", "message"),
    [
        *[(name, "latents", 0, f"latents=0 {INTEGER} 1") for name in OPTIONS],
        *[(name, "weight_decay", -0.1, "weight_decay=-0.1 must be a number at least 0") for name in OPTIONS],
        *[(name, "batch_size", 0, f"batch_size=0 {INTEGER} 1") for name in OPTIONS],
        ("AE", "latents", 2.0, "latents=2.0 must be an integer"),
        ("AE", "latents", 2.5, "latents=2.5 must be an integer"),
        ("AE", "latents", "2", f"latents='2' {INTEGER} 1"),
        ("AE", "lr", 0.0, f"lr=0.0 {ABOVE}"),
        ("AE", "lr", float("nan"), f"lr=nan {ABOVE}"),
        ("AE", "seed", None, "seed=None must be an integer"),
        ("AE", "steps", 0, f"steps=0 {INTEGER} 1"),
        ("QLAE", "levels", 1, f"levels=1 {INTEGER} 2"),
        ("QLAE", "levels", True, f"levels=True {INTEGER} 2"),
        ("QLAE", "quantization", -1, "quantization=-1 must be a number at least 0"),
        ("QLAE", "commitment", float("inf"), "commitment=inf must be a number at least 0"),
        ("QuantizedInfoWGANGP", "levels", 1, f"levels=1 {INTEGER} 2"),
        ("QuantizedInfoWGANGP", "commitment", -1, "commitment=-1 must be a number at least 0"),
        ("InfoWGANGP", "gradient_weight", -1, "gradient_weight=-1 must be a number at least 0"),
        ("InfoWGANGP", "generator_every", 0, f"generator_every=0 {INTEGER} 1"),
        ("VQVAE", "entries", 1, f"entries=1 {INTEGER} 2"),
        ("VQVAE", "size", 0, f"size=0 {INTEGER} 1"),
        ("VAE", "beta", -1, "beta=-1 must be a number at least 0"),
        ("VAE", "anneal_steps", -1, f"anneal_steps=-1 {INTEGER} 0"),
        ("BetaTCVAE", "alpha", -1, "alpha=-1 must be a number at least 0"),
        ("FactorVAE", "gamma", -1, "gamma=-1 must be a number at least 0"),
        ("FactorVAE", "anneal_steps", -1, f"anneal_steps=-1 {INTEGER} 0"),
        ("FactorVAE", "discriminator_lr", 0, f"discriminator_lr=0 {ABOVE}"),
        ("FactorVAE", "discriminator_width", 0, f"discriminator_width=0 {INTEGER} 1"),
        ("BioAE", "activity", -1, "activity=-1 must be a number at least 0"),
        (
            "AE",
            "network",
            "resnet",
            "network='resnet' is not allowed; choose one of 'auto', 'published', 'published-small', 'published-dense', "
            "'laptop', 'laptop-dense'",
        ),
        (
            "AE",
            "network",
            "laptop",
            "convolutions need images (channels, height, width), but one observation has shape (8,); take a network of "
            "kind 'dense'",
        ),
    ],
)
def test_hyperparameters(name: str, option: str, value: Any, message: str):
    model = make(name).set_params(**{option: value})  # kept as given; refused by fit
    with pytest.raises(OptionError) as caught:
        model.fit(images(10) if name in GANS else table(10))
    assert str(caught.value) == message


def test_images_that_cannot_be_halved():
    with pytest.raises(OptionError) as caught:
        make("QLAE", network=Architecture(widths=(4, 8, 8, 8))).fit(images(10))
    assert str(caught.value) == (
        "images of shape (1, 8, 8) (channels, height, width) cannot be halved 4 times; height and width must be multiples "
        "of 16, and one of them larger: give fewer widths or pad the images"
    )


VERBS = ("transform", "reconstruct", "decode", "traverse", "score", "encode", "sample")


@pytest.mark.parametrize(("name", "verb"), [(n, v) for n in OPTIONS for v in VERBS if hasattr(getattr(unsnarl, n), v)])
def test_nothing_before_fit(name: str, verb: str, tmp_path):
    model = make(name)
    arguments = {"sample": (3,), "traverse": (table(1)[0], 0)}.get(verb, (table(5),))
    with pytest.raises(NotFittedError) as caught:
        getattr(model, verb)(*arguments)
    assert str(caught.value) == f"this {name} has not learned anything yet; call fit first"
    with pytest.raises(NotFittedError):
        model.save_pretrained(tmp_path)


def test_observations_of_another_shape(fitted):
    with pytest.raises(DataError) as caught:
        fitted("AE").transform(table(5)[:, :4])
    assert str(caught.value) == "X has 4 features, but AE is expecting 8 features as input"
    with pytest.raises(DataError) as caught:
        fitted("AE").transform(images(5))
    assert str(caught.value) == "observations have shape (1, 8, 8), but this model was fitted on (8,)"
    with pytest.raises(DataError) as caught:
        fitted("InfoWGANGP").transform(np.zeros((2, 3, 8, 8), np.uint8))
    assert str(caught.value) == "observations have shape (3, 8, 8), but this model was fitted on (1, 8, 8)"
    with pytest.raises(DataError, match="Reshape your data"):
        fitted("AE").transform(table(5)[0])


def test_columns_in_another_order():
    frame = pd.DataFrame(table(20), columns=list("abcdefgh"))
    model = make("AE", steps=2).fit(frame)
    assert np.array_equal(model.transform(frame), model.transform(frame.to_numpy()))
    with pytest.raises(DataError) as caught:
        model.transform(frame[list("bacdefgh")])
    assert str(caught.value) == (
        "the columns of this table are not those that the model was fitted on, in that order: a, b, c, d, e, f, g, h"
    )


@pytest.mark.parametrize(
    ("name", "codes", "message"),
    [
        ("AE", np.zeros((3, 4)), "codes must have shape (n, 2), got (3, 4)"),
        ("AE", np.zeros(2), "codes must have shape (n, 2), got (2,)"),
        (
            "AE",
            np.array([[0.0, np.inf]]),
            "codes has 1 value that is not finite (first: infinite at row 0, column 1); remove or fill them first",
        ),
        ("QLAE", np.array([[0, 1, 8]]), "codes must be indices from 0 to 7, found 0 to 8"),
        ("QLAE", np.array([[0, -1, 3]]), "codes must be indices from 0 to 7, found -1 to 3"),
        ("QuantizedInfoWGANGP", np.array([[0, 4]]), "codes must be indices from 0 to 3, found 0 to 4"),
        ("VQVAE", np.array([[0, 32]]), "codes must be indices from 0 to 31, found 0 to 32"),
        ("VQVAE", np.array([[0.0, -1.0]]), "codes must be indices from 0 to 31, found -1 to 0"),
        ("VQVAE", np.array([[0.5, 1.0]]), "codes must be whole numbers: the indices of codebook entries"),
    ],
)
def test_codes(name: str, codes: np.ndarray, message: str, fitted):
    with pytest.raises(DataError) as caught:
        fitted(name).decode(codes)
    assert str(caught.value) == message


def test_traversals(fitted):
    model, x = fitted("AE"), table(1)[0]
    for latent in (2, -1):
        with pytest.raises(OptionError) as caught:
            model.traverse(x, latent)
        assert str(caught.value) == f"latent={latent} must be an integer at least 0 and at most 1"
    with pytest.raises(OptionError) as caught:
        model.traverse(x, 0, n_values=0)
    assert str(caught.value) == "n_values=0 must be an integer at least 1"
    with pytest.raises(OptionError, match="n=0 must be an integer at least 1"):
        fitted("VAE").sample(0)


def test_a_learning_rate_that_is_far_too_large(tmp_path):
    with pytest.raises(TrainingError) as caught:
        make("VAE", lr=1e4).fit(table(50), run=tmp_path, checkpoint_every=1)
    assert "no longer finite at step" in str(caught.value)
    assert "try a smaller learning rate" in str(caught.value)


def test_bytes_and_floats_are_the_same_images():
    model = make("AE", network=CONV, steps=2).fit(FLOATS)
    np.testing.assert_allclose(model.transform(FLOATS), model.transform(images(8)), atol=1e-5)
