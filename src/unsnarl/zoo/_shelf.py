"""The zoo's models by name: what there is, having one, making one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from unsnarl.errors import FileError, OptionError, UnknownNameError
from unsnarl.zoo._recipe import Recipe, find_folder

RUNS = Path("runs/zoo")  # where trainings go unless a folder is named
PREFIX = "zoo/"


def recipes() -> dict[str, Recipe]:
    """Name -> recipe, in the order in which they can be trained.

    Raises:
        MissingExtraError: a library that a model belongs to is not installed.
    """
    from unsnarl.zoo._clip_recipes import CLIP_EVAL, CLIP_TINY
    from unsnarl.zoo._gan_recipe import GAN_CORRELATED, GAN_TINY
    from unsnarl.zoo._gan_regressors import GAN_REGRESSORS
    from unsnarl.zoo._identity_recipe import IDENTITY
    from unsnarl.zoo._oracle_recipe import ORACLE
    from unsnarl.zoo._sd3_recipe import SD3_TEXTS, SD3_TINY
    from unsnarl.zoo._sd_recipe import SD_TINY

    scenes = (CLIP_TINY, SD_TINY, SD3_TEXTS, SD3_TINY, CLIP_EVAL, ORACLE, IDENTITY)
    return {one.name: one for one in (*scenes, GAN_TINY, GAN_CORRELATED, GAN_REGRESSORS)}


def recipe(name: str) -> Recipe:
    """The recipe of a name, with or without "zoo/" before it.

    Raises:
        UnknownNameError: no such model; the message lists names that are near.
    """
    known = recipes()
    plain = name.removeprefix(PREFIX)
    if plain not in known:
        raise UnknownNameError("model of the zoo", name, list(known))
    return known[plain]


def load(name: str | os.PathLike[str], *, trained: str | os.PathLike[str] | None = None) -> Any:
    """A model of the zoo, as the ordinary object of its library.

    Args:
        name: one of `recipes()`, with or without "zoo/" before it.
        trained: a folder of your own trainings by name, looked into first, such as "runs/zoo".

    Returns:
        A `StableDiffusionPipeline` for "sd-tiny-32", a `StableDiffusion3Pipeline` for "sd3-tiny-32", a `CLIPModel` for the CLIPs, an
        `Oracle`, an `IdentityNetwork`, a `Generator` for the GANs, `FactorRegressors`.

    Raises:
        UnknownNameError: no such model.
        FileError: its weights are not there.
        MissingExtraError: its library is not installed.
    """
    if not isinstance(name, str):
        raise OptionError(f"name={name!r} must be the name of a model of the zoo")
    one = recipe(name)
    return one.load(find_folder(one.name, trained))


def train_model(
    name: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    steps: int | None = None,
    resume: bool = True,
    checkpoint_every: int = 100,
    progress: bool = True,
) -> Path:
    """Train a model of the zoo by its recipe, resumable at every checkpoint.

    Args:
        name: of the model.
        folder: of the run; runs/zoo/NAME when absent. Models it stands on are taken from beside it if they were trained there,
            else from the package.
        steps: fewer or more than the recipe's.
        resume: False starts over.
        checkpoint_every: steps between checkpoints.
        progress: show progress and the time left.

    Returns:
        The folder with the finished model.

    Raises:
        UnknownNameError: no such model.
        FileError: a model it stands on is not there.
    """
    one = recipe(name)
    where = RUNS / one.name if folder is None else Path(folder)
    models = {}
    for needed in one.needs:
        try:
            models[needed] = load(needed, trained=where.parent)
        except FileError as error:
            raise FileError(f"zoo/{one.name} stands on zoo/{needed}: {error}") from None
    return one.train(models, where, steps=steps, resume=resume, checkpoint_every=checkpoint_every, progress=progress)
