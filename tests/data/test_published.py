"""Small files in the formats of the published sets; pixels tell which image they belong to."""

import gzip
import io
import pickle
import tarfile

import h5py
import numpy as np
import pytest
import scipy.io

from unsnarl.data import load, read_3dshapes, read_cars3d, read_dsprites, read_mpi3d, read_smallnorb
from unsnarl.errors import DataError, FileError, OptionError, UnknownNameError, UnsnarlError


def numbered(n, *shape):
    """n images whose pixels spell their number in base 256."""
    digits = np.stack([np.arange(n) // 256**k % 256 for k in range(3)], axis=1).astype(np.uint8)
    return np.resize(np.repeat(digits[:, None], int(np.prod(shape)), axis=1), (n, *shape, 3))


def numbers(observations):
    pixels = observations.numpy().astype(int)[:, :, 0, 0]
    return pixels[:, 0] + 256 * pixels[:, 1] + 65536 * pixels[:, 2]


# --- dSprites

SPRITES = {"color": 1, "shape": 3, "scale": 2, "orientation": 4, "pos_x": 2, "pos_y": 2}


@pytest.fixture(scope="module", params=["stored", "compressed"])
def sprites(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("dsprites") / "dsprites.npz"
    classes = np.stack(np.unravel_index(np.arange(96), list(SPRITES.values())), axis=1)
    values = classes.astype(float) / 10
    values[:, 1] = classes[:, 1] + 1
    images = np.unpackbits(np.arange(96, dtype=np.uint8)[:, None], axis=1).reshape(96, 2, 4)
    metadata = np.array({"loot": Burglar(path.parent / "loot")}, dtype=object)
    save = np.savez if request.param == "stored" else np.savez_compressed
    save(path, metadata=metadata, imgs=images, latents_classes=classes, latents_values=values)
    return path, images, values


class Burglar:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_dsprites(sprites):
    path, images, values = sprites
    data = read_dsprites(path)
    assert data.factor_names == ["shape", "scale", "orientation", "pos_x", "pos_y"]
    assert set(data.kinds.values()) == {"discrete"}
    np.testing.assert_array_equal(data.observations.numpy(), images[:, None] * 255)
    np.testing.assert_array_equal(data.factors["orientation"], values[:, 3])
    assert data.factors["shape"].tolist() == ["square"] * 32 + ["ellipse"] * 32 + ["heart"] * 32
    assert not (path.parent / "loot").exists()


def test_a_draw_of_dsprites(sprites):
    path, images, values = sprites
    data, again = read_dsprites(path, size=20, seed=3), load("dsprites", path=path, size=20, seed=3)
    np.testing.assert_array_equal(data.observations, again.observations)
    place = np.packbits(data.observations.numpy().reshape(20, 8) > 0, axis=1)[:, 0]
    assert len(set(place.tolist())) == 20
    np.testing.assert_array_equal(data.factors["scale"], values[place, 2])
    assert (
        place != np.packbits(read_dsprites(path, size=20, seed=4).observations.numpy().reshape(20, 8) > 0, axis=1)[:, 0]
    ).any()
    few = read_dsprites(path, indices=[95, 0])
    assert few.factors["shape"].tolist() == ["heart", "square"]
    assert few.table.column("shape").tolist() == [1, 2]  # among ellipse, heart, square: the levels of the whole file
    np.testing.assert_array_equal(few.observations.numpy(), images[[95, 0], None] * 255)
    with pytest.raises(OptionError, match=r"size=97 must be an integer at least 1 and at most 96"):
        read_dsprites(path, size=97)
    with pytest.raises(DataError, match="give size= or indices=, not both"):
        read_dsprites(path, size=9, indices=[0])
    with pytest.raises(DataError, match="indices must be whole numbers from -96 to 95"):
        read_dsprites(path, indices=[96])


def test_files_that_are_no_dsprites(tmp_path):
    with pytest.raises(FileError, match="there is no file"):
        read_dsprites(tmp_path / "no.npz")
    np.savez(tmp_path / "a.npz", images=np.zeros(3))
    with pytest.raises(FileError, match=r"a\.npz has no array 'imgs'; it holds images"):
        read_dsprites(tmp_path / "a.npz")
    np.savez(
        tmp_path / "b.npz", imgs=np.zeros((3, 2, 2)), latents_values=np.zeros((4, 6)), latents_classes=np.zeros((4, 6))
    )
    with pytest.raises(FileError, match=r"b\.npz is no dSprites file"):
        read_dsprites(tmp_path / "b.npz")
    np.savez(
        tmp_path / "c.npz",
        imgs=np.array([Burglar(tmp_path / "loot")], dtype=object),
        latents_values=np.zeros((1, 6)),
        latents_classes=np.zeros((1, 6)),
    )
    with pytest.raises(FileError, match="the array 'imgs' holds pickled Python objects"):
        read_dsprites(tmp_path / "c.npz")
    assert not (tmp_path / "loot").exists()
    (tmp_path / "d.npz").write_bytes(pickle.dumps(1))
    with pytest.raises(FileError, match="is a pickle in spite of its name"):
        read_dsprites(tmp_path / "d.npz")


# --- 3D Shapes

ROOM_SIZES = (2, 2, 2, 3, 4, 5)


@pytest.fixture(scope="module", params=[None, (7, 4, 4, 3)])
def rooms(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("rooms") / "3dshapes.h5"
    grid = np.stack(np.unravel_index(np.arange(480), ROOM_SIZES), axis=1)
    labels = grid * [0.1, 0.1, 0.1, 0.25, 1, 15] + [0, 0, 0, 0.75, 0, -30]
    with h5py.File(path, "w") as file:
        options = {"chunks": request.param, "compression": "gzip"} if request.param else {}
        file.create_dataset("images", data=numbered(480, 4, 4), **options)
        file.create_dataset("labels", data=labels)
    return path, labels


def test_3dshapes(rooms, monkeypatch):
    path, labels = rooms
    monkeypatch.setattr("unsnarl.data._published.BLOCK", 48 * 50)
    data = read_3dshapes(path)
    assert data.factor_names == ["floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"]
    assert tuple(data.observations.shape) == (480, 3, 4, 4)
    np.testing.assert_array_equal(numbers(data.observations), np.arange(480))
    np.testing.assert_array_equal(data.factors["orientation"], labels[:, 5])
    assert data.factors["shape"][::5].tolist()[:4] == ["cube", "cylinder", "sphere", "capsule"]
    for drawn in (read_3dshapes(path, size=31, seed=1), read_3dshapes(path, indices=[479, 3, 3, 100])):
        which = numbers(drawn.observations)
        np.testing.assert_array_equal(drawn.factors["scale"], labels[which, 3])
        np.testing.assert_array_equal(drawn.factors["orientation"], labels[which, 5])
    assert which.tolist() == [479, 3, 3, 100]
    assert drawn.table.levels["orientation"].tolist() == [-30, -15, 0, 15, 30]


def test_3dshapes_is_never_read_whole_by_accident(rooms, monkeypatch):
    path, _ = rooms
    monkeypatch.setattr("unsnarl.data._published.ALL_AT_ONCE", 480 * 48 - 1)
    with pytest.raises(
        DataError, match=r"3dshapes\.h5 holds 480 images, .*pass size= for a random subset, .* size=480 for all"
    ):
        read_3dshapes(path)
    assert len(read_3dshapes(path, size=480)) == 480


def test_files_that_are_no_3dshapes(tmp_path, rooms):
    (tmp_path / "a.h5").write_bytes(b"nothing")
    with pytest.raises(FileError, match=r"a\.h5 is damaged or no HDF5 file"):
        read_3dshapes(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["pictures"] = np.zeros(3)
    with pytest.raises(FileError, match=r"b\.h5 has no 'images'; it holds pictures"):
        read_3dshapes(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["images"], file["labels"] = np.zeros((3, 4, 4, 3), np.uint8), np.zeros((2, 6))
    with pytest.raises(FileError, match=r"c\.h5 is no 3D Shapes file"):
        read_3dshapes(tmp_path / "c.h5")
    whole = rooms[0].read_bytes()
    (tmp_path / "d.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"d\.h5 is truncated or damaged"):
        read_3dshapes(tmp_path / "d.h5")


# --- MPI3D


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mpi3d")
    np.savez(folder / "toy.npz", images=numbered(460_800, 1, 1))
    np.savez_compressed(folder / "real.npz", images=numbered(1_036_800, 1, 1))
    return folder


@pytest.mark.parametrize(("name", "sizes"), [("toy", (4, 4, 2, 3, 3, 40, 40)), ("real", (6, 6, 2, 3, 3, 40, 40))])
def test_mpi3d(arm, name, sizes):
    data = load("mpi3d", path=arm / f"{name}.npz", size=500, seed=0)
    assert data.factor_names == [
        "object_color",
        "object_shape",
        "object_size",
        "camera_height",
        "background_color",
        "horizontal_axis",
        "vertical_axis",
    ]
    np.testing.assert_array_equal(data.factors.to_numpy().T, np.unravel_index(numbers(data.observations), sizes))
    assert [len(v) for v in data.table.levels.values()] == list(sizes)
    one = read_mpi3d(f"{arm / name}.npz:images", indices=[40 * 40 * 3 * 3 * 2])
    assert one.factors.iloc[0].tolist() == [0, 1, 0, 0, 0, 0, 0]


def test_mpi3d_needs_a_whole_grid(tmp_path, arm, monkeypatch):
    np.savez(tmp_path / "a.npz", images=np.zeros((10, 4, 4, 3), np.uint8))
    with pytest.raises(FileError, match=r"a\.npz is no MPI3D file: .* hold 460,800 or 1,036,800 images"):
        read_mpi3d(tmp_path / "a.npz")
    monkeypatch.setattr("unsnarl.data._published.ALL_AT_ONCE", 1000)
    with pytest.raises(DataError, match=r"holds 460,800 images, .* pass size="):
        read_mpi3d(arm / "toy.npz")


# --- Cars3D


def car(model, azimuths=3, elevations=2, side=8):
    """Pixels: red = model, green = azimuth, blue = elevation."""
    image = np.zeros((side, side, 3, azimuths, elevations), dtype=np.uint8)
    image[:, :, 0] = model
    image[:, :, 1] = np.arange(azimuths)[:, None]
    image[:, :, 2] = np.arange(elevations)
    return image


@pytest.fixture(scope="module", params=["cars", "data/cars", "tar.gz", "."])
def cars(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("cars3d")
    folder = root / ("data/cars" if request.param == "tar.gz" else request.param)
    folder.mkdir(parents=True, exist_ok=True)
    for model in (3, 0, 2, 1):
        scipy.io.savemat(folder / f"car_{model:03}_mesh.mat", {"im": car(model), "other": "x"})
    (folder / "list.txt").write_text("car")
    if request.param == "tar.gz":
        scipy.io.savemat(root / "data" / "split.mat", {"a": 1})
        with tarfile.open(root / "cars.tar.gz", "w:gz") as archive:
            archive.add(root / "data", "data")
        return root / "cars.tar.gz"
    return root


def test_cars3d(cars):
    data = read_cars3d(cars, image_size=None)
    assert data.factor_names == ["elevation", "azimuth", "object_type"]
    assert tuple(data.observations.shape) == (24, 3, 8, 8)
    corner = data.observations[:, :, 0, 0].numpy()
    np.testing.assert_array_equal(corner, data.factors[["object_type", "azimuth", "elevation"]].to_numpy())
    some = read_cars3d(cars, size=5, seed=2)
    assert tuple(some.observations.shape) == (5, 3, 64, 64)
    np.testing.assert_array_equal(
        some.observations[:, :, 30, 30].numpy(), some.factors[["object_type", "azimuth", "elevation"]].to_numpy()
    )


def test_cars_that_cannot_be_read(tmp_path):
    with pytest.raises(FileError, match="there is no folder"):
        read_cars3d(tmp_path / "no")
    with pytest.raises(FileError, match=r"holds no \.mat files"):
        read_cars3d(tmp_path)
    scipy.io.savemat(tmp_path / "a.mat", {"image": car(0)})
    with pytest.raises(FileError, match=r"a\.mat is no Cars3D file: it holds no array 'im'"):
        read_cars3d(tmp_path)
    scipy.io.savemat(tmp_path / "a.mat", {"im": car(0)})
    scipy.io.savemat(tmp_path / "b.mat", {"im": car(0, azimuths=2)})
    with pytest.raises(FileError, match=r"b\.mat in .* unlike the first file"):
        read_cars3d(tmp_path)
    whole = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(whole[:200])
    with pytest.raises(FileError, match=r"a\.mat is truncated or damaged"):
        read_cars3d(tmp_path)
    (tmp_path / "cars.tar.gz").write_bytes(b"no archive")
    with pytest.raises(FileError, match=r"cars\.tar\.gz is truncated or damaged"):
        read_cars3d(tmp_path / "cars.tar.gz")
    with pytest.raises(OptionError, match="image_size=0 must be an integer at least 1"):
        read_cars3d(tmp_path, image_size=0)


# --- SmallNORB

MAGIC = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54}


def matrix(array):
    """The binary matrix format of the NORB sets."""
    sizes = [*array.shape, 1, 1][: max(3, array.ndim)]
    return np.array([MAGIC[str(array.dtype)], array.ndim, *sizes], "<i4").tobytes() + array.tobytes()


def write_norb(folder, zipped, n=60):
    rng = np.random.default_rng(0)
    for part, instances, offset in (
        ("46789x9x18x6x2x96x96-training", [4, 6, 7, 8, 9], 0),
        ("01235x9x18x6x2x96x96-testing", [0, 1, 2, 3, 5], 100),
    ):
        images = np.zeros((n, 2, 12, 12), dtype=np.uint8)
        images[:, 0] = (np.arange(n) + offset)[:, None, None]
        images[:, 1] = 255 - images[:, 0]
        category = np.arange(n, dtype=np.int32) % 5
        info = np.stack(
            [rng.choice(instances, n), rng.integers(9, size=n), 2 * rng.integers(18, size=n), rng.integers(6, size=n)],
            axis=1,
        ).astype(np.int32)
        for kind, array in (("dat", images), ("cat", category), ("info", info)):
            content = matrix(array)
            name = f"smallnorb-5x{part}-{kind}.mat"
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)


@pytest.fixture(scope="module", params=[False, True])
def norb(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("norb")
    write_norb(folder, request.param)
    return folder


def test_smallnorb(norb):
    data = read_smallnorb(norb, image_size=None)
    assert data.factor_names == ["category", "instance", "elevation", "azimuth", "lighting"]
    assert tuple(data.observations.shape) == (120, 1, 12, 12)
    assert data.observations[:, 0, 0, 0].tolist() == [*range(60), *range(100, 160)]
    assert data.factors["category"][:6].tolist() == ["animal", "human", "airplane", "truck", "car", "animal"]
    assert set(data.factors["azimuth"]) <= set(range(0, 360, 20))
    assert set(data.factors["elevation"]) <= set(range(30, 75, 5))
    assert set(data.train.factors["instance"]) == {4, 6, 7, 8, 9}
    assert set(data.test.factors["instance"]) == {0, 1, 2, 3, 5}
    assert data.groups[0] == f"animal {data.factors['instance'][0]}"


def test_parts_and_cameras_of_smallnorb(norb):
    test = load("smallnorb", path=norb, split="test", camera="both", size=20, seed=1)
    assert tuple(test.observations.shape) == (20, 2, 64, 64)
    left, right = test.observations[:, :, 32, 32].int().T
    assert (left + right == 255).all()
    assert (left >= 100).all()
    whole = read_smallnorb(norb, split="test", image_size=None)
    np.testing.assert_array_equal(test.factors, whole.factors.iloc[left.numpy() - 100].reset_index(drop=True))
    mixed = read_smallnorb(norb, indices=[119, 0, 60], camera="right", image_size=None)
    assert mixed.observations[:, 0, 0, 0].tolist() == [255 - 159, 255, 255 - 100]
    assert mixed.split.tolist() == ["test", "train", "test"]
    with pytest.raises(OptionError, match="split='valid' is not allowed; choose one of 'all', 'train', 'test'"):
        read_smallnorb(norb, split="valid")
    with pytest.raises(OptionError, match="camera='middle' is not allowed"):
        read_smallnorb(norb, camera="middle")


def test_smallnorb_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileError, match=r"holds no file smallnorb-\.\.\.-training-dat\.mat"):
        read_smallnorb(tmp_path)
    write_norb(tmp_path, False)
    dat = next(tmp_path.glob("*training-dat.mat"))
    with pytest.raises(FileError, match="is a file; name the folder"):
        read_smallnorb(dat)
    whole = dat.read_bytes()
    dat.write_bytes(whole[:-10])
    with pytest.raises(FileError, match=r"training-dat\.mat is truncated or damaged"):
        read_smallnorb(tmp_path)
    dat.write_bytes(b"\0" * 100)
    with pytest.raises(FileError, match=r"is no binary matrix file of the NORB kind \(magic number 0x0\)"):
        read_smallnorb(tmp_path)
    dat.write_bytes(whole)
    cat = next(tmp_path.glob("*training-cat.mat"))
    cat.write_bytes(matrix(np.full(60, 7, dtype=np.int32)))
    with pytest.raises(FileError, match="categories 7 to 7"):
        read_smallnorb(tmp_path)


def test_errors_are_one_line_and_ours(tmp_path):
    (tmp_path / "x").write_bytes(io.BytesIO(b"\x89HDF\r\n\x1a\n" + b"\0" * 50).getvalue())
    for read in (read_dsprites, read_3dshapes, read_mpi3d, read_cars3d, read_smallnorb):
        for path in (tmp_path / "x", tmp_path / "missing", tmp_path):
            with pytest.raises(UnsnarlError) as caught:
                read(path)
            assert "\n" not in str(caught.value)
    with pytest.raises(UnknownNameError, match="unknown data set 'dsprite'; did you mean 'dsprites'"):
        load("dsprite", path=tmp_path)
