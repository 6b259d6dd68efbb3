import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import unsnarl
from unsnarl.data import FactorDataset, Simulator, data_sets, load
from unsnarl.data._load import _ENTRIES
from unsnarl.errors import FileError, OptionError, UnknownNameError


def test_every_name_has_a_line_and_something_behind_it():
    for name, line in data_sets().items():
        assert line
        assert "\n" not in line
        entry = _ENTRIES[name]
        module = __import__(f"unsnarl.data.{entry.module}", fromlist=[entry.attribute])
        assert callable(getattr(module, entry.attribute))


def test_listing_imports_nothing_heavy():
    code = "import sys; from unsnarl.data import data_sets; data_sets(); print({'torch', 'numpy', 'pandas'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_every_public_name_of_the_room_exists():
    for name in unsnarl.data.__all__:
        assert getattr(unsnarl.data, name) is not None


@pytest.mark.parametrize("name", ["shapes3d", "sprites", "glyphs"])
def test_simulators_by_name(name):
    data = load(name, size=4, seed=1, image_size=32)
    assert isinstance(data, Simulator)
    assert len(data) == 4
    again = unsnarl.load(name, size=4, seed=1, image_size=32)
    assert (data.observations == again.observations).all()


def test_data_inside_packages_by_name():
    assert len(load("digits")) == 1797
    assert load("Breast-Cancer").factor_names == ["diagnosis"]


def test_files_by_path(tmp_path):
    frame = pd.DataFrame({"x": [0.5, 1.5, 2.5], "shape": ["a", "b", "a"]})
    frame.to_csv(tmp_path / "d.csv", index=False)
    data = load(tmp_path / "d.csv", factors=["shape"])
    assert data.factor_names == ["shape"]
    data.save(tmp_path / "d.npz")
    assert type(load(str(tmp_path / "d.npz"))) is FactorDataset
    np.savez(tmp_path / "two.npz", z=np.zeros((3, 2)), y=np.zeros(3))
    assert tuple(load(f"{tmp_path}/two.npz:z").observations.shape) == (3, 2)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("sprtes", {}, UnknownNameError, "unknown data set 'sprtes'; did you mean 'sprites'"),
        ("qqq", {}, UnknownNameError, "known: shapes3d, sprites, color_sprites, glyphs"),
        ("digits", {"size": 3}, OptionError, "digits has no option 'size'; its options are: none"),
        ("sprites", {"sise": 3}, OptionError, "sprites has no option 'sise'; its options are: size, image_size, "),
        ("shapes3d", {"path": "x"}, OptionError, r"the published file is read by load\('3dshapes', path=\.\.\.\)"),
        ("dsprites", {}, OptionError, "dsprites needs path=; its options are: path, size, seed, indices"),
        ("dsprites", {"path": "no.npz"}, FileError, r"there is no file no\.npz"),
        ("no/such.csv", {}, FileError, r"there is no file no/such\.csv"),
        (
            "such.csv",
            {"factor": ["a"]},
            OptionError,
            r"such\.csv has no option 'factor'; .*factors_path, observations, factors",
        ),
    ],
)
def test_what_cannot_be_loaded(name, options, error, message):
    with pytest.raises(error, match=message):
        load(name, **options)
