"""The features that are published for CMU-MOSI, CMU-MOSEI and MUStARD, read by path into one shape.

| file | from | holds |
|---|---|---|
| `mosi.pkl`, `mosei.pkl` | BERT_multimodal_transformer (Rahman et al. 2020) | per split a list of `((words, visual, acoustic), label, segment)` |
| `aligned_50.pkl` | MMSA (Yu et al. 2021) | per split a dict with `text_bert`, `text`, `audio`, `vision`, `regression_labels`, `raw_text`, `id` |
| folder `data` | MUStARD (Castro et al. 2019) | `sarcasm_data.json`, `bert-output.jsonl`, `audio_features.p`, `features/utterances_final/resnet_pool5.hdf5` |

Pickles are read by `read_pickle`, which runs nothing of them. `AlignedFeatures.save` writes an .npz without pickles, so that
a conversion is two lines: `read_aligned("mosi.pkl").save("mosi.npz")`, and from then on `read_aligned("mosi.npz")`.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unsnarl.data.sentiment._pickles import read_pickle
from unsnarl.errors import DataError, FileError, UnknownNameError
from unsnarl.files import atomic_write, check_readable

PathLike = str | os.PathLike[str]

SPLITS = ("train", "dev", "test")
_DEV = {"valid": "dev", "validation": "dev"}
_LAYERS = 4  # of BERT, averaged at the first piece, as MUStARD's own code does


@dataclass(frozen=True, repr=False, eq=False)
class AlignedFeatures:
    """n utterances, each with T aligned places; shorter ones are filled with zeros.

    Attributes:
        words: words of each utterance (as given; text split at white space where the file has no words).
        audio: (n, T, d_a).
        vision: (n, T, d_v).
        mask: whether a place is part of the utterance, (n, T).
        y: labels, (n,): sentiment in [-3, 3], or 0 and 1 for sarcasm.
        split: "train", "dev", "test", or "all" where the set has no fixed split, (n,).
        segment: names of the utterances.
        text: text features (n, T, d_t), where the file has them.
        text_bert: pieces, mask and segment numbers of BERT, (n, 3, T), where the file has them.
        zeroed: frames of audio and of vision with a value that was not finite; those values were set to 0.
    """

    words: list[list[str]]
    audio: Float[np.ndarray, "n T d_a"]
    vision: Float[np.ndarray, "n T d_v"]
    mask: Bool[np.ndarray, "n T"]
    y: Float[np.ndarray, " n"]
    split: np.ndarray
    segment: list[str]
    text: Float[np.ndarray, "n T d_t"] | None
    text_bert: Int[np.ndarray, "n 3 T"] | None
    zeroed: dict[str, int]

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        parts = ", ".join(f"{(self.split == name).sum():,} {name}" for name in dict.fromkeys(self.split.tolist()))
        return f"AlignedFeatures({parts}; audio {self.audio.shape[2]}, vision {self.vision.shape[2]})"

    def subset(self, indices: Any) -> AlignedFeatures:
        """Some of the utterances, by whole numbers, a boolean mask or a slice."""
        chosen = np.arange(len(self))[indices]
        return replace(
            self,
            words=[self.words[i] for i in chosen],
            segment=[self.segment[i] for i in chosen],
            audio=self.audio[chosen],
            vision=self.vision[chosen],
            mask=self.mask[chosen],
            y=self.y[chosen],
            split=self.split[chosen],
            text=None if self.text is None else self.text[chosen],
            text_bert=None if self.text_bert is None else self.text_bert[chosen],
        )

    def part(self, name: str) -> AlignedFeatures:
        """The utterances of one split.

        Raises:
            UnknownNameError: a split that the set does not have.
        """
        names = list(dict.fromkeys(self.split.tolist()))
        if name not in names:
            raise UnknownNameError("split", name, names)
        return self.subset(self.split == name)

    def save(self, path: PathLike) -> Path:
        """Write everything as an .npz file without pickles; it appears whole or not at all."""
        target = Path(path)
        parts: dict[str, np.ndarray] = {
            "words": np.array([json.dumps(words) for words in self.words]),
            "segment": np.array(self.segment),
            "split": self.split,
            "zeroed": np.array(json.dumps(self.zeroed)),
            **{name: getattr(self, name) for name in ("audio", "vision", "mask", "y")},
        }
        parts |= {name: getattr(self, name) for name in ("text", "text_bert") if getattr(self, name) is not None}
        with atomic_write(target) as file:
            np.savez_compressed(file, **parts)  # type: ignore[arg-type]
        return target


def read_aligned(path: PathLike) -> AlignedFeatures:
    """Aligned features of CMU-MOSI or CMU-MOSEI: a pickle of either format in the table above, or a saved .npz.

    Args:
        path: the file. Its format is told by its contents.

    Returns:
        All splits together; `.part("train")`, `.part("dev")` and `.part("test")` are the published ones. T is the longest
        utterance's length (50 for MMSA's files, whose mask is that of `text_bert`).

    Raises:
        FileError: missing, damaged, or naming anything but arrays and plain containers.
        DataError: a known format with parts that are missing or do not fit; the message names the utterance.

    Warns:
        UserWarning: values that are not finite (the published audio has -inf) were set to 0; how many frames.
    """
    where = check_readable(path)
    with open(where, "rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        return _read_saved(where)
    shown = os.fspath(path)
    held = read_pickle(where)
    if not isinstance(held, dict):
        raise DataError(f"{shown} holds no splits but a {type(held).__name__}")
    splits = {_DEV.get(str(name), str(name)): part for name, part in held.items()}
    present = [name for name in SPLITS if name in splits]
    if not present:
        raise DataError(
            f"{shown} has none of the splits train, dev (valid) and test; it has {', '.join(splits) or 'none'}"
        )
    kinds = {type(splits[name]) for name in present}
    if kinds == {dict}:
        return _join([_from_mmsa(splits[name], name, shown) for name in present])
    if kinds <= {list, tuple, np.ndarray}:
        return _join([_from_segments(splits[name], name, shown) for name in present])
    raise DataError(
        f"{shown} is in neither of the known formats: its splits are {', '.join(k.__name__ for k in kinds)}"
    )


def read_mustard(folder: PathLike) -> AlignedFeatures:
    """MUStARD: 690 utterances of television series, sarcastic (1) or not (0), with features of the whole utterance (T = 1).

    Text: mean of BERT's last four layers at the first piece (768); audio: mean over time (283); vision: mean of ResNet-152's
    pool5 over frames (2048). There is no fixed split (`split` is "all"); the names of `segment` begin with the dialogue.

    Args:
        folder: the `data` folder of MUStARD with its published features, laid out as in the table above.

    Raises:
        FileError: a file is missing or damaged.
        DataError: an utterance lacks a feature.
    """
    place = Path(folder)
    try:
        rows = json.loads(check_readable(place / "sarcasm_data.json").read_text("utf-8"))
        names = list(rows)
        words = [str(rows[name]["utterance"]).split() for name in names]
        y = np.array([float(bool(rows[name]["sarcasm"])) for name in names], dtype=np.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{place / 'sarcasm_data.json'} is damaged: {error}") from None
    text = _bert_lines(place / "bert-output.jsonl", len(names))
    sounds = read_pickle(place / "audio_features.p")
    zeroed = {"audio": 0, "vision": 0}
    audio = np.stack([_mean_over(sounds, name, 1, "audio_features.p", zeroed, "audio") for name in names])
    video = _read_hdf5(place / "features" / "utterances_final" / "resnet_pool5.hdf5", names)
    vision = np.stack([_mean_over(video, name, 0, "resnet_pool5.hdf5", zeroed, "vision") for name in names])
    found = AlignedFeatures(
        words, audio[:, None], vision[:, None], np.ones((len(y), 1), dtype=bool), y, np.full(len(y), "all"), names,
        text[:, None], None, zeroed,
    )  # fmt: skip
    _tell(zeroed, 3)
    return found


def _from_segments(examples: Any, split: str, shown: str) -> AlignedFeatures:
    words, audio, vision, labels, names = [], [], [], [], []
    for number, example in enumerate(examples):
        where = f"utterance {number} of {split} in {shown}"
        try:
            (said, seen, heard), label, name = example
            said, seen, heard = [str(w) for w in said], _floats(seen), _floats(heard)
            labels.append(float(np.asarray(label, dtype=np.float64).reshape(-1)[0]))
        except (ValueError, TypeError, IndexError):
            raise DataError(f"{where} is not ((words, visual, acoustic), label, segment)") from None
        if seen.ndim != 2 or heard.ndim != 2 or not len(said) == len(seen) == len(heard):
            raise DataError(
                f"{where} has {len(said)} words, visual {seen.shape} and acoustic {heard.shape}: not aligned"
            )
        words.append(said)
        audio.append(heard)
        vision.append(seen)
        names.append(name.decode() if isinstance(name, bytes) else str(name))
    if not words:
        raise DataError(f"{split} of {shown} is empty")
    length = max(map(len, words))
    mask = np.arange(length) < np.array([len(said) for said in words])[:, None]
    padded = [_pad(parts, length, f"{split} of {shown}") for parts in (audio, vision)]
    return AlignedFeatures(
        words, padded[0], padded[1], mask, np.array(labels, dtype=np.float32), np.full(len(words), split), names,
        None, None, {},
    )  # fmt: skip


def _from_mmsa(part: Mapping[str, Any], split: str, shown: str) -> AlignedFeatures:
    where = f"{split} of {shown}"
    missing = [name for name in ("audio", "vision", "regression_labels") if name not in part]
    if missing:
        raise DataError(f"{where} has no {missing[0]!r}; it has {', '.join(map(str, part))}")
    audio, vision = _floats(part["audio"]), _floats(part["vision"])
    y = _floats(part["regression_labels"]).reshape(-1)
    n = len(y)
    if audio.ndim != 3 or vision.ndim != 3 or audio.shape[:2] != vision.shape[:2] or len(audio) != n:
        raise DataError(
            f"{where} is not aligned: {n} labels, audio {audio.shape}, vision {vision.shape}; use the aligned file"
        )
    length = audio.shape[1]
    bert = np.asarray(part["text_bert"]).astype(np.int64) if "text_bert" in part else None
    if bert is not None and bert.shape != (n, 3, length):
        raise DataError(f"text_bert in {where} has shape {bert.shape}, not {(n, 3, length)}")
    text = _floats(part["text"]) if "text" in part else None
    mask = np.ones((n, length), dtype=bool) if bert is None else bert[:, 1] > 0
    names = [str(name) for name in part.get("id", range(n))]
    words = [str(line).split() for line in part.get("raw_text", [""] * n)]
    return AlignedFeatures(words, audio, vision, mask, y, np.full(n, split), names, text, bert, {})


def _join(parts: Sequence[AlignedFeatures]) -> AlignedFeatures:
    length = max(part.mask.shape[1] for part in parts)
    joined: dict[str, Any] = {}
    for name in ("audio", "vision", "mask", "text", "text_bert"):
        arrays = [getattr(part, name) for part in parts]
        if any(array is None for array in arrays):
            joined[name] = None
            continue
        axis = 2 if name == "text_bert" else 1
        wide = []
        for array in arrays:
            room = [(0, length - array.shape[1]) if k == axis and axis == 1 else (0, 0) for k in range(array.ndim)]
            wide.append(np.pad(array, room))
        widths = {array.shape[1:] for array in wide}
        if len(widths) > 1:
            raise DataError(f"the splits have {name} of different shapes: {', '.join(map(str, sorted(widths)))}")
        joined[name] = np.concatenate(wide)
    zeroed = {name: _zero_in_place(joined[name]) for name in ("audio", "vision")}
    y = np.concatenate([part.y for part in parts])
    if not np.isfinite(y).all():
        raise DataError(f"{int((~np.isfinite(y)).sum())} labels are not finite")
    _tell(zeroed, 4)
    return AlignedFeatures(
        words=[words for part in parts for words in part.words],
        segment=[name for part in parts for name in part.segment],
        y=y,
        split=np.concatenate([part.split for part in parts]),
        zeroed=zeroed,
        **joined,
    )


def _read_saved(path: Path) -> AlignedFeatures:
    try:
        with np.load(path, allow_pickle=False) as archive:
            parts = {name: archive[name] for name in archive.files}
        return AlignedFeatures(
            words=[json.loads(str(line)) for line in parts["words"]],
            segment=[str(name) for name in parts["segment"]],
            split=parts["split"],
            zeroed=json.loads(str(parts["zeroed"])),
            text=parts.get("text"),
            text_bert=parts.get("text_bert"),
            **{name: parts[name] for name in ("audio", "vision", "mask", "y")},
        )
    except Exception as error:  # zip, zlib, NumPy and JSON each have their own for damage
        raise FileError(
            f"{path} is damaged, or was not written by AlignedFeatures.save ({type(error).__name__})"
        ) from None


def _floats(values: Any) -> Float[np.ndarray, "..."]:
    return np.array(values, dtype=np.float32)


def _pad(parts: Sequence[Float[np.ndarray, "_ _"]], length: int, where: str) -> Float[np.ndarray, "n T d"]:
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise DataError(f"{where} has features of different widths: {', '.join(map(str, sorted(widths)))}")
    out = np.zeros((len(parts), length, widths.pop()), dtype=np.float32)
    for row, part in enumerate(parts):
        out[row, : len(part)] = part
    return out


def _zero_in_place(values: Float[np.ndarray, "..."]) -> int:
    """Set what is not finite to 0; the number of frames that held such a value."""
    bad = ~np.isfinite(values)
    values[bad] = 0
    return int(bad.any(axis=-1).sum())


def _tell(zeroed: Mapping[str, int], level: int) -> None:
    if any(zeroed.values()):
        counts = " and ".join(f"{count:,} frames of {name}" for name, count in zeroed.items() if count)
        warnings.warn(f"{counts} held values that are not finite; these were set to 0", UserWarning, stacklevel=level)


def _bert_lines(path: Path, n: int) -> Float[np.ndarray, "n width"]:
    rows = []
    with open(check_readable(path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                layers = json.loads(line)["features"][0]["layers"][:_LAYERS]
                rows.append(np.mean([layer["values"] for layer in layers], axis=0))
            except (ValueError, KeyError, IndexError, TypeError):
                raise FileError(f"line {number} of {path} holds no BERT layers") from None
    if len(rows) != n:
        raise DataError(f"{path} has {len(rows)} lines, but there are {n} utterances")
    return np.array(rows, dtype=np.float32)


def _mean_over(
    features: Any, name: str, axis: int, file: str, zeroed: dict[str, int], kind: str
) -> Float[np.ndarray, " width"]:
    """Mean over the frames, which run along `axis`."""
    if not isinstance(features, dict) or name not in features:
        raise DataError(f"{file} has no features of the utterance {name!r}")
    values = _floats(features[name])
    if values.ndim == 1:
        values = np.expand_dims(values, axis)
    if values.ndim != 2 or not values.shape[axis]:
        raise DataError(f"{file} has features of shape {values.shape} for the utterance {name!r}")
    frames = np.ascontiguousarray(values.T if axis == 1 else values)
    zeroed[kind] += _zero_in_place(frames)
    return frames.mean(axis=0)


def _read_hdf5(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    import h5py

    try:
        with h5py.File(check_readable(path), "r") as file:
            return {name: np.asarray(file[name]) for name in names if name in file}
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path} is no readable HDF5 file: {error}") from None
