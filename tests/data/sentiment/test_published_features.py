"""Small files in the formats of the published features of CMU-MOSI, CMU-MOSEI and MUStARD."""

import json
import pickle

import h5py
import numpy as np
import pytest

from unsnarl.data.sentiment import read_aligned, read_mustard
from unsnarl.errors import DataError, FileError, UnknownNameError


def segment(number, words, *, label=0.5):
    n = len(words)
    visual = np.full((n, 4), number, dtype=np.float64)
    acoustic = np.full((n, 3), 10.0 + number)
    return (words, visual, acoustic), np.array([[label]], dtype=np.float32), f"clip[{number}]"


def segments():
    return {
        "train": [segment(0, ["a", "fine", "film"], label=-1.4), segment(1, ["no"])],
        "dev": [segment(2, ["so", "so"])],
        "test": [segment(3, ["one", "two", "three", "four"], label=3.0)],
    }


def mmsa(n=3, **changes):
    part = {
        "raw_text": [f"sentence number {i}" for i in range(n)],
        "audio": np.arange(n * 5 * 2, dtype=np.float64).reshape(n, 5, 2),
        "vision": np.ones((n, 5, 3)),
        "id": [f"v$_${i}" for i in range(n)],
        "text": np.full((n, 5, 7), 2.0, dtype=np.float32),
        "text_bert": np.stack([np.full((n, 5), 101.0), np.tile([1.0, 1, 1, 0, 0], (n, 1)), np.zeros((n, 5))], axis=1),
        "annotations": ["Neutral"] * n,
        "classification_labels": np.zeros(n),
        "regression_labels": np.linspace(-3, 3, n),
    }
    return part | changes


def write(path, value):
    path.write_bytes(pickle.dumps(value, protocol=4))
    return path


def test_segments_of_words(tmp_path):
    found = read_aligned(write(tmp_path / "mosi.pkl", segments()))
    assert repr(found) == "AlignedFeatures(2 train, 1 dev, 1 test; audio 3, vision 4)"
    assert found.words[0] == ["a", "fine", "film"]
    assert found.segment == [f"clip[{i}]" for i in range(4)]
    np.testing.assert_array_equal(found.y, np.float32([-1.4, 0.5, 0.5, 3.0]))
    assert found.audio.shape == (4, 4, 3)
    assert found.mask.sum(axis=1).tolist() == [3, 1, 2, 4]
    for row in range(4):
        assert (found.vision[row][found.mask[row]] == row).all()
        assert (found.audio[row][found.mask[row]] == 10 + row).all()
    assert (found.audio[~found.mask] == 0).all()
    assert found.text is None
    test = found.part("test")
    assert len(test) == 1
    assert test.words == [["one", "two", "three", "four"]]
    with pytest.raises(UnknownNameError, match="known: train, dev, test"):
        found.part("holdout")


def test_padded_arrays_of_mmsa(tmp_path):
    found = read_aligned(write(tmp_path / "aligned_50.pkl", {"train": mmsa(), "valid": mmsa(2), "test": mmsa(4)}))
    assert found.split.tolist() == ["train"] * 3 + ["dev"] * 2 + ["test"] * 4
    assert found.audio.dtype == np.float32
    np.testing.assert_array_equal(found.part("dev").audio, mmsa(2)["audio"])
    assert found.text_bert.dtype == np.int64
    assert found.text_bert.shape == (9, 3, 5)
    assert found.text.shape == (9, 5, 7)
    assert found.mask.tolist() == [[True] * 3 + [False] * 2] * 9
    assert found.words[1] == ["sentence", "number", "1"]
    np.testing.assert_allclose(found.part("test").y, [-3, -1, 1, 3])


