"""Small models trained on captioned scenes, as ordinary objects of diffusers and transformers, and what grades them."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.zoo._gan_gates import gan_gates as gan_gates
    from unsnarl.zoo._gan_regressors import FactorRegressors as FactorRegressors
    from unsnarl.zoo._gan_regressors import SpriteReading as SpriteReading
    from unsnarl.zoo._gan_regressors import factor_changes as factor_changes
    from unsnarl.zoo._grading import EditScores as EditScores
    from unsnarl.zoo._grading import score_edit as score_edit
    from unsnarl.zoo._oracle import Oracle as Oracle
    from unsnarl.zoo._oracle import SceneReading as SceneReading
    from unsnarl.zoo._oracle import SeenObject as SeenObject
    from unsnarl.zoo._personal_grading import PersonalScores as PersonalScores
    from unsnarl.zoo._personal_grading import between_instances as between_instances
    from unsnarl.zoo._personal_grading import score_personal as score_personal
    from unsnarl.zoo._recipe import Recipe as Recipe
    from unsnarl.zoo._shelf import load as load
    from unsnarl.zoo._shelf import recipe as recipe
    from unsnarl.zoo._shelf import recipes as recipes
    from unsnarl.zoo._shelf import train_model as train_model
    from unsnarl.zoo._style_gan import Discriminator as Discriminator
    from unsnarl.zoo._style_gan import Generator as Generator
    from unsnarl.zoo._tokenizer import scene_tokenizer as scene_tokenizer

__getattr__, __dir__, __all__ = attach(
    __name__,
    dict.fromkeys(("Oracle", "SceneReading", "SeenObject"), "._oracle")
    | dict.fromkeys(("FactorRegressors", "SpriteReading", "factor_changes"), "._gan_regressors")
    | dict.fromkeys(("Discriminator", "Generator"), "._style_gan")
    | dict.fromkeys(("PersonalScores", "between_instances", "score_personal"), "._personal_grading")
    | {"gan_gates": "._gan_gates"}
    | dict.fromkeys(("EditScores", "score_edit"), "._grading")
    | {"Recipe": "._recipe", "scene_tokenizer": "._tokenizer"}
    | dict.fromkeys(("load", "recipe", "recipes", "train_model"), "._shelf"),
)
