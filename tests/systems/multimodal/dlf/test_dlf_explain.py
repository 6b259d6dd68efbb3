"""Contributions add up, and name the modality that was changed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.systems.multimodal.dlf import shapley


def test_shapley_values_are_means_over_orders():
    players = ["a", "b", "c"]
    rng = np.random.default_rng(0)
    worth = {frozenset(g): rng.normal() for r in range(4) for g in itertools.combinations(players, r)}
    found, nobody = shapley(lambda group: torch.tensor(worth[group], dtype=torch.float64), players)
    for player in players:
        effects = []
        for order in itertools.permutations(players):
            before = frozenset(order[: order.index(player)])
            effects.append(worth[before | {player}] - worth[before])
        assert found[player].item() == pytest.approx(np.mean(effects))
    assert nobody.item() == worth[frozenset()]


def test_contributions_add_up_to_the_prediction(fitted, data):
    x, _ = data(70, 9)
    explained = fitted.explain(x)
    np.testing.assert_allclose(explained.prediction, fitted.predict(x), atol=1e-5)
    for base, parts in ((explained.base, explained.parts), (explained.modality_base, explained.modalities)):
        np.testing.assert_allclose(base + sum(parts.values()), explained.prediction, atol=1e-4)
    assert set(explained.parts) == {"l", "v", "a", "shared"}
    assert set(explained.modalities) == {"text", "vision", "audio"}
    assert np.ptp(explained.base) < 1e-5  # nothing of the sample is left in it
    assert explained.table().shape == (70, 1 + 4 + 3 + 4)
    assert set(explained.heads) == {"final", "shared", "l", "v", "a"}


def test_a_modality_at_its_mean_contributes_nothing_and_the_others_all(fitted, data):
    x, _ = data(1, 10)
    means = {name: getattr(fitted.task_, f"mean_{m}").numpy()[None] for m, name in (("l", "text"), ("a", "audio"))}
    only = fitted.explain({**x, **means, "mask": np.ones((1, 8), bool)})
    assert only.modalities["text"][0] == pytest.approx(0, abs=1e-5)
    assert only.modalities["audio"][0] == pytest.approx(0, abs=1e-5)
    assert only.modalities["vision"][0] == pytest.approx((only.prediction - only.modality_base)[0], abs=1e-5)


def test_the_modality_that_says_something_is_named(fitted, data):
    """A modality's contribution follows what it says: the number that was planted in it."""
    patterns = np.random.default_rng(7).normal(size=(3, 6))
    x, _ = data(200, 11)
    explained = fitted.explain(x)
    for pattern, (name, size) in zip(patterns, (("text", 6), ("audio", 4), ("vision", 5)), strict=True):
        said = (x[name].sum(1) / x["mask"].sum(1)[:, None]) @ pattern[:size]
        correlation = {other: np.corrcoef(said, values)[0, 1] for other, values in explained.modalities.items()}
        assert max(correlation, key=correlation.get) == name
        assert correlation[name] > 0.7


def test_attention_sums_to_one_over_what_was_said(fitted, data):
    x, _ = data(20, 12)
    words = [[f"w{t}" for t in range(int(row.sum()))] for row in x["mask"]]
    explained = fitted.explain(x, words=words)
    assert set(explained.attention) == {"vision", "audio"}
    last = x["mask"].sum(1) - 3  # the last window of 3 words
    for m, weights in explained.attention.items():
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
        for row, place in enumerate(last):
            assert (weights[row, place + 1 :] == 0).all()  # later steps are hidden from the step that is read
            np.testing.assert_allclose(weights[row], explained.attention_map[m][row, place], atol=1e-6)
    table = explained.words_heard(0)
    assert list(table.columns) == ["step", "words", "vision", "audio"]
    assert table["words"].iloc[0] == "w0 w1 w2"
    assert len(table) == min(len(words[0]), 6)  # windows that begin with a word
    assert "words" not in fitted.explain(x).words_heard(0)


def test_what_cannot_be_explained(fitted, data):
    x, _ = data(5, 13)
    with pytest.raises(DataError, match="words has 2 samples, but the data have 5"):
        fitted.explain(x, words=[["a"], ["b"]])
    with pytest.raises(OptionError, match="sample=9 must be an integer at least 0 and at most 4"):
        fitted.explain(x).words_heard(9)
