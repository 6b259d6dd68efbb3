"""The nouns of an experiment: a claim has arms, which are run once a seed, and rows, which compare arms."""

from __future__ import annotations

import inspect
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unsnarl.arrays import check_choice, check_range
from unsnarl.claims._statistics import COMPARISONS, RULES
from unsnarl.errors import OptionError, UnknownNameError

Run = Callable[..., Mapping[str, float]]
"""What an arm does: `run(seed, context, **options) -> {metric: number}`."""

ROLES = ("central", "guard", "ablation", "extra")


class Arm:
    """One side of a comparison: a function that is run once a seed, and the options it always gets.

    Args:
        run: `run(seed, context, **options)`, a function of a module; returns every number measured.
        **options: keywords passed to each run, such as `weight_decay=0.0` for an ablation.
    """

    def __init__(self, run: Run, /, **options: Any):
        if not inspect.isfunction(run) or run.__name__ == "<lambda>":
            raise OptionError(
                f"an arm must be a function defined with def (other processes import it by name), got {run!r}; "
                "give fixed keywords as Arm(function, name=value)"
            )
        self.run = run
        self.options = check_options(options, f"the options of {run.__name__}")

    def __repr__(self) -> str:
        return f"Arm({', '.join([self.run.__name__, *(f'{k}={v!r}' for k, v in self.options.items())])})"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Hyperparameters chosen for an arm by trying them on seeds that the claim does not use.

    Attributes:
        arm: the arm whose options are chosen.
        grid: option -> values to try; every combination is one setting.
        metric: what is compared, a number that the arm returns (a validation number where the claim has one).
        objective: "max" or "min".
        seeds: the seeds of the tuning runs; a setting's number is its mean over them.
        budget: how many settings of the grid are tried, drawn at random with a fixed seed; None tries all. It gives
            a system with more hyperparameters the same number of trials as its baseline.
        also: further arms that take over the choice, such as ablations of the same system.
        condition: the row condition under which the settings are tried and to which the choice is confined; empty
            for all.
        chosen: the choice to use without tuning (`--no-tune`), where the module states one.
    """

    arm: str
    grid: Mapping[str, Sequence[Any]]
    metric: str
    objective: str = "max"
    seeds: Sequence[int] = (100,)
    budget: int | None = None
    also: Sequence[str] = ()
    condition: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_choice(self.objective, ("max", "min"), "objective")
        if not self.grid or not all(len(values) for values in self.grid.values()):
            raise OptionError(f"the tuning of {self.arm!r} has an empty grid")
        if not self.seeds:
            raise OptionError(f"the tuning of {self.arm!r} has no seeds")
        if self.budget is not None:
            check_range(self.budget, "budget", low=1, integer=True)
        if self.chosen is not None and set(self.chosen) != set(self.grid):
            raise OptionError(
                f"the choice stated for {self.arm!r} names {sorted(self.chosen)}, its grid {sorted(self.grid)}"
            )
        check_options(dict(self.condition), f"the condition of the tuning of {self.arm!r}")
        both = set(self.grid) & set(self.condition)
        if both:
            raise OptionError(f"the tuning of {self.arm!r} has {', '.join(sorted(both))} in its grid and its condition")
        for setting in self.settings():
            check_options(setting, f"the grid of {self.arm!r}")

    def settings(self) -> list[dict[str, Any]]:
        """The settings that are tried, in the order of the grid."""
        everything = [
            dict(zip(self.grid, values, strict=True)) for values in itertools.product(*map(list, self.grid.values()))
        ]
        if self.budget is None or self.budget >= len(everything):
            return everything
        kept = np.random.default_rng(0).choice(len(everything), size=self.budget, replace=False)
        return [everything[i] for i in sorted(kept)]

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms that the choice goes to."""
        return (self.arm, *self.also)

    @property
    def trials(self) -> int:
        """How many runs the tuning takes."""
        return len(self.settings()) * len(self.seeds)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison: a number of the system against the same number of a baseline, paired over seeds.

    Attributes:
        name: what the row shows, unique within its claim (may also be given by position).
        metric: the number that is compared, a key of what the arms return.
        system: the arm that should be better.
        baseline: the arm it is held against; several arms (in each seed the best of them counts, which is harder than
            any one of them); or a constant.
        minimum_effect: the smallest gain that counts, in the metric's unit (or as a share of the baseline for a
            relative row). Negative for "not worse by more than"; always signed so that larger favours the system.
        higher_is_better: False for errors, losses, leaks.
        rule: how the interval decides, one of `RULES`; see `verdict`.
        compare: "difference", or "relative" for gains as a share of the baseline ("25% lower error": 0.25).
        baseline_metric: the baseline's number when it goes by another name, such as two scores of one run.
        condition: options added to both arms' runs, over anything tuned, such as `{"noise": 0.25}`; rows with equal
            conditions share runs.
        role: "central" and "guard" rows decide the claim's verdict; "ablation" and "extra" rows are reported beside.
        unequal_budget: why the system may be tuned in more runs than a baseline; without a reason that is refused.
        seeds: how many of the claim's seeds the row uses, the first ones; None uses all. For ablations that would cost
            more than they tell; a central or guard row uses all.
    """

    name: str = field(kw_only=False)
    metric: str
    system: str
    baseline: str | Sequence[str] | float
    minimum_effect: float = 0.0
    higher_is_better: bool = True
    rule: str = RULES[0]
    compare: str = "difference"
    baseline_metric: str | None = None
    condition: Mapping[str, Any] = field(default_factory=dict)
    role: str = "central"
    unequal_budget: str = ""
    seeds: int | None = None

    def __post_init__(self) -> None:
        check_range(self.minimum_effect, "minimum_effect", low=0 if self.rule == RULES[1] else None)
        check_choice(self.rule, RULES, "rule")
        check_choice(self.compare, COMPARISONS, "compare")
        check_choice(self.role, ROLES, "role")
        check_options(dict(self.condition), f"the condition of row {self.name!r}")
        if self.seeds is not None:
            check_range(self.seeds, "seeds", low=1, integer=True)
            if self.role in ("central", "guard"):
                raise OptionError(f"row {self.name!r} decides the claim and so uses all seeds; leave seeds out")
        if not self.name or not self.metric:
            raise OptionError("a row needs a name and a metric")
        if self.constant is None and not self.baselines:
            raise OptionError(f"row {self.name!r} has no baseline")
        if self.constant is not None:
            check_range(self.constant, "baseline")
        if self.system in self.baselines and self.baseline_metric in (None, self.metric):
            raise OptionError(f"row {self.name!r} compares {self.system!r} with itself; give baseline_metric=")

    @property
    def constant(self) -> float | None:
        """The number the system is held against, where the baseline is not an arm."""
        if isinstance(self.baseline, int | float) and not isinstance(self.baseline, bool):
            return float(self.baseline)
        return None

    @property
    def baselines(self) -> tuple[str, ...]:
        """The arms the system is held against; none for a constant."""
        if self.constant is not None:
            return ()
        return (self.baseline,) if isinstance(self.baseline, str) else tuple(self.baseline)  # type: ignore[arg-type]

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm the row reads, without repeats."""
        return tuple(dict.fromkeys((self.system, *self.baselines)))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An experiment that pits a system against fairly tuned baselines on the same data with the same budget.

    Attributes:
        slug: the system's slug, lower case with hyphens.
        title: what the experiment is, in a few words.
        statement: what is claimed, in one sentence that the numbers can refute.
        arms: name -> function (or `Arm` with fixed options) that returns one run's numbers.
        rows: the comparisons; those in the central and guard roles decide.
        tune: the hyperparameters to choose first.
        sources: modules whose code the results depend on; a change of it makes cached results stale. None finds them
            by following the imports of the claim's module. Settings (below) and `claim` itself do not count.
        threads: threads a run may use, the same in every engine since sums differ in their last digits otherwise.
        settings: plain values to print in the record: sizes, steps, what a laptop run changes.
        notes: anything a reader of the outcome must know.
        gates: model of the zoo -> names of those of its gates that the claim needs, none for all. While one of them is not
            met, the verdict is "inconclusive" whatever the rows say.
    """

    slug: str
    title: str
    statement: str
    arms: Mapping[str, Arm | Run]
    rows: Sequence[Row]
    tune: Sequence[Tuning] = ()
    sources: Sequence[str] | None = None
    threads: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
    gates: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.slug):
            raise OptionError(f"slug={self.slug!r} must be lower-case words joined by hyphens")
        check_range(self.threads, "threads", low=1, integer=True)
        check_options(dict(self.settings), "settings")
        arms = {name: arm if isinstance(arm, Arm) else Arm(arm) for name, arm in self.arms.items()}
        object.__setattr__(self, "arms", arms)
        names = [row.name for row in self.rows]
        if not names:
            raise OptionError(f"claim {self.slug!r} has no rows")
        if len(set(names)) < len(names):
            raise OptionError(f"claim {self.slug!r} has two rows of the same name: {', '.join(names)}")
        if not any(row.role == "central" for row in self.rows):
            raise OptionError(f"claim {self.slug!r} has no central row")
        for name in [n for row in self.rows for n in row.arms] + [n for tuning in self.tune for n in tuning.arms]:
            if name not in arms:
                raise UnknownNameError("arm", name, list(arms))
        for tuning in self.tune:
            for name in tuning.arms:
                both = set(self.arm(name).options) & set(tuning.grid)
                if both:
                    raise OptionError(f"arm {name!r} has {', '.join(sorted(both))} both fixed and tuned; choose one")
        for row in self.rows:
            for name in row.arms:
                both = set(self.arm(name).options) & set(row.condition)
                if both:
                    raise OptionError(
                        f"row {row.name!r} sets {', '.join(sorted(both))}, which arm {name!r} has fixed; choose one"
                    )
            self._check_budget(row)

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        arm = self.arms[name]
        assert isinstance(arm, Arm)  # __post_init__ has wrapped the functions
        return arm

    def trials(self, arm: str) -> int:
        """In how many runs an arm's options are chosen."""
        return sum(tuning.trials for tuning in self.tune if arm in tuning.arms)

    def _check_budget(self, row: Row) -> None:
        ours = self.trials(row.system)
        poorer = [name for name in row.baselines if self.trials(name) < ours]
        if poorer and not row.unequal_budget:
            raise OptionError(
                f"row {row.name!r}: {row.system!r} is tuned in {ours} runs but its baseline {poorer[0]!r} in "
                f"{self.trials(poorer[0])}; tune both alike (Tuning has budget= and also=), or give the reason as "
                "unequal_budget="
            )


def check_options(options: dict[str, Any], where: str) -> dict[str, Any]:
    """Options as plain JSON values, so that they can key a cached result and stand in a record.

    Raises:
        OptionError: a value is not a plain finite number, string, boolean, None, list or dictionary of such.
    """
    try:
        return dict(json.loads(json.dumps(options, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise OptionError(f"{where} must be plain JSON values: {error}") from None
