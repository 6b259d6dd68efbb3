import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from unsnarl.data import FactorDataset, FactorTable
from unsnarl.errors import DataError, OptionError, UnknownNameError


def make(n=20, **options):
    return FactorDataset(
        np.arange(n * 2, dtype=np.float32).reshape(n, 2), {"a": np.arange(n) % 3, "b": np.linspace(0, 1, n)}, **options
    )


def test_items_feed_a_data_loader():
    data = make(kinds={"b": "continuous"})
    x, factors = next(iter(DataLoader(data, batch_size=4)))
    assert x.shape == (4, 2)
    assert factors.dtype == torch.float32
    torch.testing.assert_close(factors[:, 0], torch.tensor([0.0, 1.0, 2.0, 0.0]))
    torch.testing.assert_close(factors[3, 1], torch.tensor(3 / 19))
    assert make()[2][0].tolist() == [4, 5]
    assert FactorDataset(np.zeros((2, 1)))[0][1].shape == (0,)


def test_items_of_a_part_mean_the_same():
    data = FactorDataset(np.zeros((4, 1)), {"colour": ["blue", "green", "red", "red"]})
    assert data.subset([2, 3])[0][1].tolist() == [2.0]
    assert data.subset([2, 3]).subset([1]).arrays()[1].tolist() == [[2.0]]
    part = FactorDataset(np.zeros((1, 1)), data.table.rows([2]))
    assert part[0][1].tolist() == [2.0]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(5, 80),
    seed=st.integers(0, 1000),
    test=st.floats(0, 0.5),
    validation=st.floats(0, 0.4),
    groups=st.integers(0, 12),
)
def test_splits(n, seed, test, validation, groups):
    labels = None if groups == 0 else np.random.default_rng(seed).integers(groups, size=n)
    data = make(n, groups=labels).split_by(seed, test=test, validation=validation)
    again = make(n, groups=labels).split_by(seed, test=test, validation=validation)
    assert data.split.tolist() == again.split.tolist()
    if labels is not None:
        for group in np.unique(labels):
            assert len(set(data.split[labels == group])) == 1
    else:
        assert (data.split == "test").sum() == round(test * n)
        assert (data.split == "validation").sum() == round(validation * n)
    parts = {name: data.subset(data.split == name) for name in ("train", "validation", "test")}
    assert sum(len(p) for p in parts.values()) == n
    rows = np.concatenate([p.observations[:, 0].numpy() for p in parts.values()])
    np.testing.assert_array_equal(np.sort(rows), np.arange(n) * 2)
    for part in parts.values():
        np.testing.assert_array_equal(
            part.table.numeric, data.table.numeric[part.observations[:, 0].long().numpy() // 2]
        )


def test_another_seed_is_another_split():
    assert make(200).split_by(0).split.tolist() != make(200).split_by(1).split.tolist()


def test_parts_without_a_split_are_those_of_seed_0():
    data = make(50)
    assert len(data.train) == 40
    np.testing.assert_array_equal(data.test.observations, data.split_by(0).test.observations)
    with pytest.raises(DataError, match="no observation is in the 'validation' part"):
        _ = data.validation
    with pytest.raises(DataError, match="leave nothing to train on"):
        data.split_by(test=0.6, validation=0.4)
    with pytest.raises(OptionError, match=r"test=1\.2 must be a number at least 0 and at most 1"):
        data.split_by(test=1.2)


@pytest.mark.parametrize(
    "index", [3, -1, np.int64(3), [0, 5], np.array([True] * 3 + [False] * 17), slice(2, 9, 3), range(3)]
)
def test_subsets(index):
    data = make(groups=np.arange(20) % 4, split=["train"] * 20)
    rows = np.atleast_1d(np.arange(20)[index])
    part = data.subset(index)
    np.testing.assert_array_equal(part.observations[:, 0], rows * 2)
    np.testing.assert_array_equal(part.table.numeric, data.table.numeric[rows])
    np.testing.assert_array_equal(part.groups, rows % 4)
    assert len(part.split) == len(part)


@pytest.mark.parametrize("index", [20, [0, 99], [True, False], "a", [0.5], []])
def test_bad_subsets(index):
    with pytest.raises(
        DataError, match="indices must be whole numbers from -20 to 19, a slice, or a boolean mask of length 20"
    ):
        make().subset(index)


def test_observations_keep_their_type():
    assert FactorDataset(np.zeros((2, 3), np.uint8)).observations.dtype == torch.uint8
    assert FactorDataset(np.zeros((2, 3), np.float64)).observations.dtype == torch.float32
    assert FactorDataset(np.zeros((2, 3), np.uint16)).observations.dtype == torch.int64
    assert FactorDataset(torch.zeros(2, 3, dtype=torch.bfloat16)).observations.dtype == torch.bfloat16
    assert FactorDataset([torch.zeros(3, requires_grad=True), torch.ones(3)]).observations.shape == (2, 3)
    assert FactorDataset([1, 2, 3]).observations.tolist() == [1, 2, 3]
    ragged = FactorDataset([np.zeros((2, 3)), np.zeros((1, 3))])
    assert [o.dtype for o in ragged.observations] == [torch.float32] * 2
    assert repr(ragged) == "FactorDataset(2 ragged observations, no factors)"
    with pytest.raises(DataError, match="ragged observations have no array form"):
        ragged.arrays()


def test_arrays_scale_bytes():
    x, y = FactorDataset(np.full((2, 1, 2, 2), 255, np.uint8), [0, 1]).arrays()
    assert x.shape == (2, 4)
    assert x.max() == 1
    assert y.tolist() == [[0], [1]]


@pytest.mark.parametrize(
    ("observations", "factors", "options", "message"),
    [
        (np.zeros((3, 1)), [0, 1], {}, "observations has 3, factors has 2"),
        (np.zeros((2, 1)), None, {"groups": [1]}, "observations has 2, groups has 1"),
        (np.zeros((2, 1)), None, {"groups": [[1, 2], [3, 4]]}, r"groups must be 1-D"),
        (np.zeros((2, 1)), None, {"split": ["train", "tset"]}, "split holds 'tset'; each entry must be one of train"),
        (np.zeros((0, 1)), None, {}, "the data set has no observations"),
        (np.array([[0.0], [np.nan]]), None, {}, r"observations has 1 value that is not finite \(first: NaN at row 1"),
        (torch.tensor([[0.0], [torch.inf]]), None, {}, r"not finite \(first: infinite at row 1"),
        (torch.tensor([[0.0], [torch.nan]], dtype=torch.bfloat16), None, {}, r"not finite \(first: NaN at row 1"),
        ([np.zeros(2), np.array([np.nan])], None, {}, r"observation 1 has 1 value that is not finite"),
        (["a", "b"], None, {}, "observations must hold numbers, got dtype <U1"),
        (np.array([1, "a", None], dtype=object), None, {}, "observations is an object array"),
        (torch.tensor(3), None, {}, "got a single number"),
        (3, None, {}, "got a single number"),
    ],
)
def test_bad_data(observations, factors, options, message):
    with pytest.raises(DataError, match=message):
        FactorDataset(observations, factors, **options)


def test_groups_of_any_text():
    for groups in (["x", "y"], np.array(["x", "y"], dtype=object), pd.Series(["x", "y"])):
        assert FactorDataset(np.zeros((2, 1)), groups=groups).groups.tolist() == ["x", "y"]


def test_no_factors():
    data = FactorDataset(np.zeros((3, 2)))
    assert data.factor_names == []
    assert data.kinds == {}
    with pytest.raises(DataError, match="this data set has no factors"):
        _ = data.factors


# --- from a table


FRAME = pd.DataFrame(
    {
        "x": [0.5, 1.5, 2.5, 3.5],
        "y": [1, 2, 3, 4],
        "shape": ["a", "b", "a", "b"],
        "size": [1.0, 2.0, 3.0, 4.0],
        "who": ["p", "p", "q", "q"],
        "part": ["train", "train", "test", "test"],
    },
    index=[4, 5, 6, 7],
)


def test_from_table():
    data = FactorDataset.from_table(
        FRAME, factors=["shape", "size"], groups="who", split="part", kinds={"size": "continuous"}
    )
    assert data.observations.tolist() == [[0.5, 1], [1.5, 2], [2.5, 3], [3.5, 4]]
    assert data.kinds == {"shape": "discrete", "size": "continuous"}
    assert data.groups.tolist() == ["p", "p", "q", "q"]
    assert data.test.factors["size"].tolist() == [3, 4]
    one = FactorDataset.from_table(FRAME, factors="shape", observations="x")
    assert one.observations.tolist() == [[0.5], [1.5], [2.5], [3.5]]


def test_from_table_with_observations_of_their_own():
    images = np.zeros((4, 1, 2, 2), np.uint8)
    data = FactorDataset.from_table(FRAME, observations=images, split="part", groups="who")
    assert data.factor_names == ["x", "y", "shape", "size"]
    assert data.observations.shape == (4, 1, 2, 2)
    assert FactorDataset.from_table(FRAME, ["shape"], list(images)).factor_names == ["shape"]
    numbers = FactorDataset.from_table(FRAME[["x", "y"]])
    assert numbers.table is None


def test_from_table_refuses():
    with pytest.raises(UnknownNameError, match="unknown column of the table 'shap'; did you mean 'shape'"):
        FactorDataset.from_table(FRAME, factors=["shap"])
    with pytest.raises(UnknownNameError, match="unknown column of the table 'site'"):
        FactorDataset.from_table(FRAME, factors=["shape"], groups="site")
    with pytest.raises(
        DataError, match="column 'who' of the table holds object values, but observations must be numbers"
    ):
        FactorDataset.from_table(FRAME, factors=["shape"], split="part")
    with pytest.raises(DataError, match="has no column left for the observations"):
        FactorDataset.from_table(FRAME[["shape"]], factors=["shape"])


def test_from_arrays_is_the_constructor():
    data = FactorDataset.from_arrays(np.zeros((2, 1)), [3, 4], names=["n"], kinds="continuous")
    assert data.kinds == {"n": "continuous"}


def test_a_checked_table_is_taken_as_it_is():
    table = FactorTable.of({"a": [1, 2]})
    assert FactorDataset(np.zeros((2, 1)), table).table is table


def test_the_factors_of_a_few_rows_keep_their_kinds():
    grid = np.repeat(np.linspace(0, 0.9, 10), 40)
    data = FactorDataset(np.zeros((400, 2)), {"hue": grid, "size": np.random.default_rng(0).normal(size=400)})
    few = data.subset(np.arange(0, 400, 20)).factors
    assert FactorTable.of(few).kinds == {"hue": "discrete", "size": "continuous"}
    assert FactorTable.of(few, kinds={"hue": "continuous"}).kinds["hue"] == "continuous"
    assert "kinds" in few.attrs
