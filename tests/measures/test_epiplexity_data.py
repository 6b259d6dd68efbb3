"""What epiplexity is measured on: rows of tokens from arrays, sources and files; and files in their order."""

import json
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from unsnarl.data.known._automata import CellularAutomaton
from unsnarl.data.known._markov import MarkovSource
from unsnarl.errors import DataError, FileError, MissingExtraError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.measures.epiplexity import as_token_rows, pair_rows, rank_files, read_dataset, read_tokens, tokenize

RULE = CellularAutomaton(90, width=6, steps=1)


# --- rows of tokens --------------------------------------------------------------------------------------------------


def test_a_stream_is_cut_and_rows_are_kept():
    stream = as_token_rows(np.arange(1000) % 9, context=30)
    assert stream.rows.shape == (33, 30)
    assert (stream.vocabulary, stream.scored_per_row) == (9, 29)
    rows = as_token_rows(np.zeros((5, 7), np.uint8), scored=[0, 0, 1, 1, 0, 1, 1])
    assert (rows.vocabulary, rows.first, rows.scored_per_row) == (256, 2, 4)
    images = as_token_rows(np.zeros((4, 8, 8, 3), np.uint8), context=64)
    assert images.rows.shape == (12, 64)
    assert as_token_rows(stream) is stream


def test_every_row_is_read_once_and_held_out_rows_never():
    data = as_token_rows(np.arange(600).reshape(60, 10))
    reader = data.reader(batch_size=5, seed=1, held_out=10)
    seen = torch.cat([reader(i) for i in range(10)] + [reader.held_out])[:, 0].tolist()
    assert sorted(seen) == list(range(0, 600, 10))
    assert torch.equal(reader(3), data.reader(batch_size=5, seed=1, held_out=10)(3))
    assert not torch.equal(reader(3), data.reader(batch_size=5, seed=2, held_out=10)(3))
    with pytest.raises(DataError, match="another pass"):
        reader(10)


def test_endless_sources_of_either_kind():
    reader = as_token_rows(RULE).reader(batch_size=4, seed=0)
    assert reader(0).shape == (4, 12)
    assert not torch.equal(reader(0), reader(1))
    chain = as_token_rows(MarkovSource([[0.9, 0.1], [0.5, 0.5]]), context=20)
    assert chain.reader(batch_size=4, seed=0)(7).shape == (4, 20)
    assert chain.scored_per_row == 19


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([0.5, 1.0], {}, "whole numbers"),
        (np.zeros(300, int) - 1, {}, "negative token -1"),
        (np.arange(300), {"vocabulary": 10}, "allows 0 to 9"),
        (np.arange(20), {"context": 16}, "1 row of 16 tokens"),
        (np.zeros((4, 1), int), {}, "4 rows of 1 tokens"),
        (np.zeros((4, 3), int), {"scored": [1, 0, 0]}, "nothing to predict"),
        (np.zeros((4, 3), int), {"scored": [1, 0]}, "one mark a column"),
        (np.zeros((4, 3, 2), int), {}, "only images"),
        (np.zeros(0, int), {}, "shape"),
    ],
)
def test_data_that_are_no_rows(data, options, message):
    with pytest.raises(DataError, match=message):
        as_token_rows(np.asarray(data), **options)


def test_pairs_are_joined_and_scored():
    x, y = np.arange(8).reshape(4, 2), np.arange(12).reshape(4, 3)
    given_x = pair_rows(x, y)
    np.testing.assert_array_equal(given_x.rows, np.concatenate([x, y], axis=1))
    assert given_x.scored.tolist() == [False, False, True, True, True]
    assert pair_rows(y, x, score="both").scored_per_row == 4
    with pytest.raises(DataError, match="one row a pair"):
        pair_rows(x, y[:2])


def test_files_of_every_kind(tmp_path):
    (tmp_path / "a.txt").write_text("grüß " * 60, encoding="utf-8")
    text = read_tokens(tmp_path / "a.txt", context=32)
    assert bytes(text.rows.reshape(-1)[:7].astype(np.uint8)).decode() == "grüß "
    assert (text.vocabulary, text.unit) == (256, "bytes")
    np.save(tmp_path / "t.npy", np.arange(500) % 40)
    tokens = read_tokens(tmp_path / "t.npy", context=50)
    assert (tokens.vocabulary, tokens.unit, tokens.count) == (40, "tokens", 10)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    colour = read_tokens(tmp_path / "p.png", context=30, color=True)
    np.testing.assert_array_equal(colour.rows.reshape(-1), pixels.reshape(-1))
    grey = read_tokens(tmp_path / "p.png", context=30)
    assert grey.rows.shape == (20, 30)
    (tmp_path / "many").mkdir()
    for name in "ab":
        Image.fromarray(pixels).save(tmp_path / "many" / f"{name}.png")
    np.testing.assert_array_equal(read_tokens(tmp_path / "many", context=30).rows, np.concatenate([grey.rows] * 2))
    assert read_tokens(tmp_path / "a.txt", context=32, limit=64).count == 2


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no image at all")
    (tmp_path / "latin.txt").write_bytes("grüß".encode("latin-1") * 50)
    np.save(tmp_path / "real.npy", np.ones(400))
    (tmp_path / "short.txt").write_text("short")
    for name, error, message in (
        ("absent.txt", FileError, "there is no file"),
        ("empty.txt", FileError, "empty"),
        ("broken.png", FileError, "cannot read the image"),
        ("real.npy", DataError, "real.npy: data must hold tokens"),
        ("short.txt", DataError, "short.txt: data gives 0 rows"),
        ("folder", FileError, "holds no images"),
    ):
        with pytest.raises(error, match=message):
            read_tokens(tmp_path / name)
    with pytest.raises(FileError, match="not UTF-8"):
        read_tokens(tmp_path / "latin.txt", tokenizer=Words())
    with pytest.raises(FileError, match="cannot load the tokenizer"):
        read_tokens(tmp_path / "short.txt", tokenizer=str(tmp_path / "no-tokenizer"))


