"""TriSent: the equations of its labels, the same numbers in any order, builds that go on, the sample."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unsnarl.data.sentiment import _sample, _store, _tokens, _trisent, build_trisent, trisent
from unsnarl.data.sentiment._draws import MODES, draw
from unsnarl.errors import FileError, OptionError

speaks = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


@pytest.fixture
def small_chunks(monkeypatch):
    for module in (_store, _trisent):
        monkeypatch.setattr(module, "CHUNK", 3)


def test_labels_of_the_two_modes():
    for row in range(200):
        rating = float(np.random.default_rng(row).uniform(-4, 4))
        echo, delivery = (draw(mode, 1, row, rating, 6) for mode in MODES)
        r = 0.75 * rating
        assert echo.y == pytest.approx(r)
        f = delivery.factors
        total = 0.75 * r + f["delivery_voice"] + f["delivery_face"]
        assert delivery.y == pytest.approx(np.clip(total, -3, 3))
        for name in ("voice", "face"):
            assert f[f"{name}_valence"] == pytest.approx(np.clip(f[f"delivery_{name}"] + 0.4 * r, -3, 3))
            assert echo.factors[f"{name}_valence"] == pytest.approx(r + echo.factors[f"delivery_{name}"])


def test_what_is_drawn_by_chance():
    drawn = [draw("delivery", 0, row, 0.0, 5) for row in range(2000)]
    voice, face = (np.array([d.factors[f"delivery_{name}"] for d in drawn]) for name in ("voice", "face"))
    assert np.corrcoef(voice, face)[0, 1] == pytest.approx(0.5, abs=0.05)
    assert voice.std() == pytest.approx(1, abs=0.05)
    assert face.std() == pytest.approx(1, abs=0.05)
    for name in ("speaker", "identity"):
        counts = np.unique([str(d.factors[name]) for d in drawn], return_counts=True)[1]
        assert len(counts) == 12
        assert counts.min() > 120
    pitch = np.array([d.prosody["pitch"] for d in drawn])
    assert np.corrcoef(pitch, voice)[0, 1] > 0.85
    echo = [draw("redundant", 0, row, 0.0, 5).factors["delivery_voice"] for row in range(2000)]
    assert np.std(echo) == pytest.approx(1, abs=0.05)


def test_a_draw_depends_on_seed_row_and_mode_alone():
    first, again = draw("delivery", 3, 7, 1.0, 5), draw("delivery", 3, 7, 1.0, 5)
    assert first.factors == again.factors
    np.testing.assert_array_equal(first.expression, again.expression)
    others = [draw("delivery", 4, 7, 1.0, 5), draw("delivery", 3, 8, 1.0, 5), draw("redundant", 3, 7, 1.0, 5)]
    assert all(other.factors["delivery_voice"] != first.factors["delivery_voice"] for other in others)


@speaks
def test_builds_go_on_and_agree_in_any_order(tmp_path, small_chunks, monkeypatch):
    told = []
    first = trisent("delivery", 5, seed=2, folder=tmp_path / "a", source="template", progress=lambda *p: told.append(p))
    assert told == [(1, 2), (2, 2)]
    assert first.source == "template"
    assert len(first) == 5
    assert first.audio.shape == (5, 30, 24)
    assert first.vision.shape == (5, 30, 35)
    assert first.mask.shape == (5, 30)
    assert first.audio.dtype == first.vision.dtype == first.y.dtype == np.float32
    assert (first.mask.sum(axis=1) == [len(words) for words in first.words]).all()
    assert (first.audio[~first.mask] == 0).all()
    assert (first.vision[~first.mask] == 0).all()
    assert first.factors.kinds["speaker"] == first.factors.kinds["identity"] == "discrete"
    assert first.factors.kinds["rating"] == "continuous"
    assert len(first.factors.levels["speaker"]) == 12
    # another folder, one chunk lost in between, two threads
    folder = build_trisent("delivery", 9, seed=2, folder=tmp_path / "b", source="template", tokens=False)
    _store.chunk_file(folder, 1).unlink()
    untouched = os.stat(_store.chunk_file(folder, 0)).st_mtime_ns
    more = trisent("delivery", 12, seed=2, folder=tmp_path / "b", source="template", workers=2)
    assert os.stat(_store.chunk_file(folder, 0)).st_mtime_ns == untouched
    np.testing.assert_array_equal(more.audio[:5], first.audio)
    np.testing.assert_array_equal(more.vision[:5], first.vision)
    np.testing.assert_array_equal(more.y[:5], first.y)
    assert more.text[:5] == first.text
    assert more.rows.tolist() == list(range(12))
    assert not list(folder.glob(".*tmp"))
    # what is there is read without espeak-ng
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert trisent("delivery", 12, seed=2, folder=tmp_path / "b", source="template").text == more.text
    with pytest.raises(FileError, match="espeak-ng"):
        trisent("delivery", 13, seed=2, folder=tmp_path / "b", source="template")


@speaks
def test_folders_that_do_not_fit(tmp_path, small_chunks):
    own = tmp_path / "mine.txt"
    own.write_text(
        "1\t2.0\tquite a good film\n2\t-1.0\tnot so good at all\n3\t-3.0\tthe worst of films\n4\t3\tall is well\n"
    )
    utterances = trisent("redundant", 2, folder=tmp_path, source=own)
    np.testing.assert_allclose(utterances.y, 0.75 * utterances.factors.column("rating"), rtol=1e-6)
    with pytest.raises(OptionError, match="size=5 must be at most 4"):
        trisent("redundant", 5, folder=tmp_path, source=own)
    _store.chunk_file(utterances.folder, 0).write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(FileError, match="damaged"):
        trisent("redundant", 2, folder=tmp_path, source=own)
    own.write_text("1\t2.0\tquite another good film\n" * 4)
    with pytest.raises(FileError, match="built with other sentences"):
        build_trisent("redundant", 4, folder=tmp_path, source=own)
    (utterances.folder / "about.json").write_text("{")
    with pytest.raises(FileError, match="damaged"):
        trisent("redundant", 2, folder=tmp_path, source=own)


@speaks
def test_vectors_are_computed_once_and_shared_by_the_modes(tmp_path, small_chunks, monkeypatch):
    read = []

    def embed_words(sentences, n_words):
        read.extend(sentences)
        vectors = torch.zeros(len(sentences), n_words, 2)
        for i, words in enumerate(sentences):
            vectors[i, : len(words), 0] = torch.tensor([float(len(word)) for word in words])
        return vectors, None

    monkeypatch.setattr(_tokens, "_host", lambda host: SimpleNamespace(embed_words=embed_words))
    sets = [trisent(mode, 5, folder=tmp_path, source="template") for mode in MODES]
    tokens = sets[0].tokens("some/host")
    assert tokens.shape == (5, 30, 2)
    assert tokens.dtype == np.float32
    assert len(read) == 6  # two whole chunks
    np.testing.assert_array_equal(tokens[4, : len(sets[0].words[4]), 0], [len(word) for word in sets[0].words[4]])
    assert (tokens[~sets[0].mask] == 0).all()
    np.testing.assert_array_equal(sets[1].subset([3, 1]).tokens("some/host"), tokens[[3, 1]])
    assert len(read) == 6
    assert sets[0].tokens(torch.nn.Identity()).shape == (5, 30, 2)
    assert len(read) == 11


@pytest.mark.parametrize("mode", MODES)
def test_the_sample_needs_nothing(mode, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    few = trisent(mode, sample=True)
    assert len(few) == 60
    assert few.source == "vader"
    assert few.mode == mode
    tokens = few.tokens()
    assert tokens.shape == (60, 30, 384)
    assert tokens.dtype == np.float32
    assert (np.abs(tokens).sum(axis=-1) > 0).tolist() == few.mask.tolist()
    f = {name: few.factors.column(name) for name in few.factors.names if few.factors.kinds[name] == "continuous"}
    r = 0.75 * f["rating"]
    y = r if mode == "redundant" else np.clip(0.75 * r + f["delivery_voice"] + f["delivery_face"], -3, 3)
    np.testing.assert_allclose(few.y, y, atol=1e-5)
    place = few.mask[..., None]
    audio = (few.audio * place).sum(axis=1) / place.sum(axis=1)
    assert np.corrcoef(audio[:, 2], f["voice_valence"])[0, 1] > 0.7  # loudness
    row = int(few.rows[3])
    assert draw(mode, 0, row, float(f["rating"][3]), len(few.words[3])).factors["roll"] == pytest.approx(f["roll"][3])
    frames = few.frames(3, size=32)
    assert frames.shape == (len(few.words[3]), 32, 32, 3)
    part = few.subset(few.y > 0)
    assert len(part) == (few.y > 0).sum()
    assert (part.tokens() == tokens[few.y > 0]).all()
    assert (part.y > 0).all()
    assert len(trisent(mode, 7, sample=True)) == 7
    assert repr(few).startswith("Utterances(60 in ")
    assert os.path.getsize(_sample.SAMPLE) < 400_000


@speaks
def test_the_sample_is_what_would_be_built(tmp_path):
    """The first short sentence of the sample, spoken and drawn again."""
    from unsnarl.data.sentiment._sentences import RatedSentences

    few = trisent("redundant", sample=True)
    words, rating = few.words[0], few.factors.column("rating")[0]
    row = int(few.rows[0])
    sentences = RatedSentences([words] * (row + 1), np.full(row + 1, rating), "vader")
    with _trisent.Speaker() as speaker:
        chunk = _trisent._chunk("redundant", 0, range(row, row + 1), sentences, speaker)
    np.testing.assert_allclose(chunk["audio"], few.audio[0, : len(words)], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(chunk["vision"], few.vision[0, : len(words)], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mode": "both"}, "mode='both' is not allowed"),
        ({"size": 0}, "size=0 must be an integer at least 1"),
        ({"seed": -1}, "seed=-1 must be an integer at least 0"),
    ],
)
def test_wrong_options(arguments, says):
    for function in (trisent, build_trisent):
        with pytest.raises(OptionError, match=says):
            function(**arguments)


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("UNSNARL_CACHE", str(tmp_path))
    assert _store.cache_folder() == tmp_path / "trisent"
    monkeypatch.delenv("UNSNARL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert _store.cache_folder() == tmp_path / "home" / ".cache" / "unsnarl" / "trisent"
    assert _store.cache_folder(tmp_path / "x") == tmp_path / "x"
