"""ITHPRegressor on text hosts: fine-tuned and frozen, alignment of words and pieces, saving, data sets with attributes."""

import types

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.errors import DataError, FileError
from unsnarl.nn._text_host import text_host
from unsnarl.systems.multimodal.ithp import ITHPRegressor

WORDS = ["good", "bad", "film", "unbelievable", "a"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny-bert")
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "good",
        "bad",
        "film",
        "un",
        "##be",
        "##lie",
        "##vable",
        "a",
    ]
    transformers.BertTokenizer(vocab={p: i for i, p in enumerate(pieces)}).save_pretrained(str(folder))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(pieces), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(str(folder))
    return folder


def spoken(n, seed=0):
    rng = np.random.default_rng(seed)
    words = [[WORDS[i] for i in rng.integers(5, size=rng.integers(1, 6))] for _ in range(n)]
    y = np.array([w.count("good") - w.count("bad") for w in words], dtype=np.float32)
    audio = [np.array([[w == "good", w == "bad", rng.random()] for w in row], dtype=np.float32) for row in words]
    vision = [np.array([[len(w), rng.random()] for w in row], dtype=np.float32) for row in words]
    return {"text": words, "audio": audio, "vision": vision}, y


HOSTED = {"bottleneck_dims": (6, 4), "hidden": 8, "lr": 1e-2, "batch_size": 16, "fusion_dropout": 0.0}


@pytest.mark.parametrize("train_host", [True, False])
def test_fine_tuned_and_frozen_hosts(bert, tmp_path, train_host):
    x, y = spoken(64)
    before = text_host(bert)
    pooler = "first" if train_host else "mean"
    model = ITHPRegressor(bert, train_host=train_host, pooler=pooler, **HOSTED).fit(
        x, y, steps=60 if train_host else 250
    )
    assert model.score(x, y) > (0.5 if train_host else 0.2)
    moved = [
        not torch.equal(a, b) for a, b in zip(before.model.parameters(), model.task_.encoder.parameters(), strict=True)
    ]
    assert any(moved) == train_host
    sentences = [" ".join(words) for words in x["text"]]
    np.testing.assert_allclose(model.predict(text=sentences), model.predict(x), atol=1e-5)
    why = model.explain(x)
    assert list(why.table(0)["word"]) == x["text"][0]
    assert why.words is not None
    assert why.word.shape == why.mask.shape
    assert why.effect[:, 1:].any() == (not train_host)  # where the first token alone is pooled, only its shift is heard
    model.save_pretrained(tmp_path)
    again = ITHPRegressor.from_pretrained(tmp_path)
    np.testing.assert_allclose(again.predict(text=sentences), model.predict(text=sentences), atol=1e-6)


def test_mean_pooler_hears_every_shift(bert):
    x, y = spoken(32)
    why = ITHPRegressor(bert, pooler="mean", **HOSTED).fit(x, y, steps=3).explain(x)
    assert (np.abs(why.effect) > 0).sum() > why.mask.sum() * 0.9


def test_word_features_are_repeated_for_pieces(bert):
    model = ITHPRegressor(bert, **HOSTED).fit(*spoken(16), steps=1)
    inputs = model._inputs(
        {"text": [["unbelievable", "film"]], "audio": [np.array([[0, 0, 0.5], [0, 1, 0]])]}, {}, detectors=True
    )
    assert inputs.word.tolist() == [[-1, 0, 0, 0, 0, 1, -1]]
    low, spread = model.task_.scaler.low_0[2].item(), model.task_.scaler.range_0[2].item()
    expected = (0.5 - low) / spread
    np.testing.assert_allclose(
        inputs.detectors[0][0, :, 2], [0, expected, expected, expected, expected, 0, 0], atol=1e-6
    )
    assert inputs.observed[0].all()  # the zeros of [CLS] and [SEP] are targets, as in the official code


def test_published_pads(bert):
    x, y = spoken(16)
    model = ITHPRegressor(bert, attend_pads=True, max_pieces=20, **HOSTED).fit(x, y, steps=1)
    inputs = model._inputs(x, {})
    assert inputs.prime.shape == (16, 20)
    with torch.inference_mode():
        tokens = model.task_.host_tokens(inputs.prime, inputs.mask)
        attended = model.task_.encoder(input_ids=inputs.prime, attention_mask=torch.ones_like(inputs.prime))
    torch.testing.assert_close(tokens, attended.last_hidden_state)


def test_a_module_as_host_is_not_touched(bert, tmp_path):
    host = text_host(bert)
    kept = {k: v.clone() for k, v in host.model.state_dict().items()}
    x, y = spoken(32)
    model = ITHPRegressor(host.model, tokenizer=host.tokenizer, **HOSTED).fit(x, y, steps=3)
    assert all(torch.equal(v, kept[k]) for k, v in host.model.state_dict().items())
    model.save_pretrained(tmp_path)
    np.testing.assert_allclose(ITHPRegressor.from_pretrained(tmp_path).predict(x), model.predict(x), atol=1e-6)


class Bag(nn.Module):
    """No model of transformers."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 6)

    def forward(self, input_ids, attention_mask):
        return self.table(input_ids)


def test_plain_modules_learn_but_cannot_be_saved(bert, tmp_path):
    model = ITHPRegressor(Bag(), tokenizer=text_host(bert).tokenizer, pooler="mean", **HOSTED).fit(
        *spoken(64), steps=60
    )
    assert model.score(*spoken(64)) > 0.5
    with pytest.raises(FileError, match="not a model of transformers"):
        model.save_pretrained(tmp_path)


def test_words_and_rows_must_agree(bert):
    x, y = spoken(16)
    short = {**x, "audio": [row[:-1] if len(row) > 1 else row for row in x["audio"]]}
    with pytest.raises(DataError, match=r"rows for the \d words of sentence"):
        ITHPRegressor(bert, **HOSTED).fit(short, y, steps=1)
    with pytest.raises(DataError, match="got one string; pass"):
        ITHPRegressor(bert, **HOSTED).fit({**x, "text": "a film"}, y, steps=1)
    with pytest.raises(DataError, match="must be a sentence or a list of words"):
        ITHPRegressor(bert, **HOSTED).fit({**x, "text": [3] * 16}, y, steps=1)


def test_a_data_set_with_attributes(bert):
    x, y = spoken(16)
    tokens, mask = text_host(bert).embed_words(x["text"])
    length = mask.shape[1]

    def padded(rows):
        out = np.zeros((16, length, rows[0].shape[1]), np.float32)
        for place, row in zip(out, rows, strict=True):
            place[: len(row)] = row
        return out

    data = types.SimpleNamespace(
        text=[" ".join(w) for w in x["text"]], words=x["text"], audio=padded(x["audio"]), vision=padded(x["vision"]),
        mask=mask.numpy(), y=y, tokens=lambda: tokens.numpy(),
    )  # fmt: skip
    model = ITHPRegressor(None, **HOSTED).fit(data, steps=3)
    assert model.predict(data).shape == (16,)
    assert np.isfinite(model.score(data))
    assert ITHPRegressor(bert, **HOSTED).fit(data, steps=2).predict(data).shape == (16,)