class Words:
    """A tokenizer with the two methods that are needed: one token a letter."""

    name_or_path = "letters"

    def __len__(self):
        return 128

    def encode(self, text, add_special_tokens=True):
        assert not add_special_tokens
        return [ord(c) for c in text]


def test_tokenizers_and_published_sets(monkeypatch):
    data = tokenize(["abc" * 30, "de" * 30], Words(), context=50)
    assert (data.vocabulary, data.unit, data.count) == (128, "tokens of letters", 3)
    assert tokenize(["abc" * 30], Words(), context=10, limit=45).count == 4
    with pytest.raises(DataError, match="found a int"):
        tokenize([3], Words())
    with pytest.raises(OptionError, match="tokenizer is a int"):
        tokenize(["abc"], 3)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match="datasets"):
        read_dataset("Skylion007/openwebtext")
    fake = type(sys)("datasets")
    fake.load_dataset = lambda name, split, streaming: ({"text": f"{name} {split} "} for _ in range(1000))
    monkeypatch.setitem(sys.modules, "datasets", fake)
    found = read_dataset("who/what", limit=1280, context=64)
    assert (found.count, found.name) == (20, "who/what")
    with pytest.raises(DataError, match="no column 'code'; it has 'text'"):
        read_dataset("who/what", column="code")


# --- rankings --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    (folder / "noise.bin").write_bytes(rng.bytes(16_000))
    words = [bytes(rng.integers(97, 123, 4)) for _ in range(8)]
    (folder / "words.txt").write_bytes(b"".join(words[i] for i in rng.integers(0, 8, 4000)))
    return folder


def test_words_have_more_structure_than_noise_which_gzip_does_not_see(files, tmp_path):
    seen = []
    ranking = rank_files(
        [files / "noise.bin", files / "words.txt"], sizes=[(1, 32)], context=16, method="prequential", run=tmp_path,
        progress=False, on_step=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    assert list(ranking.frontiers) == ["words.txt", "noise.bin"]
    table = ranking.table().set_index("data")
    assert table.loc["words.txt", "S"] > 3 * table.loc["noise.bin", "S"]
    assert table.loc["noise.bin", "gzip"] > table.loc["words.txt", "gzip"]
    assert table.loc["noise.bin", "H"] > 7.5
    assert seen[-1][0] == seen[-1][1]
    assert ranking.finding[0].startswith("words.txt has the most structure")
    assert any("gzip leaves noise.bin the largest" in sentence for sentence in ranking.finding)
    kept = json.loads(json.dumps(ranking.to_dict(), allow_nan=False))
    assert [row["data"] for row in kept["ranking"]] == ["words.txt", "noise.bin"]
    again = rank_files([files / "noise.bin", files / "words.txt"], sizes=[(1, 32)], context=16, method="prequential",
                       run=tmp_path, progress=False)  # fmt: skip
    pd.testing.assert_frame_equal(again.table(), ranking.table())
    assert ranking.plot().axes


def test_bad_files_and_mixtures(files, tmp_path):
    np.save(tmp_path / "tokens.npy", np.arange(9000) % 900)
    np.save(tmp_path / "few.npy", np.arange(9000) % 9)
    (tmp_path / "short.txt").write_text("x" * 900)
    with pytest.raises(DataError, match="files of one kind"):
        rank_files([files / "words.txt", tmp_path / "tokens.npy"])
    with pytest.raises(DataError, match=r"short.txt has 14 rows of 64 tokens, enough for 1 steps"):
        rank_files([files / "words.txt", tmp_path / "short.txt"])
    with pytest.raises(OptionError, match="at least one file"):
        rank_files([])
    with pytest.raises(OptionError, match="list"):
        rank_files("words.txt")
    with pytest.raises(OptionError, match="twice"):
        rank_files([files / "words.txt", files / "words.txt"])
    with pytest.raises(FileError, match="no file"):
        rank_files([files / "absent.txt"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", EstimatorWarning)
        with pytest.raises(EstimatorWarning, match="up to 8 in one file and 899 in another"):
            rank_files([tmp_path / "tokens.npy", tmp_path / "few.npy"])
