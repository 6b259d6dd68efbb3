"""DLF from outside: it learns, takes apart, explains, saves, resumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from unsnarl.errors import FileError, NotFittedError
from unsnarl.nn._text_host import TextHost
from unsnarl.systems.multimodal.dlf import DLF, PRESETS


def state(model):
    return {name: t.clone() for name, t in model.task_.state_dict().items()}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_it_learns_from_all_three_modalities(fitted, data):
    x, y = data(100, 2)
    guess = np.abs(y - np.median(y)).mean()
    found = np.abs(fitted.predict(x) - y).mean()
    assert found < 0.6 * guess
    assert fitted.score(x, y) > 0.6
    history = fitted.history_
    assert list(history["epoch"]) == list(range(1, 7))
    assert fitted.best_epoch_ == history.set_index("epoch")["valid_mae"].idxmin()
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]
    x_valid, y_valid = data(60, 1)
    assert np.abs(fitted.predict(x_valid) - y_valid).mean() == pytest.approx(history["valid_mae"].min(), abs=1e-5)


def test_both_forms_of_arguments_are_one(fitted, data):
    x, y = data(20, 3)
    parts = (x["text"], x["audio"], x["vision"])
    assert (fitted.predict(*parts, mask=x["mask"]) == fitted.predict(x)).all()
    assert (fitted.predict(*parts) == fitted.predict(x)).all()  # rows of zeros say the same as the mask
    assert fitted.score(*parts, y) == fitted.score(x, y)
    assert fitted.loss_terms(*parts, y) == fitted.loss_terms(x, y)


def test_predict_all_has_five_heads(fitted, data):
    x, y = data(300, 4)
    heads = fitted.predict_all(x)
    assert list(heads) == ["final", "shared", "l", "v", "a"]
    assert all(values.shape == (300,) for values in heads.values())
    np.testing.assert_allclose(heads["final"], fitted.predict(x), atol=1e-6)
    guess = np.abs(y - np.median(y)).mean()
    assert all(np.abs(values - y).mean() < guess for values in heads.values())


def test_transform_gives_means_of_the_disentangled_or_what_the_heads_read(fitted, data):
    x, _ = data(12, 5)
    parts = fitted.transform(x)
    assert {part: {m: v.shape for m, v in by.items()} for part, by in parts.items()} == {
        "specific": dict.fromkeys("lva", (12, 8)),
        "shared": dict.fromkeys("lva", (12, 8)),
    }
    masks = {m: torch.tensor(x["mask"]) for m in "lva"}
    inputs = {m: torch.tensor(x[name]) for m, name in (("l", "text"), ("v", "vision"), ("a", "audio"))}
    with torch.no_grad():
        out = fitted.task_.network(inputs, masks)
    windows = x["mask"][:, 2:]  # windows of 3 that lie wholly in the words
    assert (out.masks["a"].numpy() == windows).all()
    for row in range(12):
        np.testing.assert_allclose(
            parts["specific"]["a"][row], out.specific["a"][row][windows[row]].mean(0).numpy(), atol=1e-5
        )
    fused = fitted.transform(x, stage="fused")
    np.testing.assert_allclose(fused["specific"]["v"], out.focused["v"].numpy(), atol=1e-5)
    np.testing.assert_allclose(fused["shared"]["l"], out.read_shared["l"].numpy(), atol=1e-5)


def test_loss_terms_are_means_over_batches(fitted, data):
    x, y = data(50, 6)
    terms = fitted.loss_terms(x, y)
    assert terms["task_final"] == pytest.approx(np.abs(fitted.predict(x) - y).mean(), abs=1e-5)
    weights = {"final": 1, "shared": 1, "l": 3, "v": 1, "a": 1}
    assert terms["task"] == pytest.approx(sum(w * terms[f"task_{head}"] for head, w in weights.items()), abs=1e-4)
    rest = terms["reconstruction"] + terms["specific"] + 0.1 * (terms["margin"] + terms["orthogonality"])
    assert terms["loss"] == pytest.approx(terms["task"] + 0.1 * rest, abs=1e-4)
    first = fitted.loss_terms({k: v[:40] for k, v in x.items()}, y[:40])
    last = fitted.loss_terms({k: v[40:] for k, v in x.items()}, y[40:])
    assert terms["margin"] == pytest.approx((40 * first["margin"] + 10 * last["margin"]) / 50, abs=1e-5)


def test_a_missing_modality_is_replaced_by_its_mean(fitted, data):
    x, _ = data(30, 7)
    with pytest.warns(UserWarning, match="audio missing: the training mean stands in"):
        without = fitted.predict({name: values for name, values in x.items() if name != "audio"})
    mean = fitted.task_.mean_a.numpy()
    np.testing.assert_allclose(without, fitted.predict({**x, "audio": np.tile(mean, (30, 1, 1))}), atol=1e-5)
    train, _ = data(200)
    np.testing.assert_allclose(mean, train["audio"].mean(0), atol=1e-5)
    with pytest.warns(UserWarning, match="vision and audio missing"):
        fitted.predict(x["text"])


def test_it_is_saved_and_loaded(fitted, data, tmp_path):
    x, _ = data(10, 8)
    fitted.save_pretrained(tmp_path / "model")
    loaded = DLF.from_pretrained(tmp_path / "model")
    assert (loaded.predict(x) == fitted.predict(x)).all()
    assert loaded.get_params() == fitted.get_params()
    assert loaded.history_["valid_mae"].tolist() == pytest.approx(fitted.history_["valid_mae"].tolist())


def test_a_killed_run_ends_with_the_same_bits(make, data, tmp_path):
    (x, y), valid = data(70), data(20, 1)
    options = {"epochs": 2, "early_stop": 2, "patience": 0, "embedding_dropout": 0.2, "attention_dropout": 0.3}
    whole = make(**options).fit(x, y, validation=valid)
    assert whole.steps_per_epoch_ == 2

    def die(step, _):
        if step == 3:  # in the middle of the second epoch
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        make(**options).fit(x, y, validation=valid, run=folder, checkpoint_every=1, callbacks=[die])
    resumed = make(**options).fit(x, y, validation=valid, run=folder, checkpoint_every=1)
    assert_equal(state(resumed), state(whole))
    assert resumed.history_.equals(whole.history_)
    again = make(**options).fit(x, y, validation=valid, run=folder)  # nothing is left to do
    assert_equal(state(again), state(whole))


def test_training_stops_early_and_keeps_the_best_epoch(make, data):
    x, y = data(64)
    weights = {}

    def remember(step, model):
        weights[step] = model.task_.network.fusion_head.weight.detach().clone()

    model = (
        make(lr=0.5, epochs=30, early_stop=2, accumulate=1, callbacks=None)
        if False
        else make(lr=0.5, epochs=30, early_stop=2, accumulate=1)
    )
    model.fit(x, y, validation=data(20, 1), callbacks=[remember])
    epochs = len(model.history_)
    assert epochs < 30
    assert epochs == model.best_epoch_ + 2
    kept = weights[model.best_epoch_ * model.steps_per_epoch_]
    assert torch.equal(model.task_.network.fusion_head.weight, kept)


def test_the_seed_decides(make, data):
    x, y = data(50)
    first, second, third = (make(epochs=1, seed=seed).fit(x, y) for seed in (0, 0, 1))
    assert_equal(state(first), state(second))
    assert not torch.equal(first.task_.mean_l, third.task_.mean_l)  # another share is held out
    assert not hasattr(first.task_, "watch")
    assert not hasattr(first.task_, "optimizers_")


def test_the_presets_are_the_official_configurations():
    mosi, mosei = DLF.preset("mosi"), DLF.preset("mosei", seed=3)
    assert (mosi.kernel, mosi.attention_dropout, mosi.attention_dropout_audio, mosi.attention_dropout_vision) == (
        5,
        0.3,
        0.2,
        0.0,
    )
    assert (mosi.embedding_dropout, mosi.text_dropout, mosi.output_dropout) == (0.2, 0.5, 0.5)
    assert (mosei.kernel, mosei.attention_dropout, mosei.attention_dropout_audio, mosei.row) == (3, 0.5, 0.0, 10)
    assert (mosei.embedding_dropout, mosei.text_dropout, mosei.output_dropout, mosei.seed) == (0.0, 0.1, 0.5, 3)
    for model in (mosi, mosei):
        assert (model.d, model.heads, model.layers, model.lr) == (50, 10, 2, 1e-4)
        assert (model.batch_size, model.accumulate, model.clip_value) == (16, 10, 0.6)
        assert (model.patience, model.early_stop) == (5, 10)
    assert set(PRESETS) == {"mosi", "mosei"}
    assert clone(mosei).get_params() == mosei.get_params()


def test_modalities_that_are_not_aligned_may_have_lengths_of_their_own(make, data):
    x, y = data(40)
    longer = {**x, "audio": np.repeat(x["audio"], 2, 1)}
    longer.pop("mask")
    model = make(aligned=False, epochs=1).fit(longer, y)
    assert model.facts_["lengths"] == {"l": 8, "v": 8, "a": 16}
    assert model.predict(longer).shape == (40,)
    assert model.explain(longer).attention["audio"].shape == (40, 14)


def test_the_last_valid_step_is_read_whatever_the_padding_is(make, data):
    x, y = data(40)
    filled = {name: values.copy() for name, values in x.items()}
    rows = ~x["mask"]
    for name in ("text", "audio", "vision"):
        filled[name][rows] = 5.0
    for pool, same in (("last_valid", True), ("last", False)):
        model = make(pool=pool, epochs=1).fit(x, y)
        assert np.allclose(model.predict(filled), model.predict(x), atol=1e-5) == same


def test_before_fit():
    with pytest.raises(NotFittedError):
        DLF(None).predict(np.zeros((2, 6, 3)), np.zeros((2, 6, 3)), np.zeros((2, 6, 3)))


class Words(nn.Module):
    """Ids to vectors, as a text encoder of transformers is called."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 6)

    def forward(self, input_ids, attention_mask):
        return (self.table(input_ids) * attention_mask[:, :, None],)


