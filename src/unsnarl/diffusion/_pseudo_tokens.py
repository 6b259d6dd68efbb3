"""New words for a pipeline: tokens whose vectors alone are learned (textual inversion; Gal et al. 2022, arXiv 2208.01618).

The vectors of the words that were there stay as they are, to the last bit and without being masked afterwards: the new rows are
parameters of their own, looked up beside the old table. Within a batch each sample can be given rows of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unsnarl.arrays import check_range, check_same_length
from unsnarl.diffusion._hosts import Host
from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.files import atomic_write

_PARTS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))


class _Table(nn.Module):
    """An embedding that takes ids from `first` on from rows of its own, or from rows of the batch's samples."""

    def __init__(self, old: nn.Embedding, rows: nn.Parameter, first: int):
        super().__init__()
        self.old, self.rows, self.first = old, rows, first
        self.by_sample: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """The old table: libraries look at its precision and device."""
        return self.old.weight

    def forward(self, ids: Int[Tensor, "n token"]) -> Float[Tensor, "n token width"]:
        new = ids >= self.first
        place = (ids - self.first).clamp(min=0)
        vectors = self.old(ids.masked_fill(new, 0))
        if self.by_sample is None:
            found = self.rows[place.clamp(max=len(self.rows) - 1)]
        else:
            if len(self.by_sample) != len(ids):
                raise DataError(f"there are rows for {len(self.by_sample)} samples and {len(ids)} texts")
            found = self.by_sample.gather(1, place[..., None].expand(-1, -1, self.by_sample.shape[2]))
        return torch.where(new[..., None], found.to(vectors.dtype), vectors)


