"""What DLF refuses, warns of, and mends."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.systems.multimodal.dlf import DLF


def wrong(x, y, name):
    """One thing wrong at a time."""
    x, y = dict(x), y.copy()
    if name == "audio longer":
        x["audio"] = np.repeat(x["audio"], 2, 1)
    elif name == "fewer faces":
        x["vision"] = x["vision"][:-1]
    elif name == "too short":
        x = {key: values[:, :2] for key, values in x.items()}
    elif name == "nan":
        x["text"] = x["text"].copy()
        x["text"][1, 2, 0] = np.nan
    elif name == "flat":
        x["audio"] = x["audio"][:, 0]
    elif name == "words":
        x["text"] = np.full(x["text"].shape, "good")
    elif name == "no vision":
        x.pop("vision")
    elif name == "smell":
        x["smell"] = x.pop("vision")
    elif name == "label 4":
        y[3] = 4
    elif name == "labels missing":
        y = y[:-2]
    elif name == "nan label":
        y[0] = np.nan
    elif name == "mask":
        x["mask"] = x["mask"][:, 1:]
    elif name == "empty":
        x = {key: values[:0] for key, values in x.items()}
    return x, y


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "audio longer",
            "aligned modalities need equally many steps, but text has 8, vision has 8, audio has 16; align them or pass "
            "aligned=False",
        ),
        ("fewer faces", "all inputs must have one row an observation, but text has 40, vision has 39, audio has 40"),
        ("too short", "text has 2 steps, fewer than the kernel of 3"),
        ("nan", "text has 1 value that is not finite (first: NaN at row 1, column 2); remove or fill them first"),
        ("flat", "audio must have shape (n, time, features), got (40, 4)"),
        ("words", "text must hold numbers, got dtype <U4"),
        ("no vision", "vision is missing; text, audio and vision are all needed"),
        (
            "label 4",
            "y must lie in [-3, 3], found -3 to 4; rescale it, or pass label_range=(low, high) or None (the margins of the "
            "label loss and the learning rate are made for [-3, 3])",
        ),
        ("labels missing", "all inputs must have one row an observation, but y has 38 and text has 40"),
        ("nan label", "y has 1 value that is not finite (first: NaN at row 0); remove or fill them first"),
        ("mask", "mask must have shape (n, time) = (40, 8), got (40, 7)"),
        ("empty", "audio is empty: its shape is (0, 8, 4)"),
    ],
)
def test_data_that_are_refused(make, data, name, message):
    x, y = data(40)
    y[0] = -3
    x, y = wrong(x, y, name)
    with pytest.raises(DataError) as caught:
        make().fit(x, y)
    assert str(caught.value) == message


def test_a_modality_nobody_knows(make, data):
    with pytest.raises(UnknownNameError, match="unknown modality 'smell'"):
        make().fit(*wrong(*data(40), "smell"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "d=8 must be a multiple of heads=3"),
        ({"row": 3}, "row=3 must divide d=8"),
        ({"query": "voice"}, "query='voice' is not allowed; choose one of 'text', 'vision', 'audio'"),
        ({"pool": "mean"}, "pool='mean' is not allowed; choose one of 'last', 'last_valid'"),
        ({"padding": "left"}, "padding='left' is not allowed; choose one of 'zeros', 'mask', 'none'"),
        ({"lr": 0}, "lr=0 must be a number above 0"),
        ({"margin": -1.0}, "margin=-1.0 must be a number at least 0"),
        ({"kernel": 0}, "kernel=0 must be an integer at least 1"),
        ({"leftover": "keep"}, "leftover='keep' is not allowed; choose one of 'drop', 'step'"),
        ({"label_range": (3, -3)}, "label_range=(3, -3) must be (low, high) or None"),
        ({"epochs": 0}, "epochs=0 must be an integer at least 1"),
        ({"text_encoder": 7}, "text_encoder=7 must be a name, a folder, a module, or None"),
        ({"dims": (6, 4)}, "dims=(6, 4) must be three numbers (text, audio, vision) or a mapping"),
        ({"dims": {"smell": 2}}, "dims names smell; allowed are text, vision, audio"),
        (
            {"accumulate": 10},
            "accumulate=10 batches of 16 make a step, but 36 observations make only 3 an epoch, so no step would ever be "
            "taken; lower accumulate or pass leftover='step'",
        ),
    ],
)
def test_options_that_are_refused(make, data, options, message):
    with pytest.raises(OptionError) as caught:
        make(**options).fit(*data(40))
    assert str(caught.value) == message


def test_dims_must_be_those_of_the_data(make, data):
    with pytest.raises(DataError, match="audio has 4 features, but dims says 74"):
        make(dims=(6, 74, 5)).fit(*data(40))
    assert make(dims={"audio": 4}, epochs=1).fit(*data(40)).facts_["dims"] == {"l": 6, "v": 5, "a": 4}


def test_silence_is_set_to_zero_and_counted(make, data):
    x, y = data(40)
    quiet, zero = ({**x, "audio": x["audio"].copy()} for _ in range(2))
    quiet["audio"][:3, 1] = -np.inf
    zero["audio"][:3, 1] = 0
    with pytest.warns(UserWarning, match="12 values of audio are -inf and were set to 0"):
        model = make(epochs=1).fit(quiet, y)
    assert model.replaced_ == {"audio": 12}
    assert np.isneginf(quiet["audio"]).sum() == 12  # the data themselves are left alone
    with pytest.warns(UserWarning, match="-inf"):
        predicted = model.predict(quiet)
    assert (predicted == model.predict(zero)).all()
    quiet["audio"][0, 0, 0] = np.inf
    zero["audio"][0, 0, 0] = np.inf
    with pytest.raises(DataError, match="audio has 1 value that is not finite"):
        model.predict(zero)


def test_labels_without_groups_are_warned_of(make, data):
    x, y = data(40)
    with pytest.warns(UserWarning, match="all labels are 1: no sample has another label"):
        alike = make(epochs=1).fit(x, np.ones(40))
    assert (alike.history_["margin"] == 0).all()
    with pytest.warns(UserWarning, match="all labels are distinct"):
        apart = make(epochs=1).fit(x, np.linspace(-3, 3, 40))
    assert (apart.history_["margin"] > 0).all()  # the modalities of one sample are still drawn together
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(epochs=1).fit(x, y)


def test_other_scales_of_labels_can_be_allowed(make, data):
    x, y = data(40)
    assert make(epochs=1, label_range=None).fit(x, 10 * y).predict(x).shape == (40,)


def test_data_of_other_sizes_than_those_fitted(fitted, data):
    x, _ = data(5)
    with pytest.raises(DataError, match="text of the data has 7 steps of 6 features, but the model is made for 8 of 6"):
        fitted.predict({name: values[:, 1:] for name, values in x.items()})
    with pytest.raises(DataError, match="audio of the data has 8 steps of 3 features"):
        fitted.predict({**x, "audio": x["audio"][:, :, 1:]})


def test_too_few_samples_to_hold_some_out(make, data):
    with pytest.raises(DataError, match="2 samples are too few to hold some out"):
        make().fit(*data(2))


def test_a_preset_nobody_knows():
    with pytest.raises(OptionError, match="name='sims' is not allowed; choose one of 'mosi', 'mosei'"):
        DLF.preset("sims")
