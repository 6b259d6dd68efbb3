"""Image operators: change hue, saturation, contrast, brightness, texture or shape of images, and nothing else on purpose."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.data.image_operators._calibrate import as_operators as as_operators
    from unsnarl.data.image_operators._calibrate import calibrated as calibrated
    from unsnarl.data.image_operators._calibrate import default_operators as default_operators
    from unsnarl.data.image_operators._calibrate import pixel_change as pixel_change
    from unsnarl.data.image_operators._colors import Brightness as Brightness
    from unsnarl.data.image_operators._colors import Contrast as Contrast
    from unsnarl.data.image_operators._colors import Hue as Hue
    from unsnarl.data.image_operators._colors import Saturation as Saturation
    from unsnarl.data.image_operators._operator import ImageOperator as ImageOperator
    from unsnarl.data.image_operators._surface import Shape as Shape
    from unsnarl.data.image_operators._surface import Texture as Texture

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Brightness": "._colors",
        "Contrast": "._colors",
        "Hue": "._colors",
        "ImageOperator": "._operator",
        "Saturation": "._colors",
        "Shape": "._surface",
        "Texture": "._surface",
        "as_operators": "._calibrate",
        "calibrated": "._calibrate",
        "default_operators": "._calibrate",
        "pixel_change": "._calibrate",
    },
)
