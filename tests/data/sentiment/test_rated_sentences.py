"""Rated sentences are read out of any of their wrappings, and made up where they cannot be had."""

import io
import tarfile

import numpy as np
import pytest

from unsnarl.data.sentiment import _sentences, rated_sentences
from unsnarl.errors import DataError, FileError

LINES = (
    "1\t2.26666666667\tThe Rock is destined to be ''Conan'' -- and bigger.\n"
    "2\t-0.6\tEffective but too tepid biopic\r\n"
    "3\t1.5\tToo short\n"
    f"4\t1.0\t{'word ' * 31}\n"
    "5\t-3.875\tAbsorbing study by Andr\u00e9 &amp; Mar\u00eda.\n"
)


def packed(name, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_every_wrapping(tmp_path, layers):
    data = LINES.encode()
    for name in ("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt", "v/additional/hutto_ICWSM_2014.tar.gz")[
        :layers
    ]:
        data = packed(name, data)
    path = tmp_path / "file"
    path.write_bytes(data)
    found = rated_sentences(path)
    assert found.words == [
        ["The", "Rock", "is", "destined", "to", "be", '"Conan"', "and", "bigger."],
        ["Effective", "but", "too", "tepid", "biopic"],
        ["Absorbing", "study", "by", "Andre", "Maria."],
    ]
    np.testing.assert_allclose(found.rating, [2.26666666667, -0.6, -3.875])
    assert found.source == str(path)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"1\t5.5\ttoo good to be true\n", DataError, "line 1 .* rating from -4 to 4"),
        (b"1\t0.5\ta fine film\n2 0.5 no tabs here\n", DataError, "line 2 "),
        (b"1\tnan\ta fine film\n", DataError, "line 1 "),
        (b"1\t0.5\tshort\n", DataError, "no sentence of 3 to 30 words"),
        (b"\x1f\x8bnot gzip", FileError, "no readable tar.gz"),
        (packed("other.txt", b"x"), FileError, "holds neither"),
        (b"", FileError, "empty"),
    ],
)
def test_bad_files(tmp_path, data, error, says):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(error, match=says):
        rated_sentences(path)


def test_made_up_sentences_take_their_place_with_a_warning(tmp_path, monkeypatch):
    def no_net():
        raise FileError("no connection")

    monkeypatch.setattr(_sentences, "_fetch", no_net)
    with pytest.warns(UserWarning, match=r"no connection.*made from templates"):
        found = rated_sentences(folder=tmp_path)
    assert found.source == "template"
    assert len(found) == 13_600
    assert all(3 <= len(words) <= 30 for words in found.words)
    assert len({tuple(words) for words in found.words}) > 13_000
    first = found.words[0]
    assert found.rating[0] == pytest.approx(
        0.4 * _sentences._ADJECTIVES[first[first.index("is") + 1]] + 0.6 * _sentences._ADJECTIVES[first[-1][:-1]]
    )
    assert np.abs(found.rating).max() <= 4


def test_what_was_fetched_is_kept(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(_sentences, "_fetch", lambda: calls.append(1) or LINES.encode())
    first, second = rated_sentences(folder=tmp_path / "new"), rated_sentences(folder=tmp_path / "new")
    assert len(calls) == 1
    assert first.words == second.words
    assert first.source == second.source == "vader"


def test_a_download_must_be_the_published_file(monkeypatch):
    def fake(command, **_):
        folder = command[command.index("--dest") + 1]
        with open(f"{folder}/v.tar.gz", "wb") as file:
            file.write(packed("movieReviewSnippets_GroundTruth.txt", LINES.encode()))
        return _sentences.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(_sentences.subprocess, "run", fake)
    with pytest.raises(FileError, match="not the published one"):
        _sentences._fetch()
