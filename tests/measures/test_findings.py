import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.errors import DataError, OptionError
from unsnarl.measures._findings import chance_level, describe, listed, shortened


def matrix(latents, factors, **entries):
    """Zeros but for entries given as l3_f0=0.9."""
    m = np.zeros((latents, factors))
    for name, value in entries.items():
        j, f = re.fullmatch(r"l(\d+)_f(\d+)", name).groups()
        m[int(j), int(f)] = value
    return m


FACTORS = ["size", "hue", "orientation", "shape"]


def test_the_example_of_the_design():
    m = matrix(8, 3, l3_f0=0.93, l0_f1=0.4, l5_f1=0.3, l1_f1=0.35)
    assert describe(m, factor_names=FACTORS[:3], passive=[6, 7]) == [
        "Latent 3 carries size alone (NMI 0.93).",
        "Hue is spread over latents 0, 1 and 5 (NMI up to 0.40).",
        "No single latent carries orientation.",
        "Latents 6 and 7 are passive.",
        "Latents 2 and 4 carry none of the factors.",
    ]


def test_several_clear_latents_strongest_first():
    m = matrix(2, 2, l0_f0=0.5, l1_f1=0.8)
    assert describe(m, factor_names=FACTORS[:2]) == [
        "Latent 1 carries hue alone (NMI 0.80); latent 0 carries size alone (NMI 0.50)."
    ]


def test_traces_and_weakness_are_said():
    m = matrix(3, 1, l0_f0=0.9, l1_f0=0.1, l2_f0=0.17)
    assert describe(m, factor_names=["size"]) == [
        "Latent 0 carries size almost alone (NMI 0.90; traces in latents 1 and 2)."
    ]
    weak = matrix(3, 1, l0_f0=0.08)
    assert describe(weak, factor_names=["size"]) == [
        "Latent 0 carries size alone, but weakly (NMI 0.08).",
        "Latents 1 and 2 do not carry size.",
    ]
    thin = matrix(2, 1, l0_f0=0.08, l1_f0=0.07)
    assert describe(thin, factor_names=["size"]) == ["Size is weakly spread over latents 0 and 1 (NMI up to 0.08)."]


def test_a_fifth_of_the_strongest_carries_too():
    m = matrix(2, 1, l0_f0=0.9, l1_f0=0.181)
    assert describe(m) == ["Factor 0 is spread over latents 0 and 1 (NMI up to 0.90)."]
    m[1, 0] = 0.179
    assert describe(m) == ["Latent 0 carries factor 0 almost alone (NMI 0.90; traces in latent 1)."]


def test_mixed_latents():
    m = matrix(3, 3, l0_f0=0.5, l0_f1=0.5, l1_f2=0.9)
    assert describe(m, factor_names=FACTORS[:3]) == [
        "Latent 1 carries orientation alone (NMI 0.90).",
        "Latent 0 mixes size and hue.",
        "Latent 2 carries none of the factors.",
    ]


def test_nothing_is_carried():
    assert describe(np.full((4, 3), 0.01), passive=[0], constant=[1, 0]) == [
        "No single latent carries any of the factors.",
        "Latent 0 is passive.",
        "Latent 1 is constant.",
    ]
    assert describe(np.zeros((1, 1)), factor_names=["age"]) == ["No single latent carries age."]
    two = matrix(2, 3, l0_f0=0.9)
    assert describe(two, factor_names=FACTORS[:3])[1] == "No single latent carries hue or orientation."


def test_one_latent_is_singular_everywhere():
    m = matrix(3, 2, l0_f0=0.9)
    assert describe(m, constant=[1]) == [
        "Latent 0 carries factor 0 alone (NMI 0.90).",
        "No single latent carries factor 1.",
        "Latent 1 is constant.",
        "Latent 2 carries none of the factors.",
    ]


def test_chance_may_differ_between_factors():
    m = matrix(2, 2, l0_f0=0.3, l1_f1=0.3)
    assert describe(m, chance=np.array([0.2, 0.4])) == [
        "Latent 0 carries factor 0 alone (NMI 0.30).",
        "No single latent carries factor 1.",
        "Latent 1 carries none of the factors.",
    ]


def test_names_from_a_frame_and_capitals():
    frame = pd.DataFrame([[0.9, 0.0], [0.0, 0.8], [0.0, 0.7]], index=["z0", "z1", "z2"], columns=["size", "pH"])
    assert describe(frame) == ["z0 carries size alone (NMI 0.90).", "pH is spread over z1 and z2 (NMI up to 0.80)."]
    assert describe(frame, quantity="importance")[0] == "z0 carries size alone (importance 0.90)."


