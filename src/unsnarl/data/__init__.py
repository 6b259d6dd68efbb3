"""Observations and the factors that made them: data sets, simulators with exact counterfactuals, file readers."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.data._array_files import read_array as read_array
    from unsnarl.data._bundled import Avatars as Avatars
    from unsnarl.data._bundled import breast_cancer as breast_cancer
    from unsnarl.data._bundled import diabetes as diabetes
    from unsnarl.data._bundled import digits as digits
    from unsnarl.data._bundled import faces as faces
    from unsnarl.data._bundled import fashion_mnist as fashion_mnist
    from unsnarl.data._bundled import iris as iris
    from unsnarl.data._bundled import read_idx as read_idx
    from unsnarl.data._bundled import read_mnist as read_mnist
    from unsnarl.data._bundled import wine as wine
    from unsnarl.data._characteristics import CharacteristicScenes as CharacteristicScenes
    from unsnarl.data._color_sprites import ColorSprites as ColorSprites
    from unsnarl.data._color_sprites import draw_sprites as draw_sprites
    from unsnarl.data._color_sprites import render_color_sprites as render_color_sprites
    from unsnarl.data._dataset import FactorDataset as FactorDataset
    from unsnarl.data._factors import FactorTable as FactorTable
    from unsnarl.data._factors import infer_kind as infer_kind
    from unsnarl.data._files import read_codes as read_codes
    from unsnarl.data._files import read_dataset as read_dataset
    from unsnarl.data._files import read_factors as read_factors
    from unsnarl.data._glyphs import Glyphs as Glyphs
    from unsnarl.data._glyphs import matplotlib_fonts as matplotlib_fonts
    from unsnarl.data._glyphs import render_glyphs as render_glyphs
    from unsnarl.data._load import data_sets as data_sets
    from unsnarl.data._load import load as load
    from unsnarl.data._published import read_3dshapes as read_3dshapes
    from unsnarl.data._published import read_cars3d as read_cars3d
    from unsnarl.data._published import read_dsprites as read_dsprites
    from unsnarl.data._published import read_mpi3d as read_mpi3d
    from unsnarl.data._published import read_smallnorb as read_smallnorb
    from unsnarl.data._shapes3d import Shapes3D as Shapes3D
    from unsnarl.data._shapes3d import render_shapes3d as render_shapes3d
    from unsnarl.data._simulator import Simulator as Simulator
    from unsnarl.data._sprites import Sprites as Sprites
    from unsnarl.data._sprites import render_sprites as render_sprites
    from unsnarl.data._sprites import sprite_grid as sprite_grid
    from unsnarl.data.scenes import Scenes as Scenes
    from unsnarl.data.scenes import SceneStream as SceneStream
    from unsnarl.data.survival import SurvivalData as SurvivalData
    from unsnarl.data.survival import load_survival as load_survival
    from unsnarl.data.survival import load_tcga as load_tcga
    from unsnarl.data.survival import simulate_bags as simulate_bags

_BUNDLED = ("Avatars", "breast_cancer", "diabetes", "digits", "faces", "fashion_mnist", "iris", "wine")
_IDX = ("read_idx", "read_mnist")
_FILES = ("read_codes", "read_dataset", "read_factors")
_PUBLISHED = ("read_3dshapes", "read_cars3d", "read_dsprites", "read_mpi3d", "read_smallnorb")

__getattr__, __dir__, __all__ = attach(
    __name__,
    dict.fromkeys((*_BUNDLED, *_IDX), "._bundled")
    | {"FactorDataset": "._dataset", "FactorTable": "._factors", "Simulator": "._simulator", "infer_kind": "._factors"}
    | {"CharacteristicScenes": "._characteristics", "read_array": "._array_files"}
    | dict.fromkeys(("ColorSprites", "draw_sprites", "render_color_sprites"), "._color_sprites")
    | dict.fromkeys(_FILES, "._files")
    | dict.fromkeys(("Glyphs", "matplotlib_fonts", "render_glyphs"), "._glyphs")
    | dict.fromkeys(("data_sets", "load"), "._load")
    | dict.fromkeys(_PUBLISHED, "._published")
    | dict.fromkeys(("SceneStream", "Scenes"), ".scenes")
    | dict.fromkeys(("SurvivalData", "load_survival", "load_tcga", "simulate_bags"), ".survival")
    | dict.fromkeys(("Shapes3D", "render_shapes3d"), "._shapes3d")
    | dict.fromkeys(("Sprites", "render_sprites", "sprite_grid"), "._sprites"),
)
