import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from unsnarl.data import _glyphs as module
from unsnarl.data._glyphs import FAMILIES, GlyphOptions, Glyphs, font_faces, matplotlib_fonts, render_glyphs
from unsnarl.errors import DataError, OptionError, UnknownNameError

LETTERS = {"characters": "AHQ", "families": FAMILIES[:3]}
SIZES = [3, 3, 2, 2, 6, 5, 5]


def row(**changes):
    names = ["character", "family", "weight", "slant", "size", "pos_x", "pos_y"]
    return list((dict(zip(names, [0, 0, 0, 0, 5, 2, 2], strict=True)) | changes).values())


def render(*rows, **options):
    return render_glyphs(np.array(rows), **{**LETTERS, **options})


def test_grid_of_the_default_fonts_is_complete():
    options = GlyphOptions.of()
    assert options.families == FAMILIES
    assert {name: len(values) for name, values in options.grid.items()} == {
        "character": 26,
        "family": 4,
        "weight": 2,
        "slant": 2,
        "size": 6,
        "pos_x": 5,
        "pos_y": 5,
    }
    assert len(set(options.files)) == 16  # every face is a file of its own


def test_shape_dtype_and_batching():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(s, size=40) for s in SIZES], axis=1)
    x = render(*rows)
    assert x.shape == (40, 1, 64, 64)
    assert x.dtype == np.uint8
    assert len(np.unique(x)) > 50  # grey edges
    for i in (0, 39):
        np.testing.assert_array_equal(render(rows[i])[0], x[i])


def test_every_face_of_a_letter_differs():
    rows = [row(family=f, weight=w, slant=s) for f in range(3) for w in range(2) for s in range(2)]
    x = render(*rows)[:, 0].astype(int)
    for a in range(12):
        for b in range(a):
            assert (np.abs(x[a] - x[b]) > 100).sum() > 15, (rows[a], rows[b])


def test_bold_has_more_ink_and_italic_leans():
    x = render(row(character=1), row(character=1, weight=1), row(character=1, slant=1))[:, 0].astype(float)
    assert x[1].sum() > 1.3 * x[0].sum()
    columns = np.arange(64)

    def lean(image):
        rows = np.flatnonzero(image.sum(axis=1) > 300)
        top, bottom = image[rows[1]], image[rows[-2]]
        return top @ columns / top.sum() - bottom @ columns / bottom.sum()

    assert abs(lean(x[0])) < 0.3
    assert lean(x[2]) > 3


def test_size_scales_the_ink():
    ink = render(*[row(size=s) for s in range(6)]).sum(axis=(1, 2, 3)).astype(float)
    np.testing.assert_allclose(ink / ink[-1], np.linspace(0.5, 1, 6) ** 2, rtol=0.01)


@pytest.mark.parametrize("name", ["pos_x", "pos_y"])
def test_moving_a_glyph_moves_its_pixels_by_equal_steps(name):
    x = render(*[row(**{name: p}) for p in range(5)])[:, 0]
    axis = 1 if name == "pos_x" else 0
    first = [np.flatnonzero(image.any(axis=1 - axis))[0] for image in x]
    steps = np.diff(first)
    assert steps[0] >= 3
    assert (steps == steps[0]).all()
    for p in range(1, 5):
        np.testing.assert_array_equal(np.roll(x[0], steps[0] * p, axis=axis), x[p])


def test_middle_position_centres_a_symmetric_capital():
    image = render(row(character=1, family=1))[0, 0]  # H of the monospaced family
    rows, columns = (np.flatnonzero(image.any(axis=a)) for a in (1, 0))
    assert abs(rows[0] + rows[-1] - 63) <= 1
    assert abs(columns[0] + columns[-1] - 63) <= 1


def test_glyphs_stay_inside_at_every_corner_of_the_grid():
    corners = np.stack(np.meshgrid(*[[0, s - 1] for s in SIZES], indexing="ij"), axis=-1).reshape(-1, 7)
    ink = render(*corners).sum(axis=(1, 2, 3))
    middle = corners.copy()
    middle[:, 5:] = 2
    np.testing.assert_array_equal(ink, render(*middle).sum(axis=(1, 2, 3)))
    assert (ink > 0).all()


