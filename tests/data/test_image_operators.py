import builtins
import colorsys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from unsnarl.data._characteristics import CharacteristicScenes
from unsnarl.data.image_operators import (
    Brightness,
    Contrast,
    Hue,
    Saturation,
    Shape,
    Texture,
    as_operators,
    calibrated,
    default_operators,
    pixel_change,
)
from unsnarl.errors import DataError, MissingExtraError, OptionError

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, size=(3, 3, 24, 30), dtype=np.uint8)
FLOATS = RNG.random((3, 3, 24, 30))


def pillow(image):
    return Image.fromarray(image.transpose(1, 2, 0))


class TestColors:
    def test_published_strengths(self):
        published = {"contrast": 0.45, "saturation": 0.7, "hue": 0.1, "brightness": 0.8, "texture": 4, "shape": 4}
        assert {o.name: o.strength for o in default_operators()} == published
        (shape,) = [o for o in default_operators(height=150) if o.name == "shape"]
        assert (shape.strength, shape.frequency) == (2, 0.05)
        (texture,) = [o for o in default_operators() if o.name == "texture"]
        assert (texture.template, texture.search) == (7, 21)

    @pytest.mark.parametrize(
        ("operator", "enhance"),
        [
            (Contrast(), ImageEnhance.Contrast),
            (Saturation(), ImageEnhance.Color),
            (Brightness(), ImageEnhance.Brightness),
        ],
    )
    def test_blends_agree_with_pillow_to_a_level(self, operator, enhance):
        """Pillow cuts fractions off and rounds the mean grey, twice a level at most."""
        ours = operator(BYTES).astype(int)
        for image, own in zip(BYTES, ours, strict=True):
            theirs = np.asarray(enhance(pillow(image)).enhance(operator.strength)).transpose(2, 0, 1).astype(int)
            assert np.abs(theirs - own).max() <= 1

    def test_blends_by_definition(self):
        luma = np.array([0.299, 0.587, 0.114])
        own = np.einsum("ncij,c->nij", FLOATS, luma)[:, None]
        mean = own.mean(axis=(2, 3), keepdims=True)
        np.testing.assert_allclose(Contrast()(FLOATS), 0.45 * FLOATS + 0.55 * mean, atol=1e-6)
        np.testing.assert_allclose(Saturation()(FLOATS), 0.7 * FLOATS + 0.3 * own, atol=1e-6)
        np.testing.assert_allclose(Brightness()(FLOATS), 0.8 * FLOATS, atol=1e-6)

    @pytest.mark.parametrize("strength", [0.1, 1 / 3, 0.5])
    def test_hue_agrees_with_colorsys(self, strength):
        ours = Hue(strength)(FLOATS[:1, :, :6, :6])[0].reshape(3, -1).T
        for rgb, own in zip(FLOATS[0, :, :6, :6].reshape(3, -1).T, ours, strict=True):
            h, s, v = colorsys.rgb_to_hsv(*rgb)
            np.testing.assert_allclose(own, colorsys.hsv_to_rgb((h + strength) % 1, s, v), atol=1e-5)

    def test_neutral_strengths_change_nothing(self):
        for operator in (Contrast(1.0), Saturation(1.0), Brightness(1.0), Hue(0.0), Texture(0.0), Shape(0.0)):
            np.testing.assert_allclose(operator(FLOATS), FLOATS, atol=2e-6)
            assert (operator(BYTES) == BYTES).all()

    def test_grey_images_have_no_hue_or_saturation(self):
        grey = np.repeat(FLOATS[:, :1], 3, axis=1)
        for operator in (Hue(), Saturation()):
            with pytest.warns(UserWarning, match=f"all images are grey; {operator.name} does nothing to them"):
                np.testing.assert_allclose(operator(grey), grey, atol=1e-6)
        mixed = np.concatenate([grey[:1], FLOATS[1:]])
        with pytest.warns(UserWarning, match="1 of 3 images are grey"):
            Hue()(mixed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Contrast()(grey)
            Hue()(FLOATS)


class TestShape:
    @pytest.mark.parametrize(("amplitude", "frequency"), [(4.0, 0.05), (3.7, 0.11), (9.0, 0.3)])
    def test_agrees_with_rolling_line_by_line(self, amplitude, frequency):
        expected = BYTES[0].transpose(1, 2, 0).copy()
        for row in range(expected.shape[0]):
            expected[row] = np.roll(expected[row], int(amplitude * np.sin(np.pi * row * frequency)), axis=0)
        for column in range(expected.shape[1]):
            shift = int(amplitude * np.sin(np.pi * column * frequency))
            expected[:, column] = np.roll(expected[:, column], shift, axis=0)
        assert (Shape(amplitude, frequency)(BYTES[:1])[0].transpose(1, 2, 0) == expected).all()

    def test_rows_come_before_columns(self):
        operator = Shape(4.0, 0.3)
        columns_first = operator(BYTES.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
        assert (operator(BYTES) != columns_first).any()

    def test_int_cuts_towards_zero(self):
        shifts = Shape(1.5, 0.5).shifts(5)  # sines 0, 1, 0, -1, 0
        assert shifts.tolist() == [0, 1, 0, -1, 0]
        assert not Shape(0.99).shifts(300).any()

    def test_rolls_wrap_around(self):
        out = Shape(9.0, 0.3)(BYTES)
        assert (np.sort(out.reshape(3, 3, -1)) == np.sort(BYTES.reshape(3, 3, -1))).all()

    def test_at_64_pixels_the_published_amplitude_does_nothing(self):
        (shape,) = [o for o in default_operators(height=64) if o.name == "shape"]
        assert shape.strength == pytest.approx(4 * 64 / 300)
        assert not shape.shifts(64).any()


class TestTexture:
    def test_agrees_with_opencv_in_its_order_of_channels(self):
        cv2 = pytest.importorskip("cv2")
        images = CharacteristicScenes(2, seed=1, classes=(4,)).observations.numpy()
        bgr = np.ascontiguousarray(images[0].transpose(1, 2, 0)[..., ::-1])
        smooth = cv2.fastNlMeansDenoisingColored(bgr, None, 4, 4, 7, 21)
        assert (Texture()(images)[0] == smooth[..., ::-1].transpose(2, 0, 1)).all()

    def test_grain_goes_and_outlines_stay(self):
        scenes = CharacteristicScenes(8, seed=1, classes=(6,))
        smooth = scenes.intervene(slice(None), texture="smooth").observations.numpy() / 255
        noisy = scenes.intervene(slice(None), texture="grain").observations.numpy() / 255
        out = Texture(10.0)(noisy)
        flat = np.abs(np.diff(smooth, axis=3)) < 0.01  # no edge of a figure between a pixel and its right neighbour
        assert np.diff(out, axis=3)[flat].std() < 0.6 * np.diff(noisy, axis=3)[flat].std()
        steps = np.abs(np.diff(smooth, axis=3)) > 0.2
        kept = (np.diff(out, axis=3) * np.sign(np.diff(smooth, axis=3)))[steps].mean()
        assert kept > 0.8 * np.abs(np.diff(smooth, axis=3))[steps].mean()

    def test_rounding_is_no_part_of_the_change(self):
        """Between two levels of 256 the change is that of the nearest level."""
        change = Texture()(BYTES / 255) - BYTES / 255
        between = np.clip(BYTES / 255 + 0.0015, 0, 1)
        kept = (between < 0.99) & (between + change > 0) & (between + change < 1)
        np.testing.assert_allclose((Texture()(between) - between)[kept], change[kept], atol=1e-6)

    def test_images_smaller_than_the_window(self):
        with pytest.raises(
            DataError, match=r"images of 20 x 30 pixels are smaller than the search window .* 21 pixels"
        ):
            Texture()(FLOATS[:, :, :20])
        assert Texture(search=11)(FLOATS[:, :, :20]).shape == (3, 3, 20, 30)

    def test_without_opencv_the_extra_is_named(self, monkeypatch):
        real = builtins.__import__

        def missing(name, *args, **kwargs):
            if name == "cv2":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(MissingExtraError, match=r"pip install 'unsnarl\[images\]'"):
            Texture()(FLOATS)

    def test_even_windows(self):
        with pytest.raises(OptionError, match="template=6 must be odd"):
            Texture(template=6)


class TestTypes:
    @pytest.mark.parametrize("operator", default_operators())
    def test_type_and_range_stay(self, operator):
        for images in (BYTES, FLOATS, FLOATS.astype(np.float32), torch.from_numpy(BYTES), torch.from_numpy(FLOATS)):
            out = operator(images)
            assert type(out) is type(images)
            assert out.dtype == images.dtype
            assert tuple(out.shape) == tuple(images.shape)
            assert float(out.min()) >= 0
            assert float(out.max()) <= (255 if "int8" in str(out.dtype) else 1)

    @pytest.mark.parametrize("operator", default_operators())
    def test_bytes_and_floats_agree_to_a_level(self, operator):
        both = operator(BYTES).astype(float) / 255 - operator(BYTES / 255)
        assert np.abs(both).max() <= 0.51 / 255

    @pytest.mark.parametrize("operator", default_operators())
    def test_each_image_is_changed_by_itself(self, operator):
        assert (operator(BYTES)[1:2] == operator(BYTES[1:2])).all()

    def test_bad_images(self):
        with pytest.raises(DataError, match=r"must lie in \[0, 1\], found .* normalised already, undo it"):
            Hue()((FLOATS - 0.5) / 0.25)
        with pytest.raises(DataError, match=r"must have shape \(n, 3, height, width\), got \(3, 1, 24, 30\); repeat"):
            Hue()(FLOATS[:, :1])
        with pytest.raises(DataError, match="not finite"):
            Hue()(np.where(FLOATS > 0.9, np.nan, FLOATS))
        with pytest.raises(DataError, match="got dtype int64"):
            Hue()(BYTES.astype(np.int64))
        with pytest.raises(DataError, match="are empty"):
            Hue()(FLOATS[:0])
        with pytest.raises(OptionError, match=r"strength of contrast=1\.5"):
            Contrast(1.5)

    def test_operators_are_checked(self):
        with pytest.raises(OptionError, match="one or more of different names, got hue, hue"):
            as_operators([Hue(), Hue(0.2)])
        with pytest.raises(OptionError, match="must be image operators"):
            as_operators([abs])
        with pytest.raises(OptionError, match="got none"):
            as_operators([])


class TestCalibration:
    images = CharacteristicScenes(12, image_size=48, seed=0).observations.numpy()

    def test_changes_become_equal(self):
        operators = [o for o in default_operators() if o.name != "texture"]
        before = pixel_change(operators, self.images)
        assert max(before.values()) > 2 * min(before.values())
        after = pixel_change(calibrated(operators, self.images, change=0.02), self.images)
        assert max(abs(v - 0.02) for v in after.values()) < 0.002
        assert after["contrast"] == pytest.approx(0.02, rel=0.01)

    def test_strength_of_a_blend_is_known_in_closed_form(self):
        (half,) = calibrated([Brightness()], self.images, change=float(self.images.mean()) / 255 / 4)
        assert half.strength == pytest.approx(0.75, abs=0.005)

    def test_default_is_the_smallest_change_of_those_that_change_anything(self):
        operators = (Hue(), Contrast(), Brightness(), Shape(0.5))
        before = pixel_change(operators, self.images)
        assert before["shape"] == 0
        after = pixel_change(calibrated(operators, self.images), self.images)
        smallest = sorted(before.values())[1]
        np.testing.assert_allclose([after[n] for n in ("hue", "contrast", "brightness")], smallest, rtol=0.01)
        assert after["shape"] == pytest.approx(smallest, rel=0.15)

    def test_an_operator_that_cannot_is_named(self):
        with pytest.warns(
            UserWarning, match="saturation changes a pixel by .* less than 0.3; it is left at its strongest"
        ):
            operators = calibrated([Saturation(), Brightness()], self.images, change=0.3)
        assert operators[0].strength == 0.0

    def test_bad_input(self):
        grey = np.repeat(self.images[:, :1], 3, axis=1)
        with pytest.raises(DataError, match="all images are grey, so hue and saturation"):
            calibrated(default_operators(), grey)
        flat = np.full_like(self.images, 120)
        with pytest.raises(DataError, match="contrast cannot change these images"):
            calibrated([Contrast()], flat)
        with pytest.raises(OptionError, match="change=0 must be"):
            calibrated([Hue()], self.images, change=0)
