"""Pairs of exactly known mutual information."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import kstest

from unsnarl.data.known._pairs import PARAMETERS, SIZES, draw_images, gaussian_pair, image_pair
from unsnarl.errors import OptionError

kinds = pytest.mark.parametrize("kind", sorted(PARAMETERS))


def gaussian_information(x, y):
    joint = np.corrcoef(np.c_[x, y].T)
    d = x.shape[1]
    logdets = [np.linalg.slogdet(c)[1] for c in (joint[:d, :d], joint[d:, d:], joint)]
    return 0.5 * (logdets[0] + logdets[1] - logdets[2])


@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (3, 3), (2, 5), (4, 1)])
@pytest.mark.parametrize("mi", [0.0, 0.7, 6.0])
def test_gaussian_pairs_share_what_they_should(mi, dx, dy):
    x, y = gaussian_pair(mi, dx, dy, n=100_000, seed=dx)
    assert x.shape == (100_000, dx)
    assert y.shape == (100_000, dy)
    assert gaussian_information(x, y) == pytest.approx(mi, abs=0.02)
    assert np.cov(x.T).reshape(dx, dx) == pytest.approx(np.eye(dx), abs=0.02)
    assert np.cov(y.T).reshape(dy, dy) == pytest.approx(np.eye(dy), abs=0.02)


def test_every_coordinate_takes_part():
    x, y = gaussian_pair(2.0, 3, 3, n=50_000, seed=1)
    cross = np.abs(np.corrcoef(np.c_[x, y].T)[:3, 3:])
    assert (cross > 0.02).sum() >= 8
    assert np.linalg.svd(cross.max() * 0 + np.corrcoef(np.c_[x, y].T)[:3, 3:])[1] == pytest.approx(
        [np.sqrt(1 - np.exp(-4 / 3))] * 3, abs=0.02
    )


def test_large_information_is_exact():
    """At 12 nats a coordinate the correlation rounds to 1 - 2e-11, but the difference of the two is still right."""
    x, y = gaussian_pair(12.0, 1, 1, n=20_000)
    rest = y - np.sign((x * y).mean()) * x * np.sqrt(-np.expm1(-24.0))
    assert rest.std() == pytest.approx(np.exp(-12.0), rel=0.02)


def test_seeds():
    one, same, other = gaussian_pair(1, seed=4), gaussian_pair(1, seed=4), gaussian_pair(1, seed=5)
    assert np.array_equal(one[0], same[0])
    assert np.array_equal(one[1], same[1])
    assert not np.array_equal(one[0], other[0])


@kinds
def test_images_are_pictures_of_correlated_parameters(kind):
    x, y = image_pair(2.0, kind, n=300, seed=3)
    a, b = gaussian_pair(2.0, PARAMETERS[kind], PARAMETERS[kind], 300, seed=3)
    assert x.shape == (300, 1, SIZES[kind], SIZES[kind])
    assert x.dtype == np.float32
    assert np.array_equal(x, draw_images(a, kind, SIZES[kind]))
    assert np.array_equal(y, draw_images(b, kind, SIZES[kind]))
    assert x.min() >= 0
    assert x.max() <= 1


@kinds
def test_the_map_is_injective_and_smooth(kind):
    """At random parameters the Jacobian of the picture has full rank: no direction is lost."""
    rng = np.random.default_rng(0)
    d, h = PARAMETERS[kind], 1e-3
    centers = 0.7 * rng.normal(size=(20, d))
    for center in centers:
        steps = np.r_[center + h * np.eye(d), center - h * np.eye(d)]
        pictures = draw_images(steps, kind, SIZES[kind]).reshape(2 * d, -1).astype(np.float64)
        jacobian = (pictures[:d] - pictures[d:]) / (2 * h)
        singular = np.linalg.svd(jacobian, compute_uv=False)
        assert singular[-1] > 0.02 * singular[0]


def test_blobs_by_hand():
    picture = draw_images(np.array([[0.3, -1.2]]), "blobs", 16)[0, 0]
    cx, cy = ndtr(0.3), ndtr(-1.2)
    p = (np.arange(16) + 0.5) / 16
    expected = np.exp(-10 * ((p[None, :] - cx) ** 2 + (p[:, None] - cy) ** 2))
    assert picture == pytest.approx(expected, abs=1e-6)


def test_rectangles_hold_their_edges():
    """The grey values of a row sum to the width in pixels, and the edges are where the parameters put them."""
    values = np.random.default_rng(1).normal(size=(500, 4))
    pictures = draw_images(values, "rectangles", 32)[:, 0]
    u, m = ndtr(values), 2 / 32
    left = (1 - m) * (1 - np.sqrt(1 - u[:, 0]))
    right = left + m + u[:, 1] * (1 - left - m)
    top = (1 - m) * (1 - np.sqrt(1 - u[:, 2]))
    bottom = top + m + u[:, 3] * (1 - top - m)
    assert pictures.sum(axis=(1, 2)) == pytest.approx(32 * 32 * (right - left) * (bottom - top), rel=1e-4)
    columns = pictures.max(axis=1)  # a full row shows the coverage along x
    first = columns.argmax(axis=1)  # the first fully covered pixel
    before = np.where(first > 0, columns[np.arange(500), np.maximum(first - 1, 0)], 0)
    assert (first - before) / 32 == pytest.approx(left, abs=1e-4)
    assert (right - left).min() * 32 >= 2 - 1e-9
    # low and high edge are uniform over all that leave the shortest side: the low one has a triangular density
    assert kstest(1 - (1 - left / (1 - m)) ** 2, "uniform").pvalue > 0.001


def test_gaussians_have_the_stated_moments():
    picture = draw_images(np.array([[0, 0, -0.5, 0.2, 1.0]]), "gaussians", 64)[0, 0].astype(float)
    sx, sy, r = 0.1 + 0.2 * ndtr(-0.5), 0.1 + 0.2 * ndtr(0.2), 1.6 * ndtr(1.0) - 0.8
    p = (np.arange(64) + 0.5) / 64 - 0.5
    log = np.log(np.maximum(picture, 1e-30))
    i, j = 40, 30  # a point off the centre
    a, b = p[j] / sx, p[i] / sy
    assert log[i, j] == pytest.approx(-(a * a - 2 * r * a * b + b * b) / (2 * (1 - r * r)), rel=1e-4)


@kinds
def test_the_distribution_of_images_does_not_depend_on_the_information(kind):
    """What lets one compressor serve all levels: the mean images agree, between levels and between sides."""
    means = [image.mean(axis=(0, 1)) for mi in (0, 5) for image in image_pair(mi, kind, n=4000, seed=int(mi))]
    for other in means[1:]:
        assert np.abs(other - means[0]).max() < 0.04


def test_noise():
    clean, noisy = image_pair(1, "blobs", 400, 0), image_pair(1, "blobs", 400, 0, noise=0.1)
    differences = [noisy[i] - clean[i] for i in (0, 1)]
    for difference in differences:
        assert difference.std() == pytest.approx(0.1, rel=0.02)
    assert abs(np.corrcoef(differences[0].ravel(), differences[1].ravel())[0, 1]) < 0.02
    assert noisy[0].dtype == np.float32


def test_other_sizes():
    assert image_pair(1, "rectangles", 5, size=20)[0].shape == (5, 1, 20, 20)


def test_bad_input():
    for mi in (-0.1, float("nan"), float("inf"), 17.0):
        with pytest.raises(OptionError, match="mi="):
            gaussian_pair(mi)
    gaussian_pair(17.0, 2, 2)
    for option in ({"dx": 0}, {"dy": 0}, {"n": 0}, {"seed": -1}):
        with pytest.raises(OptionError, match=next(iter(option))):
            gaussian_pair(1, **option)
    with pytest.raises(OptionError, match="kind='circles' is not allowed; choose one of 'blobs'"):
        image_pair(1, "circles")
    with pytest.raises(OptionError, match="noise"):
        image_pair(1, "blobs", noise=-1)
    with pytest.raises(OptionError, match="size=7"):
        image_pair(1, "blobs", size=7)
    with pytest.raises(OptionError, match="kind='blobs' has 2 parameters, but the values have 3"):
        draw_images(np.zeros((4, 3)), "blobs", 16)
