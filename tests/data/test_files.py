import errno
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from unsnarl.data import FactorDataset, FactorTable, read_array, read_codes, read_dataset, read_factors
from unsnarl.data._array_files import array_shape, read_rows
from unsnarl.errors import DataError, FileError, OptionError, UnknownNameError, UnsnarlError

CODES = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
FACTORS = pd.DataFrame({"shape": ["cube", "ball"] * 6, "size": np.linspace(0, 1, 12), "count": np.arange(12) % 3})


class Burglar:
    """Unpickling it would create a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


# --- codes


@pytest.mark.parametrize("ending", [".npy", ".npz", ".csv", ".tsv", ".parquet", ".CSV"])
def test_codes_from_every_kind_of_file(tmp_path, ending):
    path, frame = tmp_path / f"codes{ending}", pd.DataFrame(CODES, columns=["a", "b", "c"])
    names = ["a", "b", "c"]
    if ending == ".npy":
        np.save(path, CODES)
    elif ending == ".npz":
        np.savez(path, z=CODES)
    elif ending == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    if ending in (".npy", ".npz"):
        names = ["latent 0", "latent 1", "latent 2"]
    codes, found = read_codes(path)
    assert found == names
    np.testing.assert_array_equal(codes.astype(np.float32), CODES)
    part, _ = read_codes(path, columns=[names[2], names[0]])
    np.testing.assert_array_equal(part.astype(np.float32), CODES[:, [2, 0]])


def test_integer_codes_stay_integers(tmp_path):
    np.save(tmp_path / "c.npy", np.arange(6, dtype=np.int16).reshape(3, 2))
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}).to_csv(tmp_path / "c.csv", index=False)
    assert read_codes(tmp_path / "c.npy")[0].dtype == np.int16
    assert read_codes(tmp_path / "c.csv")[0].dtype == np.int64


def test_the_key_of_an_npz_by_option_or_in_the_path(tmp_path):
    path = tmp_path / "c.npz"
    np.savez(path, z=CODES, mean=CODES + 1)
    np.testing.assert_array_equal(read_codes(path, key="mean")[0], CODES + 1)
    np.testing.assert_array_equal(read_codes(f"{path}:mean")[0], CODES + 1)
    with pytest.raises(FileError, match=r"c\.npz holds several arrays; name one with key=: z, mean"):
        read_codes(path)
    with pytest.raises(UnknownNameError, match=r"unknown array of .*c\.npz 'means'; did you mean 'mean'"):
        read_codes(path, key="means")
    with pytest.raises(UnknownNameError, match="known: z, mean"):
        read_codes(f"{path}:qq")
    with pytest.raises(OptionError, match="give one of the two"):
        read_codes(f"{path}:mean", key="z")


def test_columns_that_number_the_rows_are_left_out(tmp_path):
    frame = pd.DataFrame(CODES, columns=["a", "b", "c"])
    frame.to_csv(tmp_path / "unnamed.csv")
    frame.rename_axis("id").to_csv(tmp_path / "named.csv")
    frame.to_csv(tmp_path / "twice.csv")
    pd.read_csv(tmp_path / "twice.csv").to_csv(tmp_path / "twice.csv", index=False)  # "Unnamed: 0"
    frame.set_axis([f"row {i}" for i in range(12)]).to_parquet(tmp_path / "text.parquet")
    for name in ("unnamed.csv", "twice.csv", "text.parquet"):
        assert read_codes(tmp_path / name)[1] == ["a", "b", "c"]
    assert read_codes(tmp_path / "named.csv")[1] == ["id", "a", "b", "c"]
    assert read_codes(tmp_path / "named.csv", index_column="id")[1] == ["a", "b", "c"]
    assert read_codes(tmp_path / "named.csv", index_column=0)[1] == ["a", "b", "c"]
    assert read_codes(tmp_path / "unnamed.csv", index_column=0)[1] == ["a", "b", "c"]
    with pytest.raises(OptionError, match="has 4 columns"):
        read_codes(tmp_path / "named.csv", index_column=4)
    with pytest.raises(UnknownNameError, match="unknown column of"):
        read_codes(tmp_path / "named.csv", index_column="idd")


def test_dialects_of_csv(tmp_path):
    (tmp_path / "r.csv").write_text('"a","b"\n"1",1.5,2\n"2",3.5,4\n')  # R's write.table: one name fewer
    np.testing.assert_array_equal(read_codes(tmp_path / "r.csv")[0], [[1.5, 2], [3.5, 4]])
    (tmp_path / "end.csv").write_text("a,b,\n1,2,\n3,4,\n")
    np.testing.assert_array_equal(read_codes(tmp_path / "end.csv")[0], [[1, 2], [3, 4]])
    (tmp_path / "bom.csv").write_bytes("\ufeffé,b\r\n1,2\r\n\r\n3,4\r\n".encode())
    assert read_codes(tmp_path / "bom.csv")[1] == ["é", "b"]
    (tmp_path / "semi.csv").write_text("a;b\n1;2\n")
    np.testing.assert_array_equal(read_codes(tmp_path / "semi.csv", separator=";")[0], [[1, 2]])
    (tmp_path / "bool.csv").write_text("a,b\nTrue,1.5\nFalse,2\n")
    np.testing.assert_array_equal(read_codes(tmp_path / "bool.csv")[0], [[1, 1.5], [0, 2]])
    pd.DataFrame(CODES).to_csv(tmp_path / "numbered.csv", index=False)  # the header is 0,1,2
    assert read_codes(tmp_path / "numbered.csv")[0].shape == (12, 3)
    np.savetxt(tmp_path / "bare.csv", CODES, delimiter=",")
    assert read_codes(tmp_path / "bare.csv", header=False)[0].shape == (12, 3)
    assert read_codes(tmp_path / "bare.csv", header=True)[0].shape == (11, 3)


def test_a_parquet_column_of_vectors(tmp_path):
    pd.DataFrame({"id": np.arange(12), "vector": list(CODES)}).to_parquet(tmp_path / "v.parquet")
    codes, names = read_codes(tmp_path / "v.parquet", columns="vector")
    np.testing.assert_array_equal(codes, CODES)
    assert names == ["vector 0", "vector 1", "vector 2"]
    pd.DataFrame({"vector": [[1.0, 2.0], [1.0]]}).to_parquet(tmp_path / "ragged.parquet")
    with pytest.raises(DataError, match=r"ragged\.parquet: column 'vector' holds vectors of different lengths"):
        read_codes(tmp_path / "ragged.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"bad\.csv is empty \(0 bytes\)"),
        ("\n  \n\n", r"bad\.csv is empty \(only blank lines\)"),
        ("a,b\n", r"bad\.csv has no rows"),
        ("0.5,1.5\n2,3\n", r"bad\.csv has no header line \(its first line is 0\.5,1\.5\)"),
        ("a,b\n1,x\n2,y\n", r"bad\.csv: column 'b' holds text \(first: 'x' at row 0\), but codes must be numbers"),
        ("a,b\n1,2\n3,oops\n", r"holds text \(first: 'oops' at row 1\)"),
        ("a,b\n1,2\n3,\n", r"bad\.csv: codes has 1 value that is not finite \(first: NaN at row 1, column 1\)"),
        ("a,b\n1,2\n3,inf\n", r"codes has 1 value that is not finite \(first: infinite at row 1, column 1\)"),
        ("a,a\n1,2\n", r"bad\.csv has two columns named 'a'"),
        ("a,,c\n1,2,3\n", r"column 1 of .*bad\.csv has no name"),
        ("a,b\n1,2\n3,4,5\n", r"bad\.csv is truncated or damaged \(.*line 3"),
        ('a,b\n1,"2\n3,4\n', r"bad\.csv is truncated or damaged \(.*EOF inside string"),
        ("a;b\n1;2\n", r"bad\.csv seems to be separated by ';'; pass separator=';'"),
    ],
)
def test_bad_text_files(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(UnsnarlError, match=message) as caught:
        read_codes(tmp_path / "bad.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.csv", None, r"there is no file .*no\.csv"),
        (
            "codes.xlsx",
            b"PK\x03\x04",
            r"codes\.xlsx ends in \.xlsx; only \.npy, \.npz, \.csv, \.tsv, \.parquet can be read",
        ),
        ("codes", b"x", "ends in no extension"),
        ("codes.pt", b"x", r"codes\.pt is a pickle, which can run code"),
        ("codes.pkl", b"x", "save the array with numpy.save"),
        ("codes.npy", b"a,b\n1,2\n", r"codes\.npy is damaged or no \.npy file"),
        ("codes.npy", b"PK\x03\x04rest", r"ends in \.npy, but its contents are those of an \.npz file"),
        ("codes.npz", b"\x93NUMPY", r"contents are those of an \.npy file"),
        ("codes.csv", b"PAR1", r"ends in \.csv, but its contents are those of a \.parquet file"),
        ("codes.csv", b"\xff\xfea\x00", r"codes\.csv is not text in UTF-8"),
        ("codes.csv", b"a,b\n1,\xe9\n", r"codes\.csv is not text in UTF-8"),
        ("codes.npy", pickle.dumps([1, 2]), "is a pickle in spite of its name"),
        ("codes.npy", b"\x93NUMPY", r"codes\.npy is truncated or damaged"),
        ("codes.npz", b"PK\x05\x06" + b"\0" * 18, r"codes\.npz holds no arrays"),
        ("codes.parquet", b"PAR1", r"codes\.parquet is truncated or damaged"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        read_codes(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_folder_and_an_empty_path(tmp_path):
    (tmp_path / "codes.csv").mkdir()
    with pytest.raises(FileError, match=r"codes\.csv is a folder; name a file in it"):
        read_codes(tmp_path / "codes.csv")
    with pytest.raises(FileError, match="the path is empty"):
        read_codes("")


def test_no_permission(tmp_path, monkeypatch):
    np.save(tmp_path / "z.npy", CODES)
    usual = open

    def closed(file, *arguments, **options):
        if str(file).endswith("z.npy"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return usual(file, *arguments, **options)

    monkeypatch.setattr("builtins.open", closed)
    with pytest.raises(FileError, match=r"cannot read .*z\.npy: permission denied"):
        read_codes(tmp_path / "z.npy")


@pytest.mark.parametrize("ending", [".npy", ".npz", ".parquet"])
def test_files_that_were_cut_off(tmp_path, ending):
    path = tmp_path / f"codes{ending}"
    values = np.random.default_rng(0).normal(size=(500, 4))
    if ending == ".npy":
        np.save(path, values)
    elif ending == ".npz":
        np.savez_compressed(path, z=values)
    else:
        pd.DataFrame(values, columns=list("abcd")).to_parquet(path)
    whole = path.read_bytes()
    for share in (0.01, 0.3, 0.9, 0.999):
        path.write_bytes(whole[: max(9, int(share * len(whole)))])
        with pytest.raises(FileError, match=rf"codes\{ending} is truncated or damaged"):
            read_codes(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_scrambled_files_never_escape_as_another_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("scrambled")
    ending = data.draw(st.sampled_from([".npy", ".npz", ".csv", ".parquet"]))
    path = folder / f"codes{ending}"
    if ending == ".npy":
        np.save(path, CODES)
    elif ending == ".npz":
        np.savez(path, z=CODES)
    elif ending == ".csv":
        pd.DataFrame(CODES).to_csv(path)
    else:
        pd.DataFrame(CODES, columns=list("abc")).to_parquet(path)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        codes, names = read_codes(path)
    except UnsnarlError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert codes.shape[1] == len(names)


def test_codes_that_are_not_a_matrix(tmp_path):
    np.save(tmp_path / "one.npy", np.arange(5.0))
    with pytest.raises(DataError, match=r"one\.npy: codes must be 2-D .* use x\.reshape\(-1, 1\)"):
        read_codes(tmp_path / "one.npy")
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    with pytest.raises(DataError, match=r"text\.npy: codes must hold numbers"):
        read_codes(tmp_path / "text.npy")
    with pytest.raises(OptionError, match=r"one\.npy is an \.npy file, which holds one array"):
        read_array(tmp_path / "one.npy", "z")
    np.save(tmp_path / "record.npy", np.array([(1, 2.5), (3, 4.5)], dtype=[("a", int), ("b", float)]))
    codes, names = read_codes(tmp_path / "record.npy")
    np.testing.assert_array_equal(codes, [[1, 2.5], [3, 4.5]])
    assert names == ["a", "b"]


# --- pickles


def test_nothing_is_ever_unpickled(tmp_path):
    loot = tmp_path / "loot"
    trap = np.empty(1, dtype=object)
    trap[0] = Burglar(loot)
    np.save(tmp_path / "trap.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "trap.npz", z=trap)
    np.savez(tmp_path / "both.npz", trap=trap, z=CODES)
    for name in ("a.npy", "a.npz", "a.csv", "a.parquet", "a.pkl", "a.pt"):
        (tmp_path / name).write_bytes(pickle.dumps(Burglar(loot)))
    for name in ("trap.npy", "trap.npz", "both.npz:trap"):
        for read in (read_codes, read_factors, read_dataset, read_array):
            with pytest.raises(FileError, match=r"holds pickled Python objects, .* so they are not read; convert"):
                read(str(tmp_path / name))
    for name in ("a.npy", "a.npz", "a.csv", "a.parquet", "a.pkl", "a.pt"):
        for read in (read_codes, read_factors, read_dataset):
            with pytest.raises(FileError):
                read(tmp_path / name)
    np.testing.assert_array_equal(read_codes(tmp_path / "both.npz", key="z")[0], CODES)  # the rest is usable
    with pytest.raises(FileError, match="pickled"):
        read_rows(tmp_path / "trap.npy", None, np.array([0]))
    with pytest.raises(FileError, match="pickled"):
        read_rows(tmp_path / "trap.npz", "z", np.array([0]))
    assert not loot.exists()
    pickle.loads((tmp_path / "a.pkl").read_bytes()).close()
    assert loot.exists()  # the trap was live


# --- some rows


@settings(max_examples=40, deadline=None)
@given(
    array=arrays(st.sampled_from([np.uint8, np.float32, np.int64]), array_shapes(min_dims=1, max_dims=4, max_side=6)),
    seed=st.integers(0, 100),
    fortran=st.booleans(),
)
def test_some_rows_are_those_of_the_whole(tmp_path_factory, array, seed, fortran):
    folder = tmp_path_factory.mktemp("rows")
    stored = np.asfortranarray(array) if fortran else array
    np.save(folder / "a.npy", stored)
    np.savez(folder / "stored.npz", other=np.zeros(3), a=stored)
    np.savez_compressed(folder / "packed.npz", a=stored, other=np.zeros(3))
    rows = np.random.default_rng(seed).integers(len(array), size=7)
    for path, key in ((folder / "a.npy", None), (folder / "stored.npz", "a"), (folder / "packed.npz", "a")):
        found = read_rows(path, key, rows)
        np.testing.assert_array_equal(found, array[rows])
        assert found.dtype == array.dtype
        assert array_shape(path, key) == (array.shape, array.dtype)


def test_some_rows_of_a_large_compressed_array(tmp_path):
    array = np.arange(3000, dtype=np.int64)[:, None] * np.ones(3000, dtype=np.int64)  # 72 MB: several blocks
    np.savez_compressed(tmp_path / "a.npz", a=array)
    rows = np.array([2999, 0, 1500, 0])
    np.testing.assert_array_equal(read_rows(tmp_path / "a.npz", "a", rows)[:, 7], rows)


# --- factors


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".npz"])
def test_factors_from_every_kind_of_table(tmp_path, ending):
    path = tmp_path / f"factors{ending}"
    if ending == ".parquet":
        FACTORS.to_parquet(path)
    elif ending == ".npz":
        np.savez(path, **{c: np.array(FACTORS[c].tolist()) for c in FACTORS})
    else:
        FACTORS.to_csv(path, sep="\t" if ending == ".tsv" else ",")
    table = read_factors(path, kinds={"size": "continuous"})
    assert table.kinds == {"shape": "discrete", "size": "continuous", "count": "discrete"}
    assert table.values["shape"].tolist() == FACTORS["shape"].tolist()
    np.testing.assert_array_equal(table.numeric, FactorTable.of(FACTORS, kinds={"size": "continuous"}).numeric)
    assert read_factors(path, columns=["count", "shape"]).names == ["count", "shape"]
    with pytest.raises(UnknownNameError, match=r"unknown column of .*'shap'; did you mean 'shape'"):
        read_factors(path, columns=["shap"])
    with pytest.raises(UnknownNameError, match="unknown factor 'siz'"):
        read_factors(path, kinds={"siz": "continuous"})


def test_factors_without_names(tmp_path):
    np.save(tmp_path / "f.npy", np.array([[0, 1], [1, 1], [0, 0]]))
    assert read_factors(tmp_path / "f.npy").names == ["factor 0", "factor 1"]
    assert read_factors(tmp_path / "f.npy", names=["a", "b"]).names == ["a", "b"]
    with pytest.raises(OptionError, match="1 names were given for the 2 columns"):
        read_factors(tmp_path / "f.npy", names=["a"])
    np.save(tmp_path / "one.npy", np.array(["x", "y"]))
    assert read_factors(tmp_path / "one.npy", names="label").values["label"].tolist() == ["x", "y"]
    np.save(tmp_path / "deep.npy", np.zeros((2, 2, 2)))
    with pytest.raises(DataError, match=r"deep\.npy: factors must be 2-D"):
        read_factors(tmp_path / "deep.npy")
    np.savez(tmp_path / "mixed.npz", a=np.zeros(3), b=np.zeros((3, 2)))
    with pytest.raises(FileError, match="several arrays; name one with key=: a, b"):
        read_factors(tmp_path / "mixed.npz")


def test_missing_factor_values(tmp_path):
    (tmp_path / "f.csv").write_text("shape,size,note\ncube,1,None\n,2,x\nball,NA,y\n")
    with pytest.raises(DataError, match=r"f\.csv: factor 'shape' has 1 missing value \(first at row 1\)"):
        read_factors(tmp_path / "f.csv")
    table = read_factors(tmp_path / "f.csv", missing="keep")
    assert table.levels["shape"].tolist() == ["ball", "cube"]
    assert table.values["note"].tolist() == ["None", "x", "y"]  # a word, not a gap
    known, rows = table.without_missing()
    assert len(known) == 1
    assert rows.tolist() == [True, False, False]
    with pytest.raises(OptionError, match="missing='drop' is not allowed"):
        read_factors(tmp_path / "f.csv", missing="drop")


names_ = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=8)
words = st.text("abcdefghijkl é,;\"'|", min_size=2, max_size=9).filter(lambda t: t.strip() == t)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 40))
    columns = {}
    for name in draw(st.lists(names_, min_size=1, max_size=4, unique=True)):
        values = draw(
            st.sampled_from(
                [
                    st.integers(-5, 5),
                    st.integers(-(2**62), 2**62),
                    st.floats(-1e9, 1e9),
                    st.sampled_from([0.5, 0.6, 1.0]),
                    words,
                    st.booleans(),
                ]
            )
        )
        columns[f"{name}_x"] = draw(st.lists(values, min_size=n, max_size=n))
    return pd.DataFrame(columns)


@settings(max_examples=60, deadline=None)
@given(frame=tables(), ending=st.sampled_from([".csv", ".tsv", ".parquet"]))
def test_random_tables_survive_a_file(tmp_path_factory, frame, ending):
    path = tmp_path_factory.mktemp("tables") / f"f{ending}"
    before = FactorTable.of(frame)
    if ending == ".parquet":
        before.values.to_parquet(path)
    else:
        before.values.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    after = read_factors(path)
    assert after.names == before.names
    assert after.kinds == before.kinds
    np.testing.assert_array_equal(after.numeric, before.numeric)
    pd.testing.assert_frame_equal(after.values, before.values)


# --- data sets


def test_a_data_set_in_one_table(tmp_path):
    frame = pd.DataFrame(CODES, columns=list("abc")).join(FACTORS).assign(site=["x", "y", "z"] * 4)
    frame.to_csv(tmp_path / "d.csv")
    data = read_dataset(tmp_path / "d.csv", factors=["shape", "size"], observations=["a", "b"], groups="site")
    assert data.observations.shape == (12, 2)
    assert data.factor_names == ["shape", "size"]
    assert data.groups.tolist() == frame["site"].tolist()
    rest = FactorDataset.from_file(tmp_path / "d.csv", factors=["shape", "site"])
    assert rest.observations.shape == (12, 5)
    with pytest.raises(
        DataError, match=r"column 'shape' of .*d\.csv holds object values, but observations must be numbers"
    ):
        read_dataset(tmp_path / "d.csv", factors=["site"])
    with pytest.raises(UnknownNameError, match="unknown column of"):
        read_dataset(tmp_path / "d.csv", factors=["shpae"])


def test_a_data_set_in_two_files(tmp_path):
    images = np.random.default_rng(0).integers(256, size=(12, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    FACTORS.assign(split=["train"] * 9 + ["test"] * 3).to_csv(tmp_path / "f.csv", index=False)
    data = read_dataset(tmp_path / "x.npy", tmp_path / "f.csv", channels_last=True, split="split")
    assert data.factor_names == ["shape", "size", "count"]
    assert len(data.test) == 3
    np.testing.assert_array_equal(data.observations.numpy(), images.transpose(0, 3, 1, 2))
    again = FactorDataset.from_file(tmp_path / "x.npy", str(tmp_path / "f.csv"), split="split")
    assert again.observations.shape == (12, 8, 8, 3)
    np.save(tmp_path / "short.npy", images[:5])
    with pytest.raises(DataError, match=r"f\.csv: .*observations has 5, factors has 12"):
        read_dataset(tmp_path / "short.npy", tmp_path / "f.csv", factors=["shape"])
    with pytest.raises(OptionError, match="need a file of their own"):
        read_dataset(tmp_path / "x.npy", factors=["shape"])
    np.save(tmp_path / "flat.npy", CODES)
    with pytest.raises(DataError, match="channels_last=True needs images"):
        read_dataset(tmp_path / "flat.npy", channels_last=True)


def test_a_data_set_in_one_npz(tmp_path):
    np.savez(
        tmp_path / "d.npz", x=CODES, shape=np.array(FACTORS["shape"].tolist()), y=FACTORS[["size", "count"]].to_numpy()
    )
    data = read_dataset(tmp_path / "d.npz", key="x", factors=["shape"])
    assert data.factor_names == ["shape"]
    data = read_dataset(f"{tmp_path}/d.npz:x", factors_key="y")
    assert data.factor_names == ["factor 0", "factor 1"]
    assert read_dataset(tmp_path / "d.npz", key="x").table is None
    with pytest.raises(FileError, match="name one with key="):
        read_dataset(tmp_path / "d.npz")
    with pytest.raises(DataError, match=r"each factor must be 1-D with 12 values as 'x' has, but found y \(12, 2\)"):
        read_dataset(tmp_path / "d.npz", key="x", factors=["y"])


def assert_same(a: FactorDataset, b: FactorDataset):
    if isinstance(a.observations, torch.Tensor):
        assert a.observations.dtype == b.observations.dtype
        torch.testing.assert_close(a.observations, b.observations, rtol=0, atol=0)
    else:
        assert len(a.observations) == len(b.observations)
        for x, y in zip(a.observations, b.observations, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=0)
    assert a.kinds == b.kinds
    if a.table is not None:
        pd.testing.assert_frame_equal(a.factors, b.factors)
        assert {n: v.tolist() for n, v in a.table.levels.items()} == {n: v.tolist() for n, v in b.table.levels.items()}
    for name in ("groups", "split"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None)
        assert x is None or x.tolist() == y.tolist()


@pytest.mark.parametrize(
    "observations",
    [
        np.arange(24, dtype=np.uint8).reshape(12, 1, 2),
        CODES,
        torch.from_numpy(CODES).bfloat16(),
        torch.from_numpy(CODES).double(),
        torch.arange(12) > 5,
        [np.ones((i + 1, 2), dtype=np.float32) * i for i in range(12)],
        [np.zeros((2, i)) for i in range(12)],
    ],
)
def test_save_and_read_back(tmp_path, observations):
    data = FactorDataset(
        observations,
        FACTORS.rename(columns={"shape": "sh/ape ../é"}),
        kinds={"size": "continuous"},
        groups=["a", "b", "c"] * 4,
        split=["train", "test"] * 6,
    )
    path = tmp_path / "d.npz"
    data.save(path)
    assert_same(data, FactorDataset.from_file(path))
    part = data.subset([0, 2, 4])  # one of two shapes: the other keeps its place among the levels
    part.save(path)
    assert_same(part, FactorDataset.from_file(path))
    assert read_factors(path).names == data.factor_names
    assert FactorDataset.from_file(path, factors=["count"]).factor_names == ["count"]
    assert read_dataset(path, kinds={"count": "continuous"}).kinds["count"] == "continuous"


def test_save_without_factors_and_without_pickles(tmp_path):
    FactorDataset(CODES).save(tmp_path / "d.npz")
    assert_same(FactorDataset(CODES), read_dataset(tmp_path / "d.npz"))
    FactorDataset(CODES, FACTORS, groups=FACTORS["shape"]).save(tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        assert all(file[k].dtype.kind in "fiuU" for k in file)


def test_save_refuses_what_it_cannot_write(tmp_path, monkeypatch):
    with pytest.raises(FileError, match=r"d\.csv: the name must end in \.npz"):
        FactorDataset(CODES).save(tmp_path / "d.csv")
    with pytest.raises(DataError, match="have one dtype, but found float32, int64"):
        FactorDataset([torch.zeros(2), torch.zeros(3, dtype=torch.int64)]).save(tmp_path / "d.npz")
    FactorDataset(CODES).save(tmp_path / "d.npz")
    before = (tmp_path / "d.npz").read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("unsnarl.files.os.fsync", full)
    with pytest.raises(FileError, match=r"cannot write .*d\.npz: no space left on device"):
        FactorDataset(CODES + 1).save(tmp_path / "d.npz")
    assert (tmp_path / "d.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["d.npz"]


def test_a_saved_data_set_that_is_damaged_or_from_the_future(tmp_path):
    FactorDataset(CODES, FACTORS).save(tmp_path / "d.npz")
    with zipfile.ZipFile(tmp_path / "d.npz") as old, zipfile.ZipFile(tmp_path / "less.npz", "w") as new:
        for name in old.namelist():
            if name != "factor_1.npy":
                new.writestr(name, old.read(name))
    with pytest.raises(UnsnarlError, match=r"less\.npz"):
        read_dataset(tmp_path / "less.npz")
    np.savez(tmp_path / "later.npz", unsnarl=np.array('{"version": 99}'))
    with pytest.raises(FileError, match="written by a later version"):
        read_dataset(tmp_path / "later.npz")
    np.savez(tmp_path / "bad.npz", unsnarl=np.array("{"))
    with pytest.raises(FileError, match=r"bad\.npz is truncated or damaged"):
        read_dataset(tmp_path / "bad.npz")