def test_embeddings_are_counted_not_listed():
    rng = np.random.default_rng(0)
    m = np.zeros((384, 8))
    m[:37, 0] = rng.uniform(0.2, 0.3, 37)
    m[12, 0] = 0.31
    m[100:300, 1:] = 0.2
    told = describe(m, [f"dim {i}" for i in range(384)], passive=range(300, 384))
    assert told[0].startswith(
        "Factor 0 is spread over 37 of 384 latents, the strongest being dim 12 (NMI 0.31); factor 1 is "
    )
    assert "4 more factors are spread over several latents" in told[0]
    assert told[1].startswith("200 of 384 latents mix several factors; for instance, dim 100 carries factor 1, ")
    assert "84 of 384 latents are passive." in told
    assert "63 of 384 latents carry none of the factors." in told
    assert max(map(len, told)) < 500


def test_many_factors_are_counted():
    m = np.eye(30)
    told = describe(m)
    assert told[0].endswith("latent 3 carries factor 3 alone (NMI 1.00); 26 more factors have latents of their own.")
    assert describe(np.zeros((30, 30)) + np.eye(30, k=0) * (np.arange(30) < 5))[0].count("alone") == 4
    assert describe(np.eye(30) * (np.arange(30) < 5))[0].endswith("1 more factor has a latent of its own.")
    uncarried = describe(np.eye(30) * (np.arange(30) < 2))[1]
    assert uncarried == (
        "No single latent carries factor 2, factor 3, factor 4, factor 5 and 24 more of the 30 factors."
    )


@given(
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.3, 0.9]),
)
@settings(max_examples=60, deadline=None)
def test_what_is_said_is_true_and_short(latents, factors, seed, sparsity):
    rng = np.random.default_rng(seed)
    m = rng.random((latents, factors)) * (rng.random((latents, factors)) > sparsity)
    passive = np.flatnonzero(rng.random(latents) < 0.2).tolist()
    told = describe(m, passive=passive, chance=0.05)
    text = " ".join(told)
    assert len(told) <= 7
    assert len(text) < 2500
    assert all(line.endswith(".") and line[0] == line[0].upper() for line in told)
    for latent, factor, almost in re.findall(r"atent (\d+) carries factor (\d+) (almost )?alone", text):
        column = m[:, int(factor)]
        others = np.delete(column, int(latent))
        assert column[int(latent)] == column.max() > 0.05
        assert (others < 0.2 * column.max()).all() or (others <= 0.05).all()
        assert bool(almost) == bool((others > 0.05).any())
    for latent, listed_factors in re.findall(r"atent (\d+) mixes ([^.;]*)", text):
        for factor in re.findall(r"factor (\d+)", listed_factors):
            assert m[int(latent), int(factor)] > 0.05
    if not (m > 0.05).any():
        assert "No single latent carries" in text
    if passive:
        assert "passive" in text


def test_chance_level_is_above_all_shuffles():
    rng = np.random.default_rng(0)
    drawn = rng.exponential(0.01, size=(5, 20, 3))
    level = chance_level(drawn)
    assert (level > drawn.max(axis=(0, 1))).all()
    few = rng.normal(0.05, 0.01, size=(2, 1, 1))
    assert chance_level(few)[0] >= few.mean() + 4 * few.std()


def test_chance_level_is_rarely_passed_by_noise():
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(200):
        drawn = rng.exponential(0.02, size=(13, 10, 1))
        passed += int((rng.exponential(0.02, size=10) > chance_level(drawn)[0]).any())
    assert passed <= 20


def test_words():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert shortened("x" * 60) == "x" * 39 + "…"
    assert shortened("two\nlines ") == "two lines"
    assert shortened("  ") == "(no name)"
    assert "<b>" in describe(np.ones((1, 1)), factor_names=["<b>"])[0]


def test_bad_input():
    with pytest.raises(DataError, match=r"matrix has a negative entry \(-1\)"):
        describe(-np.eye(2))
    with pytest.raises(DataError, match="3 names for 2 latents"):
        describe(np.eye(2), ["a", "b", "c"])
    with pytest.raises(DataError, match="1 names for 2 factors"):
        describe(np.eye(2), factor_names=["a"])
    with pytest.raises(DataError, match="passive has an index outside 0 to 1"):
        describe(np.eye(2), passive=[2])
    with pytest.raises(DataError, match="matrix has 1 value that is not finite"):
        describe(np.array([[np.nan, 1.0]]))
    with pytest.raises(OptionError, match="most=0 must be an integer at least 1"):
        describe(np.eye(2), most=0)