def ids(n, seed=0):
    rng = np.random.default_rng(seed)
    words = rng.integers(1, 50, (n, 8))
    mask = np.arange(8) < rng.integers(4, 9, n)[:, None]
    return np.stack([words * mask, mask, np.zeros_like(words)], 1)


@pytest.mark.parametrize("finetune", [True, False])
def test_a_module_reads_ids_and_learns_with_the_network(make, data, finetune):
    torch.manual_seed(0)
    encoder = Words()
    before = encoder.table.weight.detach().clone()
    x, y = data(40)
    text = ids(40)
    model = make(text_encoder=encoder, finetune=finetune, epochs=1).fit(text, x["audio"], x["vision"], y)
    assert torch.equal(encoder.table.weight, before)  # the one that was given is left alone
    learned = model.task_.encoder.host.table.weight
    assert torch.equal(learned, before) != finetune
    assert model.facts_["dims"]["l"] == 6
    assert model.predict(text, x["audio"], x["vision"]).shape == (40,)


class FewWords(nn.Module):
    config = type("Config", (), {"hidden_size": 6})

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(200, 6)

    def forward(self, input_ids, attention_mask):
        return (self.table(input_ids) * attention_mask[:, :, None],)


def fast_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"[PAD]": 0, "[UNK]": 1, **{f"w{i}": i + 2 for i in range(50)}}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]")