class PseudoTokens(nn.Module):
    """Words that a pipeline did not know, until `detach()` or the end of a `with` block.

    Args:
        host: whose tokenizers and text encoders learn them; all of its CLIP text encoders do.
        words: such as "<new1>", each in no text the pipeline knows as one word.
        init: a word each that is known, or one for all; its vectors are where learning starts.
        vectors: rows a word. Further ones are called "<new1>_1" and so on, as diffusers has it, and follow it in texts by themselves.

    The parameters of this module are the new rows: one tensor (words x vectors, width) a text encoder. Use
    `host.encode_texts(texts, gradients=True)` to learn them.

    Raises:
        OptionError: a word that is there already, or no words.
        DataError: numbers of words and inits that do not agree, or an init without tokens.
    """

    def __init__(self, host: Host, words: Sequence[str], init: Sequence[str] | str, vectors: int = 1):
        super().__init__()
        self.words = [words] if isinstance(words, str) else list(words)
        starts = [init] * len(self.words) if isinstance(init, str) else list(init)
        check_range(vectors, "vectors", low=1, integer=True)
        if not self.words:
            raise OptionError("words must have at least one element")
        check_same_length(words=self.words, init=starts)
        self._host, self.vectors = (host,), vectors
        self._tables: list[_Table] = []
        self._before: list[tuple[str, Any, Any, Any]] = []
        self.rows = nn.ParameterList()
        names = [name for word in self.words for name in self._names(word)]
        parts = [(t, e) for t, e in _PARTS if getattr(host.pipeline, e, None) is not None]
        for tokenizer_name, _ in parts:
            known = getattr(host.pipeline, tokenizer_name).get_vocab()
            for name in names:
                if name in known or f"{name}</w>" in known:
                    raise OptionError(f"the word {name!r} is known to the {tokenizer_name} already; choose another")
        for tokenizer_name, encoder_name in parts:
            self._extend(tokenizer_name, getattr(host.pipeline, encoder_name), names, starts)

    @property
    def host(self) -> Host:
        """The host."""
        return self._host[0]

    def _names(self, word: str) -> list[str]:
        return [word, *(f"{word}_{number}" for number in range(1, self.vectors))]

    def _extend(self, tokenizer_name: str, encoder: Any, names: list[str], starts: list[str]) -> None:
        old = encoder.get_input_embeddings()
        tokenizer = getattr(self.host.pipeline, tokenizer_name)
        vectors = []
        for start in starts:
            ids = tokenizer(start, add_special_tokens=False).input_ids
            if not ids:
                raise DataError(f"init {start!r} has no tokens")
            mean = old.weight[torch.tensor(ids, device=old.weight.device)].detach().float().mean(0)
            vectors += [mean] * self.vectors
        extended = copy.deepcopy(tokenizer)
        first = max(len(extended), old.weight.shape[0])
        ids = []
        for name in names:
            extended.add_tokens(name)
            ids.append(extended.convert_tokens_to_ids(name))
        if ids != list(range(ids[0], ids[0] + len(ids))) or ids[0] < old.weight.shape[0]:
            raise OptionError(
                f"the {tokenizer_name} gave the new words the ids {ids}, of which some are taken (below {first})"
            )
        rows = nn.Parameter(torch.stack(vectors))
        table = _Table(old, rows, ids[0])
        self._before.append((tokenizer_name, tokenizer, encoder, old))
        setattr(self.host.pipeline, tokenizer_name, extended)
        encoder.set_input_embeddings(table)
        self.rows.append(rows)
        self._tables.append(table)

    @contextmanager
    def by_sample(self, *rows: Float[Tensor, "n token width"]) -> Iterator[None]:
        """Within the block, sample i of a batch of n texts reads rows[i] in place of the learned ones; one tensor a text encoder.

        Raises:
            DataError: another number of tensors, or of rows a sample.
        """
        if len(rows) != len(self._tables):
            raise DataError(f"there are {len(self._tables)} text encoders and rows for {len(rows)}")
        for table, given in zip(self._tables, rows, strict=True):
            if given.ndim != 3 or given.shape[1:] != table.rows.shape:
                raise DataError(
                    f"rows must have the shape (n, {', '.join(map(str, table.rows.shape))}), got {tuple(given.shape)}"
                )
            table.by_sample = given
        try:
            yield
        finally:
            for table in self._tables:
                table.by_sample = None

    def detach(self) -> None:
        """Give the pipeline its own tokenizers and tables back; the learned rows stay here."""
        while self._before:
            tokenizer_name, tokenizer, encoder, old = self._before.pop()
            setattr(self.host.pipeline, tokenizer_name, tokenizer)
            encoder.set_input_embeddings(old)

    def __enter__(self) -> PseudoTokens:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def save(self, folder: str | Path) -> list[Path]:
        """One safetensors file a word and text encoder: WORD.safetensors, which `pipeline.load_textual_inversion` reads.

        Files of the second text encoder are called WORD_2.safetensors.

        Raises:
            FileError: the folder cannot be written.
        """
        from safetensors.torch import save

        where = Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        written = []
        for number, rows in enumerate(self.rows):
            for word, vectors in zip(self.words, rows.detach().split(self.vectors), strict=True):
                path = where / f"{_file_name(word)}{'' if number == 0 else f'_{number + 1}'}.safetensors"
                with atomic_write(path, "wb") as file:
                    file.write(save({word: vectors.cpu().contiguous()}))
                written.append(path)
        return written

    def read(self, folder: str | Path) -> PseudoTokens:
        """Take the rows that `save` wrote of the same words.

        Raises:
            FileError: a file that is missing, or of another shape.
        """
        from unsnarl.training import read_tensors

        for number, rows in enumerate(self.rows):
            for place, word in enumerate(self.words):
                path = Path(folder) / f"{_file_name(word)}{'' if number == 0 else f'_{number + 1}'}.safetensors"
                found = read_tensors(path)[0].get(word)
                if found is None or found.shape != (self.vectors, rows.shape[1]):
                    raise FileError(
                        f"{path} must hold {word!r} with shape {(self.vectors, rows.shape[1])}, "
                        f"got {None if found is None else tuple(found.shape)}"
                    )
                with torch.no_grad():
                    rows[place * self.vectors : (place + 1) * self.vectors] = found.to(rows)
        return self


def _file_name(word: str) -> str:
    return "".join(letter for letter in word if letter.isalnum() or letter in "-_") or "word"
