"""What PIBD refuses or warns of, and what it says."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from pibd_patients import arrays, simulated, small

from unsnarl.data.survival import SurvivalData
from unsnarl.errors import DataError, OptionError, UnsnarlError
from unsnarl.systems.multimodal._late_fusion import LateFusionSurvival


def refused(message: str, error: type[UnsnarlError] = DataError) -> Any:
    return pytest.raises(error, match=re.escape(message))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"joint_prototype": "soft"}, "joint_prototype='soft' is not allowed; choose one of 'predicted', 'label'"),
        ({"club": "both"}, "club='both' is not allowed; choose one of 'joint', 'alternating', 'none'"),
        ({"topk_ratio": (0.0, 0.5)}, "topk_ratio=0.0 must be a share of the bag above 0 and at most 1.0, or a count"),
        ({"topk_ratio": (0.5, 1.2)}, "topk_ratio=1.2 must be a share of the bag above 0 and at most 1.0, or a count"),
        ({"topk_ratio": (0, 0.5)}, "topk_ratio=0 must be an integer at least 1"),
        ({"topk_ratio": (0.5,)}, "topk_ratio=(0.5,) must be two: of the patches and of the pathways"),
        ({"n_bins": 1}, "n_bins=1 must be an integer at least 2"),
        ({"lam": -1}, "lam=-1 must be a number at least 0"),
        ({"lr": 0}, "lr=0 must be a number above 0"),
        ({"heads": 3}, "heads=3 must divide z_dim=8"),
        ({"monitor": "auc"}, "monitor='auc' is not allowed"),
        ({"divide": "none"}, "divide='none' is not allowed"),
        ({"experts": "none"}, "experts='none' is not allowed"),
        ({"gene_scaling": "rank"}, "gene_scaling='rank' is not allowed"),
        ({"sub_bag": 0}, "sub_bag=0 must be an integer at least 1"),
        ({"modalities": ("patches",)}, "modalities=('patches',) must name two"),
        ({"validation_fraction": 0.95}, "validation_fraction=0.95 must be a number at least 0 and at most 0.9"),
    ],
)
def test_hyperparameters(options: dict[str, Any], message: str) -> None:
    with refused(message, OptionError):
        small().set_params(**options).fit(simulated(40))


def test_swapped_flags_and_no_events() -> None:
    data = simulated(40)
    event = np.ones(40, dtype=bool)
    event[0] = False
    with pytest.warns(UserWarning, match="97.5% of the patients had the event"):
        small(epochs=1).fit(*arrays(data), data.time, event)
    with refused("no patient had the event"):
        small().fit(*arrays(data), data.time, np.zeros(40, dtype=bool))
    rare = np.zeros(120, dtype=bool)
    rare[[3, 50, 90, 100]] = True
    many = simulated(120)
    with pytest.warns(UserWarning, match=r"only 3.3% of the patients had the event; if the flag says who was censored"):
        small(epochs=1).fit(*arrays(many), many.time, rare)


def test_a_time_bin_without_an_event() -> None:
    data = simulated(40)
    time, event = data.time.copy(), np.zeros(40, dtype=bool)
    event[:3] = True
    with refused("time bins hold no event (3 events"):
        small().fit(*arrays(data), time, event)


def test_more_to_keep_than_there_is() -> None:
    data = simulated(40)
    with refused("top-k exceeds instances: topk_ratio[0]=5 are to be kept, but a bag has 4; give a share such as 0.5"):
        small(topk_ratio=(5, 0.5)).fit(data)
    with refused("top-k exceeds instances: 9 are to be kept of a bag of 4; keep a share"):
        small(topk_ratio=(0.5, 9)).fit(data)
    model = small(topk_ratio=(4, 0.5), epochs=1).fit(data)
    bags, pathways = arrays(simulated(3))
    with refused("top-k exceeds instances: 4 are to be kept of a bag of 2"):
        model.risk([bag[:2] for bag in bags], pathways)
    with refused("top-k exceeds instances: 4 are to be kept of a bag of 2"):
        model.risk([bags[0], bags[1][:2], bags[2]], pathways)


def test_bags_and_genes() -> None:
    data = simulated(40)
    bags, pathways = arrays(data)
    first = next(iter(pathways))
    outcome = data.time, data.event

    def with_table(**changes: np.ndarray) -> dict[str, np.ndarray]:
        return {**pathways, **changes}

    hole = pathways[first].copy()
    hole[7, 1] = np.nan
    with refused(f"pathways has NaN in 1 patients (first: patient 7 in '{first}'); fill them, or make all genes"):
        small().fit(bags, with_table(**{first: hole}), *outcome)
    with refused("pathway 'empty' has no measured gene; leave it out"):
        small().fit(bags, with_table(empty=np.zeros((40, 0))), *outcome)
    with refused("pathways is empty"):
        small().fit(bags, {}, *outcome)
    with refused("bag 3 has values that are not finite (first: instance 1, feature 2)"):
        broken = [bag.copy() for bag in bags]
        broken[3][1, 2] = np.inf
        small().fit(broken, pathways, *outcome)
    with refused("bag 2 has 5 features, but 6 are expected"):
        small().fit([*bags[:2], bags[2][:, :5], *bags[3:]], pathways, *outcome)
    with refused("bag 0 must be instances x features of numbers, got shape (6,)"):
        small().fit([np.zeros(6)] * 40, pathways, *outcome)
    with refused("all inputs must have one row an observation"):
        small().fit(bags[:39], pathways, *outcome)
    with refused("fit needs both bags and pathways"):
        small().fit(bags, None, *outcome)
    with refused("no patient has a bag"):
        small().fit([None] * 40, pathways, *outcome)
    gone = {name: np.full_like(table, np.nan) for name, table in pathways.items()}
    with refused("no patient has genes"):
        small().fit(bags, gone, *outcome)
    with refused("patient 4 has neither a bag nor genes"):
        lost = {name: np.where(np.arange(40)[:, None] == 4, np.nan, table) for name, table in pathways.items()}
        small().fit([None if i == 4 else b for i, b in enumerate(bags)], lost, *outcome)
    with refused("time and event are needed"):
        small().fit(bags, pathways)
    with refused("validation must be a SurvivalData or (bags, pathways, time, event)", OptionError):
        small().fit(data, validation=3)


def test_other_inputs_at_prediction() -> None:
    data = simulated(40)
    model = small(epochs=1).fit(data)
    bags, pathways = arrays(simulated(3))
    with refused("bag 0 has 5 features, but 6 are expected"):
        model.risk([bag[:, :5] for bag in bags], pathways)
    with refused("but the model was fitted on pathway 0 (3), pathway 1 (3), pathway 2 (3), pathway 3 (3)"):
        model.risk(bags, dict(list(pathways.items())[:3]))
    with refused("has neither a bag nor genes"):
        model.risk([None, *bags[1:]], None)
    with refused("modality='slides' is not allowed", OptionError):
        model.select_instances(bags, pathways, modality="slides")


def test_modalities_of_the_data() -> None:
    data = simulated(40)
    with refused("two modalities are needed, but the data has only 'genes'"):
        small().fit(data.only("genes"))
    three = SurvivalData(
        {**data.modalities, "blood": np.random.default_rng(0).standard_normal((40, 2))},
        data.time,
        data.event,
        columns=data.columns,
        pathways=data.pathways,
    )
    with pytest.warns(UserWarning, match="only 'patches' \\(bags\\) and 'genes' \\(genes\\) are used"):
        small(epochs=1).fit(three)
    chosen = small(epochs=1, modalities=("blood", "genes")).fit(three)
    assert chosen.facts_["reader"]["modalities"] == ["blood", "genes"]
    with refused("modality 'patches' is bags, but the second modality must be a table of genes"):
        small(modalities=("blood", "patches")).fit(three)


def test_late_fusion_refuses_likewise() -> None:
    data = simulated(40)
    with refused("dropout=2 must be a number at least 0", OptionError):
        LateFusionSurvival(z_dim=8, dropout=2).fit(data)
    with refused("no patient has a bag"):
        LateFusionSurvival(z_dim=8).fit([None] * 40, data.pathway_arrays("genes"), data.time, data.event)
