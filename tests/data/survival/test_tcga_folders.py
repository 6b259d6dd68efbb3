"""Folders of feature files, clinical tables, expression and signatures."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from unsnarl.data.survival import load_tcga, read_features, read_pathways
from unsnarl.errors import DataError, FileError, OptionError, UnknownNameError


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "bags").mkdir()
    torch.save(torch.tensor(rng.normal(size=(5, 4)), dtype=torch.float16), tmp_path / "bags" / "S-1.a.pt")
    torch.save(torch.tensor(rng.normal(size=(3, 4))), tmp_path / "bags" / "S-2.b.pt")
    np.save(tmp_path / "bags" / "S-3.npy", rng.normal(size=(6, 4)))
    with h5py.File(tmp_path / "bags" / "S-4.h5", "w") as file:
        file["features"] = rng.normal(size=(1, 7, 4))
        file["coords"] = np.zeros((7, 2))
    frame = pd.DataFrame(
        {
            "case_id": ["P1", "P1", "P2", "P3"],
            "slide_id": ["S-1.a.svs", "S-2.b.svs", "S-3", "S-4.svs"],
            "survival_months_dss": [10.5, 10.5, 20.0, 5.0],
            "censorship_dss": [0, 0, 1, 0],
            "age": [50, 50, 60, 70],
            "site": ["a", "a", "b", "a"],
        }
    )
    frame.to_csv(tmp_path / "clinical.csv", index=False)
    genes = pd.DataFrame(rng.normal(size=(3, 4)), index=["P3", "P1", "P2"], columns=["TP53", "EGFR", "KRAS", "MYC"])
    genes.to_csv(tmp_path / "rna.csv")
    pd.DataFrame({"growth": ["EGFR", "KRAS", "ABSENT"], "death": ["TP53", None, None]}).to_csv(
        tmp_path / "signatures.csv", index=False
    )
    return tmp_path


def load(folder, **options):
    given = {"bags": folder / "bags", "expression": folder / "rna.csv", "pathways": folder / "signatures.csv"} | options
    return load_tcga(folder / "clinical.csv", **given)


def edit(folder, name, change):
    frame = pd.read_csv(folder / name, index_col=0 if name == "rna.csv" else None)
    frame = change(frame)
    frame.to_csv(folder / name, index=name == "rna.csv")


def test_everything_finds_its_patient(folder):
    data = load(folder, clinical_columns=["age", "site"])
    assert data.names == ["P1", "P2", "P3"]
    assert [bag.shape for bag in data["patches"]] == [(8, 4), (6, 4), (7, 4)]  # both slides of P1
    np.testing.assert_array_equal(data.event, [True, False, True])  # censorship is the opposite of event
    np.testing.assert_array_equal(data.time, [10.5, 20, 5])
    rna = pd.read_csv(folder / "rna.csv", index_col=0)
    np.testing.assert_allclose(data["genes"], rna.loc[data.names], atol=1e-6)
    assert data.pathways["genes"] == {"growth": ("EGFR", "KRAS"), "death": ("TP53",)}
    np.testing.assert_allclose(data.pathway_arrays()["growth"][0], rna.loc["P1", ["EGFR", "KRAS"]], atol=1e-6)
    assert data.table("clinical")["site"].tolist() == ["a", "b", "a"]
    with h5py.File(folder / "bags" / "S-4.h5") as file:
        np.testing.assert_allclose(data["patches"][2], file["features"][0], atol=1e-6)


def test_an_event_column_in_place_of_censorship(folder):
    edit(folder, "clinical.csv", lambda f: f.assign(died=[1, 1, 0, 1]))
    np.testing.assert_array_equal(load(folder, event="died").event, [True, False, True])
    with pytest.raises(OptionError, match="censorship= or event="):
        load(folder, censorship=None)


def test_a_draw_of_patches_is_that_of_the_patient(folder):
    whole, some = load(folder), load(folder, patches=4)
    assert [len(bag) for bag in some["patches"]] == [4, 4, 4]
    rows = {tuple(row) for row in whole["patches"][1].tolist()}
    assert all(tuple(row) in rows for row in some["patches"][1].tolist())
    edit(folder, "clinical.csv", lambda f: f[f["case_id"] != "P1"])
    np.testing.assert_array_equal(load(folder, patches=4)["patches"][0], some["patches"][1])
    assert not np.array_equal(load(folder, patches=4, seed=1)["patches"][0], some["patches"][1])


@pytest.mark.parametrize("what", ["bag", "genes"])
def test_a_missing_modality(folder, what):
    if what == "bag":
        (folder / "bags" / "S-3.npy").unlink()
    else:
        edit(folder, "rna.csv", lambda f: f.drop("P2"))
    name = {"bag": "patches", "genes": "genes"}[what]
    with pytest.raises(DataError, match=rf"1 of 3 patients lack the modality '{name}' .first: 'P2'"):
        load(folder)
    edit(folder, "clinical.csv", lambda f: f.assign(censorship_dss=[1, 1, 0, 0]))
    with pytest.warns(UserWarning, match="1 of 3 patients lack"):
        assert load(folder, missing="drop").names == ["P1", "P3"]
    kept = load(folder, missing="keep")
    assert kept.names == ["P1", "P2", "P3"]
    np.testing.assert_array_equal(kept.present[name], [True, False, True])
    assert kept.may_be_missing == (name,)


def test_one_of_two_slides_is_enough(folder):
    (folder / "bags" / "S-2.b.pt").unlink()
    assert len(load(folder)["patches"][0]) == 5


def test_swapped_flags(folder):
    rows = pd.DataFrame(
        {"case_id": [f"P{i}" for i in range(50)], "survival_months_dss": range(1, 51), "censorship_dss": 0, "age": 5.0}
    )
    rows.loc[0, "censorship_dss"] = 1
    rows.to_csv(folder / "clinical.csv", index=False)
    with pytest.warns(UserWarning, match="1 - flag"):
        load_tcga(folder / "clinical.csv", clinical_columns=["age"])


def test_unmeasured_pathways(folder):
    edit(folder, "signatures.csv", lambda f: f.assign(other=["X1", "X2", None]))
    with pytest.raises(DataError, match=r"1 of 3 pathways have no measured gene .first: 'other'"):
        load(folder)
    with pytest.warns(UserWarning, match="left out"):
        assert list(load(folder, unmeasured_pathways="drop").pathways["genes"]) == ["growth", "death"]
    edit(folder, "signatures.csv", lambda f: f[["other"]])
    with pytest.raises(DataError, match="1 of 1"):
        load(folder, unmeasured_pathways="drop")


def test_bad_genes(folder):
    edit(folder, "rna.csv", lambda f: f.assign(EGFR=f["EGFR"].where(f.index != "P2")))
    with pytest.raises(DataError, match=r"1 patients have NaN among their genes .first: 'P2'"):
        load(folder, missing="keep")
    edit(folder, "rna.csv", lambda f: f.assign(EGFR="high"))
    with pytest.raises(DataError, match="'EGFR'"):
        load(folder)


def test_bad_tables(folder):
    with pytest.raises(UnknownNameError, match="survival_months_os"):
        load(folder, time="survival_months_os")
    with pytest.raises(FileError, match="no file"):
        load_tcga(folder / "none.csv", clinical_columns=["age"])
    with pytest.raises(OptionError, match="nothing to load"):
        load_tcga(folder / "clinical.csv")
    with pytest.raises(OptionError, match="needs expression="):
        load(folder, expression=None)
    with pytest.raises(OptionError, match="missing"):
        load(folder, missing="skip")
    edit(folder, "clinical.csv", lambda f: f.assign(censorship_dss=[0, 0, 2, 0]))
    with pytest.raises(DataError, match="must hold 0 and 1"):
        load(folder)
    edit(folder, "clinical.csv", lambda f: f.assign(censorship_dss=[0, 1, 1, 0]))
    with pytest.raises(DataError, match="'P1' has lines that disagree"):
        load(folder)
    edit(folder, "clinical.csv", lambda f: f.assign(censorship_dss=[0, 0, np.nan, 0]))
    with pytest.raises(DataError, match="'P2' has no"):
        load(folder)


def test_bad_feature_files(folder):
    bags = folder / "bags"
    torch.save({"features": torch.ones(2, 4), "evil": Evil()}, bags / "S-3.pt")
    (bags / "S-3.npy").unlink()
    with pytest.raises(FileError, match="could run code"):
        load(folder)
    torch.save(torch.ones(2, 5), bags / "S-3.pt")
    with pytest.raises(DataError, match="5 features"):
        load(folder)
    torch.save(torch.ones(0, 4), bags / "S-3.pt")
    with pytest.raises(DataError, match="empty bag"):
        load(folder)
    torch.save(torch.full((2, 4), float("nan")), bags / "S-3.pt")
    with pytest.raises(DataError, match="not finite"):
        load(folder)
    torch.save([1, 2], bags / "S-3.pt")
    with pytest.raises(DataError, match="holds a list"):
        load(folder)
    (bags / "S-3.pt").write_bytes((bags / "S-1.a.pt").read_bytes()[:200])
    with pytest.raises(FileError, match="damaged"):
        load(folder)
    with pytest.raises(FileError, match="no folder"):
        load(folder, bags=folder / "slides")
    (folder / "empty").mkdir()
    with pytest.raises(FileError, match="no feature file"):
        load(folder, bags=folder / "empty")


def test_features_of_other_kinds(folder):
    torch.save({"features": torch.ones(2, 4)}, folder / "x.pt")
    assert read_features(folder / "x.pt").tolist() == [[1, 1, 1, 1]] * 2
    np.save(folder / "flat.npy", np.ones(4))
    with pytest.raises(DataError, match="patches x features"):
        read_features(folder / "flat.npy")
    (folder / "x.h5").write_bytes(b"not hdf5 at all")
    with pytest.raises(FileError, match="HDF5"):
        read_features(folder / "x.h5")
    with h5py.File(folder / "y.h5", "w") as file:
        file["one"], file["two"] = np.ones(2), np.ones(2)
    with pytest.raises(FileError, match="'features' is expected"):
        read_features(folder / "y.h5")
    (folder / "x.txt").write_text("1")
    with pytest.raises(FileError, match=r"\.txt"):
        read_features(folder / "x.txt")


def test_signatures_in_both_forms(folder):
    long = pd.DataFrame({"Pathway": ["p", "p", "q"], "Gene": ["a", "b", "a"]})
    long.to_csv(folder / "long.csv", index=False)
    assert read_pathways(folder / "long.csv") == {"p": ["a", "b"], "q": ["a"]}
    assert read_pathways(folder / "signatures.csv") == {"growth": ["EGFR", "KRAS", "ABSENT"], "death": ["TP53"]}
    pd.DataFrame({"p": ["a"], "q": [None]}).to_csv(folder / "hole.csv", index=False)
    with pytest.raises(DataError, match="'q'"):
        read_pathways(folder / "hole.csv")