@pytest.mark.parametrize("value", [segments(), {"train": mmsa(), "test": mmsa(2)}], ids=["words", "mmsa"])
def test_a_conversion_is_two_lines(tmp_path, value):
    found = read_aligned(write(tmp_path / "x.pkl", value))
    again = read_aligned(found.save(tmp_path / "x.npz"))
    for name in ("audio", "vision", "mask", "y", "split", "text", "text_bert"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (again.words, again.segment, again.zeroed) == (found.words, found.segment, found.zeroed)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        assert not any(archive[name].dtype == object for name in archive.files)
    data = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(FileError, match="damaged"):
        read_aligned(tmp_path / "x.npz")


def test_infinite_frames_become_zero_and_are_counted(tmp_path):
    value = segments()
    value["train"][0][0][2][1, 0] = -np.inf
    value["train"][0][0][2][1, 2] = np.nan
    value["test"][0][0][1][2] = np.nan
    with pytest.warns(UserWarning, match="1 frames of audio and 1 frames of vision held values that are not finite"):
        found = read_aligned(write(tmp_path / "x.pkl", value))
    assert found.zeroed == {"audio": 1, "vision": 1}
    assert found.audio[0, 1].tolist() == [0, 10, 0]
    assert (found.vision[3, 2] == 0).all()


def test_files_that_do_not_fit(tmp_path):
    odd = segments()
    odd["dev"].append(((["a", "b"], np.ones((2, 4)), np.ones((3, 3))), np.array([[1.0]]), "clip"))
    wide = segments()
    wide["dev"] = [((["a"], np.ones((1, 9)), np.ones((1, 3))), 1.0, "clip")]
    cases = [
        (odd, "utterance 1 of dev .* 2 words, visual .2, 4. and acoustic .3, 3.: not aligned"),
        (wide, "the splits have vision of different shapes"),
        ({"train": [("words", 1.0)]}, "utterance 0 of train .* is not"),
        ({"train": []}, "train of .* is empty"),
        ({"something": []}, "none of the splits"),
        ([1, 2], "holds no splits but a list"),
        ({"train": mmsa(audio=np.ones((3, 9, 2)))}, "not aligned: 3 labels, audio .3, 9, 2."),
        ({"train": {"audio": np.ones((3, 5, 2))}}, "has no 'vision'; it has audio"),
        ({"train": mmsa(text_bert=np.ones((3, 5)))}, "text_bert .* has shape"),
        ({"train": mmsa(regression_labels=np.array([1, np.nan, 0]))}, "1 labels are not finite"),
        ({"train": 5}, "neither of the known formats"),
    ]
    for value, says in cases:
        with pytest.raises(DataError, match=says):
            read_aligned(write(tmp_path / "x.pkl", value))


class Burglar:
    def __reduce__(self):
        return (open, ("loot", "w"))


def test_a_malicious_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = segments()
    value["train"].append(Burglar())
    with pytest.raises(FileError, match="open, which is neither an array"):
        read_aligned(write(tmp_path / "mosi.pkl", value))
    assert not (tmp_path / "loot").exists()


@pytest.fixture
def mustard(tmp_path):
    rows = {
        "1_60": {"utterance": "It never hurts.", "speaker": "SHELDON", "show": "BBT", "sarcasm": True},
        "2_99": {"utterance": "Oh great", "speaker": "CHANDLER", "show": "FRIENDS", "sarcasm": False},
    }
    (tmp_path / "sarcasm_data.json").write_text(json.dumps(rows))
    lines = [
        {"features": [{"layers": [{"index": -k, "values": [i + k, 2.0]} for k in range(5)]}, {"layers": []}]}
        for i in range(2)
    ]
    (tmp_path / "bert-output.jsonl").write_text("\n".join(map(json.dumps, lines)))
    audio = {"1_60": np.array([[1.0, 3.0], [-np.inf, 4.0]]), "2_99": np.array([[5.0], [6.0]])}  # feature x time
    write(tmp_path / "audio_features.p", audio)
    (tmp_path / "features" / "utterances_final").mkdir(parents=True)
    with h5py.File(tmp_path / "features" / "utterances_final" / "resnet_pool5.hdf5", "w") as file:
        file["1_60"] = np.array([[1.0, 2, 3], [3, 4, 5]])
        file["2_99"] = np.ones((1, 3))
    return tmp_path


def test_mustard(mustard):
    with pytest.warns(UserWarning, match="1 frames of audio"):
        found = read_mustard(mustard)
    assert found.y.tolist() == [1, 0]
    assert found.words[1] == ["Oh", "great"]
    np.testing.assert_allclose(found.text[:, 0], [[1.5, 2], [2.5, 2]])  # layers 0 to 3
    np.testing.assert_allclose(found.audio[:, 0], [[2, 2], [5, 6]])  # the frame's -inf became 0
    np.testing.assert_allclose(found.vision[:, 0], [[2, 3, 4], [1, 1, 1]])
    assert found.segment == ["1_60", "2_99"]
    assert set(found.split) == {"all"}


@pytest.mark.filterwarnings("ignore:1 frames of audio")
def test_mustard_with_parts_missing(mustard):
    write(mustard / "audio_features.p", {"1_60": np.ones((2, 2))})
    with pytest.raises(DataError, match="no features of the utterance '2_99'"):
        read_mustard(mustard)
    (mustard / "bert-output.jsonl").write_text('{"features": []}')
    with pytest.raises(FileError, match=r"line 1 .* holds no BERT layers"):
        read_mustard(mustard)
    (mustard / "bert-output.jsonl").unlink()
    with pytest.raises(FileError, match="no file"):
        read_mustard(mustard)
    (mustard / "sarcasm_data.json").write_text('{"1": {}}')
    with pytest.raises(FileError, match=r"sarcasm_data\.json is damaged"):
        read_mustard(mustard)