def test_shrinking_keeps_the_mean_and_agrees_with_a_block_average():
    ink = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
    mask = module._Mask(ink, 20.0, 12.0)
    small = module._shrink(mask, np.array([0.25]), (10, 15), (3, 5))[0]
    np.testing.assert_array_equal(small, np.round(ink.reshape(10, 4, 15, 4).mean(axis=(1, 3))))


def test_pixels_agree_with_a_drawing_at_the_final_size():
    image = render(row(character=1))[0, 0]
    font = ImageFont.truetype(matplotlib_fonts()[0], 0.6 * 64, layout_engine=ImageFont.Layout.BASIC)
    canvas = Image.new("L", (64, 64))
    ImageDraw.Draw(canvas).text((32 - font.getlength("H") / 2, 32 + 14), "H", fill=255, font=font, anchor="ls")
    assert abs(int(image.sum()) / int(np.asarray(canvas).sum(dtype=int)) - 1) < 0.1
    assert np.abs(image.astype(int) - np.asarray(canvas)).mean() < 4


def test_a_factor_with_one_value_is_held():
    options = {"characters": "A", "families": ["DejaVu Serif"], "slants": ["upright"], "sizes": 1, "pos_y": 1}
    assert list(GlyphOptions.of(**options).grid) == ["weight", "pos_x"]
    assert render_glyphs(np.array([[1, 4]]), 48, **options).shape == (1, 1, 48, 48)
    with pytest.raises(OptionError, match="single value"):
        Glyphs(2, **options, weights=["bold"], pos_x=1)


def test_own_font_files_and_their_names():
    faces = font_faces(matplotlib_fonts())
    assert ("DejaVu Serif", "bold", "italic") in faces
    assert faces["DejaVu Sans", "regular", "italic"].endswith("DejaVuSans-Oblique.ttf")
    options = GlyphOptions.of(fonts=matplotlib_fonts()[:8])
    assert options.families == ("DejaVu Sans", "DejaVu Sans Mono")


def test_missing_and_broken_fonts_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.ttf does not exist"):
        Glyphs(2, fonts=[tmp_path / "nowhere.ttf"])
    broken = tmp_path / "broken.ttf"
    broken.write_text("not a font")
    with pytest.raises(DataError, match=r"broken\.ttf is not a font"):
        Glyphs(2, fonts=[broken])
    with pytest.raises(DataError, match="is not a font"):
        Glyphs(2, fonts=[tmp_path])
    with pytest.raises(DataError, match="no font family has all of"):
        Glyphs(2, fonts=matplotlib_fonts()[:3])
    with pytest.raises(DataError, match="has no bold italic face"):
        Glyphs(2, fonts=matplotlib_fonts()[:3], families=["DejaVu Sans"])
    with pytest.raises(UnknownNameError, match="DejaVu Sans"):
        Glyphs(2, families=["DejaVu Sanz"])
    with pytest.raises(DataError, match="no glyph for '\u4e00'"):
        Glyphs(2, characters="A\u4e00")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"characters": ""}, "characters"),
        ({"characters": "AA"}, "different"),
        ({"characters": ["AB", "C"]}, "one visible character"),
        ({"characters": "A "}, "one visible character"),
        ({"sizes": 0}, "sizes"),
        ({"pos_x": 40}, "use fewer positions"),
        ({"image_size": 8}, "image_size"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Glyphs(2, **{**LETTERS, **options})


def test_simulator_renders_exact_counterfactuals():
    letters = Glyphs(20, seed=1, **LETTERS)
    edited = letters.intervene(slice(None), weight="bold", character="Q")
    rows = letters.indices_of(letters.table)
    rows[:, 0], rows[:, 2] = 2, 1
    np.testing.assert_array_equal(edited.observations.numpy(), render(*rows))
    np.testing.assert_array_equal(letters.render(letters.table).numpy(), letters.observations.numpy())
