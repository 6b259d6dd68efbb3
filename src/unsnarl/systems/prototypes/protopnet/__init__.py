"""ProtoPNet: a classifier that says "this part of the image looks like that part of a training image" (Chen et al. 2019)."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.prototypes.protopnet._backbones import SmallCNN as SmallCNN
    from unsnarl.systems.prototypes.protopnet._backbones import receptive_field as receptive_field
    from unsnarl.systems.prototypes.protopnet._explanation import Evidence as Evidence
    from unsnarl.systems.prototypes.protopnet._explanation import Explanation as Explanation
    from unsnarl.systems.prototypes.protopnet._protopnet import ProtoPNet as ProtoPNet

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Evidence": "._explanation",
        "Explanation": "._explanation",
        "ProtoPNet": "._protopnet",
        "SmallCNN": "._backbones",
        "receptive_field": "._backbones",
    },
)
