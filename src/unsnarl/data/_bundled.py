"""Real data that comes inside packages, read in place, and readers for the idx files of the MNIST family."""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.data._dataset import FactorDataset
from unsnarl.data._factors import FactorTable
from unsnarl.data._files import PathLike, _damage
from unsnarl.data._simulator import Simulator
from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.files import check_readable

FASHION_FOLDER = "/usr/share/datasets/fashion-mnist"  # where the Debian package puts it
FASHION_ARTICLES = np.array(
    ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
)
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_PARTS = {"train": "train", "test": "t10k"}

# Everything in these lists is visible at 64 pixels; the hair styles are those whose colour can be chosen.
AVATAR_GRID: dict[str, tuple[str, ...]] = {
    "hair": (
        "BIG_HAIR BOB BUN CAESAR CURLY CURVY DREADS FRIDA FRO FRIZZLE LONG_NOT_TOO_LONG MIA_WALLACE SHAGGY SHORT_CURLY "
        "SHORT_FLAT SHORT_ROUND SHORT_WAVED SIDES STRAIGHT_1 STRAIGHT_2 MOHAWK POMPADOUR PIXIE BRAIDS"
    ).split(),  # type: ignore[dict-item]
    "hair_color": "AUBURN BLACK BLONDE BLONDE_GOLDEN BROWN PASTEL_PINK PLATINUM RED SILVER_GRAY".split(),  # type: ignore[dict-item]
    "skin_color": "TANNED YELLOW PALE LIGHT BROWN DARK_BROWN BLACK".split(),  # type: ignore[dict-item]
    "eyes": "CLOSED CRY DEFAULT EYE_ROLL HAPPY HEART SIDE SQUINT SURPRISED WINK WINK_WACKY X_DIZZY".split(),  # type: ignore[dict-item]
}
