"""Photos from tensors, images, files and folders."""

import numpy as np
import pytest
import torch
from PIL import Image

from unsnarl.diffusion._photos import load_photos
from unsnarl.errors import DataError, FileError, OptionError


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")


def signed(bytes_):
    return torch.from_numpy(bytes_).permute(2, 0, 1).float() / 127.5 - 1


def test_photos_of_the_right_size_are_left_as_they_are():
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(load_photos(x, 16), x)
    assert torch.equal(load_photos(x[0], 16), x[:1])
    assert torch.equal(load_photos(list(x), 16), x)
    assert torch.equal(load_photos(Image.fromarray(picture(16, 16)), 16)[0], signed(picture(16, 16)))
    assert torch.equal(load_photos(torch.from_numpy(picture(16, 16)).permute(2, 0, 1), 16)[0], signed(picture(16, 16)))


def test_the_middle_is_cut_out_and_the_shorter_side_fits():
    wide = torch.arange(24.0).expand(3, 16, 24) / 24 - 0.5
    assert torch.equal(load_photos(wide, 16)[0], wide[:, :, 4:20])
    tall = wide.transpose(1, 2)
    assert torch.equal(load_photos(tall, 16)[0], tall[:, 4:20])
    large = torch.nn.functional.interpolate(wide[None], scale_factor=4, mode="bilinear")[0]
    assert load_photos(large, 16).shape == (1, 3, 16, 16)
    assert float((load_photos(large, 16)[0] - wide[:, :, 4:20]).abs().max()) < 0.05
    assert load_photos(torch.zeros(3, 7, 9) - 0.1, 16).shape == (1, 3, 16, 16)


def test_exif_says_which_way_is_up(tmp_path):
    stored = picture(16, 24)
    image = Image.fromarray(stored)
    exif = image.getexif()
    exif[0x0112] = 6  # stored lying on its side: to be turned by 270 degrees counter-clockwise
    image.save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(stored, -1)
    assert upright.shape == (24, 16, 3)
    assert torch.equal(load_photos(tmp_path / "a.png", 16)[0], signed(np.ascontiguousarray(upright))[:, 4:20])


def test_a_folder_in_the_order_of_names(tmp_path):
    for seed, name in ((1, "b.png"), (2, "a.PNG"), (3, "c.webp")):
        Image.fromarray(picture(16, 16, seed)).save(tmp_path / name, lossless=True)
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / ".hidden.png").write_text("no photo")
    found = load_photos(str(tmp_path), 16)
    assert torch.equal(found, torch.stack([signed(picture(16, 16, seed)) for seed in (2, 1, 3)]))
    mixed = load_photos([tmp_path / "b.png", Image.fromarray(picture(16, 16, 5)), found[0]], 16)
    assert torch.equal(mixed, torch.stack([found[1], signed(picture(16, 16, 5)), found[0]]))


def test_transparent_is_white_and_grey_has_three_channels():
    clear = Image.fromarray(np.zeros((8, 8, 4), dtype="uint8"))
    assert torch.equal(load_photos(clear, 8), torch.ones(1, 3, 8, 8))
    grey = Image.fromarray(picture(8, 8)[..., 0])
    assert torch.equal(load_photos(grey, 8)[0, 0], load_photos(grey, 8)[0, 2])


def test_mirror_images_come_behind():
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    found = load_photos(x, 8, flips=True)
    assert torch.equal(found, torch.cat([x, x.flip(3)]))


def test_other_scales_are_noticed():
    with pytest.warns(UserWarning, match=r"2 \* photos - 1"):
        load_photos(torch.rand(1, 3, 8, 8), 8)


def test_bad_photos_get_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(b"")
    Image.fromarray(picture(64, 64)).save(tmp_path / "half.png")
    data = (tmp_path / "half.png").read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    for photos, error, message in (
        ([], DataError, "at least one"),
        (tmp_path / "empty", DataError, "no image"),
        (tmp_path / "nowhere", FileError, "nowhere"),
        (tmp_path / "a.png", FileError, "not an image"),
        (tmp_path / "cut.png", FileError, "not an image"),
        (tmp_path / "half.png", FileError, "cannot read"),
        (torch.zeros(2, 1, 8, 8), DataError, "shape"),
        (torch.full((1, 3, 8, 8), 3.0), DataError, r"\[-1, 1\]"),
        (torch.full((1, 3, 8, 8), float("nan")), DataError, "finite"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), DataError, "uint8"),
        (5, DataError, "int"),
        ([torch.zeros(3, 8, 8), 5], DataError, r"photos\[1\]"),
    ):
        with pytest.raises(error, match=message):
            load_photos(photos, 8)
    with pytest.raises(OptionError, match="size"):
        load_photos(torch.zeros(1, 3, 8, 8), 0)