def test_strings_and_words_go_through_a_host(make, data):
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    host = TextHost(FewWords(), fast_tokenizer(), "few words")
    x, y = data(40)
    words = [[f"w{(7 * i + t) % 50}" for t in range(int(m.sum()))] for i, m in enumerate(x["mask"])]
    by_word = make(text_encoder=host, epochs=1).fit(words, x["audio"], x["vision"], y)
    assert by_word.facts_["text"] == "words"
    sentences = [" ".join(line) for line in words]
    by_piece = make(text_encoder=host, epochs=1).fit(sentences, x["audio"], x["vision"], y)
    assert by_piece.facts_["text"] == "pieces"
    # here each word is one piece, so the two ways are one
    np.testing.assert_allclose(
        by_word.predict(words, x["audio"], x["vision"]), by_piece.predict(sentences, x["audio"], x["vision"]), atol=1e-5
    )
    with pytest.raises(ValueError, match="the model was fitted on text as pieces, but this text is words"):
        by_piece.predict(words, x["audio"], x["vision"])
    heard = by_word.explain(words, x["audio"], x["vision"]).words_heard(0)
    assert heard["words"].iloc[0] == " ".join(words[0][:3])


def test_an_encoder_of_transformers_is_saved_with_its_tokenizer(make, data, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    torch.manual_seed(0)
    encoder = transformers.BertModel(config)
    x, y = data(40)
    sentences = [" ".join(f"w{(3 * i + t) % 50}" for t in range(6)) for i in range(40)]
    model = make(text_encoder=encoder, tokenizer=fast_tokenizer(), epochs=1).fit(sentences, x["audio"], x["vision"], y)
    assert model.task_.encoder.host.model.pooler.dense.weight.grad is None
    model.save_pretrained(tmp_path)
    loaded = DLF.from_pretrained(tmp_path)
    expected = model.predict(sentences, x["audio"], x["vision"])
    assert (loaded.predict(sentences, x["audio"], x["vision"]) == expected).all()
    assert loaded.get_params()["text_encoder"] == "BertModel"


def test_a_module_without_a_name_cannot_be_saved(make, data, tmp_path):
    x, y = data(40)
    model = make(text_encoder=Words(), epochs=1).fit(ids(40), x["audio"], x["vision"], y)
    with pytest.raises(FileError, match="a text encoder that is not a model of transformers cannot be saved"):
        model.save_pretrained(tmp_path)
