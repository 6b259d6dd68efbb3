"""The baselines of DLF: they learn, and have the connections they should have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unsnarl.errors import OptionError
from unsnarl.systems.multimodal._symmetric_fusion import SequenceConcat, SymmetricMulT

OPTIONS = {
    "text_encoder": None,
    "d": 8,
    "heads": 2,
    "layers": 1,
    "kernel": 3,
    "lr": 8e-3,
    "batch_size": 40,
    "accumulate": 1,
    "epochs": 5,
    "pool": "last_valid",
    "text_dropout": 0.1,
    "embedding_dropout": 0.0,
    "output_dropout": 0.1,
}


def sequences(n: int, seed: int):
    patterns = np.random.default_rng(7).normal(size=(3, 6))
    rng = np.random.default_rng(seed)
    said = rng.normal(size=(3, n))
    x = {
        name: (0.5 * rng.normal(size=(n, 7, size)) + part[:, None, None] * pattern[:size]).astype(np.float32)
        for part, pattern, (name, size) in zip(said, patterns, (("text", 6), ("audio", 4), ("vision", 5)), strict=True)
    }
    return x, np.clip(said.sum(0), -3, 3).astype(np.float32)


@pytest.mark.parametrize("cls", [SequenceConcat, SymmetricMulT])
def test_baselines_learn_from_all_three(cls, tmp_path):
    model = cls(**OPTIONS, memory_layers=1).fit(*sequences(200, 0), validation=sequences(50, 1))
    x, y = sequences(100, 2)
    error = np.abs(model.predict(x) - y).mean()
    assert error < 0.6 * np.abs(y - np.median(y)).mean()
    assert model.transform(x).shape == (100, 48)
    for name in ("text", "audio", "vision"):
        shuffled = {**x, name: x[name][::-1]}
        assert np.abs(model.predict(shuffled) - y).mean() > error + 0.1, name
    model.save_pretrained(tmp_path)
    assert (cls.from_pretrained(tmp_path).predict(x) == model.predict(x)).all()
    assert list(model.history_.columns) == ["epoch", "loss", "step", "valid_mae", "lr", "kept"]


def test_without_cross_attention_modalities_meet_only_at_the_end():
    torch.manual_seed(0)
    x, y = sequences(40, 0)
    other = {**x, "audio": x["audio"] + np.random.default_rng(0).normal(size=x["audio"].shape).astype("float32")}
    changed = {}
    for cls in (SequenceConcat, SymmetricMulT):
        model = cls(**{**OPTIONS, "epochs": 1}).fit(x, y)
        moved = np.abs(model.transform(other) - model.transform(x)).max(0).reshape(6, 8).max(1) > 1e-4
        changed[cls.__name__] = moved.tolist()
    assert changed == {
        "SequenceConcat": [False, False, True, False, False, True],  # own parts of l, v, a, then the shared ones
        "SymmetricMulT": [True] * 6,
    }


def test_the_hidden_width_sets_the_number_of_parameters():
    facts = {"dims": {"l": 6, "v": 5, "a": 4}, "lengths": dict.fromkeys("lva", 7), "text": "vectors", "encoder": None}
    for cls in (SequenceConcat, SymmetricMulT):
        counts = [
            sum(p.numel() for p in cls(**OPTIONS, hidden=hidden)._make_task(facts).parameters())
            for hidden in (10, 11, None)
        ]
        assert counts[1] - counts[0] == 2 * 48 + 1
        assert counts[2] - counts[0] == 38 * 97
    with pytest.raises(OptionError, match="hidden=0 must be an integer at least 1"):
        SequenceConcat(**OPTIONS, hidden=0).fit(*sequences(40, 0))


def test_mult_has_six_cross_attentions_and_memories_of_twice_the_width():
    facts = {"dims": {"l": 6, "v": 5, "a": 4}, "lengths": dict.fromkeys("lva", 7), "text": "vectors", "encoder": None}
    network = SymmetricMulT(**OPTIONS)._make_task(facts).network
    assert sorted(network.cross) == ["al", "av", "la", "lv", "va", "vl"]
    assert {m: (memory.dim, len(memory.blocks)) for m, memory in network.memory.items()} == dict.fromkeys(
        "lva", (16, 3)
    )
