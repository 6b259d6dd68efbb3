"""What a monitor has seen: one row a step and layer; kept in a file that is written whole or not at all; drawn as curves."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsnarl.arrays import check_choice
from unsnarl.errors import DataError, FileError
from unsnarl.files import atomic_write, check_readable

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "unsnarl-monitor-1"
_TEXT = ("layer",)
TITLES = {
    "dse": "diffusion spectral entropy (bits)",
    "dsmi_labels": "DSMI with the labels (bits)",
    "dsmi_inputs": "DSMI with the inputs (bits)",
    "mi_inputs": "I(inputs; layer) (nats)",
    "mi_labels": "I(layer; labels) (nats)",
    "effective_features": "effective features",
    "features_per_neuron": "effective features a neuron",
}


class MonitorHistory:
    """Rows of numbers over steps and layers.

    >>> history = MonitorHistory()
    >>> history.add(step=0, layer="fc", dse=3.0)
    >>> history.add(step=10, layer="fc", dse=3.5)
    >>> history.table()["dse"].tolist(), history.steps
    ([3.0, 3.5], [0, 10])
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]] = ()):
        self.rows: list[dict[str, Any]] = [dict(row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"MonitorHistory({len(self.steps)} steps, layers {', '.join(map(repr, self.layers)) or 'none'})"

    @property
    def steps(self) -> list[int]:
        """The steps recorded, ascending."""
        return sorted({row["step"] for row in self.rows})

    @property
    def layers(self) -> list[str]:
        """The layers recorded, in order of appearance."""
        return list(dict.fromkeys(row["layer"] for row in self.rows))

    def add(self, *, step: int, layer: str, **numbers: float) -> None:
        """One row; a number that does not exist is nan."""
        self.rows.append({"step": int(step), "layer": str(layer), **{k: float(v) for k, v in numbers.items()}})

    def rewind(self, step: int) -> None:
        """Forget what was recorded at this step and later, as a run that goes on from a checkpoint needs."""
        self.rows = [row for row in self.rows if row["step"] < step]

    def table(self) -> pd.DataFrame:
        """A data frame with one row a step and layer, and a column a quantity (missing numbers are nan)."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=self._columns())

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(["step", "layer", *(name for row in self.rows for name in row)]))

    def save(self, path: str | Path) -> None:
        """Write to a .json or .csv file, whole or not at all.

        Raises:
            DataError: another ending.
            FileError: the file cannot be written; an old one stays.
        """
        ending = _ending(path)
        if ending == ".json":
            rows = [{k: None if _missing(v) else v for k, v in row.items()} for row in self.rows]
            text = json.dumps({"format": _FORMAT, "rows": rows}, indent=1, allow_nan=False)
        else:
            room = io.StringIO()
            writer = csv.DictWriter(room, self._columns(), restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows({k: "" if _missing(v) else v for k, v in row.items()} for row in self.rows)
            text = room.getvalue()
        with atomic_write(path, "w") as file:
            file.write(text)

    @classmethod
    def load(cls, path: str | Path) -> MonitorHistory:
        """Read what `save` wrote; the numbers come back bit for bit.

        Raises:
            DataError: another ending.
            FileError: the file is missing, empty, or not one of a monitor.
        """
        ending = _ending(path)
        text = check_readable(path).read_text(encoding="utf-8", errors="replace")
        try:
            if ending == ".json":
                found = json.loads(text)
                if found["format"] != _FORMAT:
                    raise ValueError
                rows = [{k: math.nan if v is None else v for k, v in row.items()} for row in found["rows"]]
            else:
                rows = [{k: _read(k, v) for k, v in row.items()} for row in csv.DictReader(io.StringIO(text))]
            if any(not isinstance(row["step"], int) or not isinstance(row["layer"], str) for row in rows):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise FileError(f"{path} is not the history of a monitor") from None
        return cls(rows)

    def plot(self, path: str | Path | None = None, *, quantities: Sequence[str] | None = None) -> Any:
        """Curves over steps, a panel a quantity and a line a layer; with both informations also the information plane.

        Args:
            path: also write the figure there (.png, .svg, .pdf), whole or not at all.
            quantities: columns to draw; all by default, without the widths of kernels and the standard errors (those
                are drawn as bands).

        Returns:
            A matplotlib figure.

        Raises:
            DataError: nothing was recorded, or an unknown quantity.
        """
        from matplotlib.figure import Figure

        table = self.table()
        known = [name for name in table.columns if name not in ("step", "layer")]
        drawn = [n for n in known if n != "sigma" and not n.endswith("_se")] if quantities is None else list(quantities)
        for name in drawn:
            check_choice(name, tuple(known), "quantities")
        if not len(table) or not drawn:
            raise DataError("nothing was recorded, so there is nothing to draw")
        plane = {"mi_inputs", "mi_labels"} <= set(drawn)
        panels = len(drawn) + plane
        columns = min(3, panels)
        figure = Figure(figsize=(4.4 * columns, 3.2 * math.ceil(panels / columns)), layout="constrained")
        axes = figure.subplots(math.ceil(panels / columns), columns, squeeze=False).ravel()
        for ax, name in zip(axes, drawn, strict=False):
            self._curve(ax, table, name)
        if plane:
            self._plane(axes[len(drawn)], table)
        for ax in axes[panels:]:
            ax.axis("off")
        if len(self.layers) > 1:
            axes[0].legend(fontsize=8, frameon=False)
        if path is not None:
            room = io.BytesIO()
            figure.savefig(room, format=Path(path).suffix.lstrip(".") or "png", dpi=120)
            with atomic_write(path) as file:
                file.write(room.getvalue())
        return figure

    def _curve(self, ax: Any, table: pd.DataFrame, name: str) -> None:
        for layer in self.layers:
            part = table[table["layer"] == layer].sort_values("step")
            (line,) = ax.plot(part["step"], part[name], marker=".", markersize=4, label=layer or "output")
            if f"{name}_se" in part:
                error = part[f"{name}_se"].fillna(0.0)
                low, high = part[name] - 2 * error, part[name] + 2 * error
                ax.fill_between(part["step"], low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        ax.set_title(TITLES.get(name, name), fontsize=10)
        ax.set_xlabel("step", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)

    def _plane(self, ax: Any, table: pd.DataFrame) -> None:
        for layer in self.layers:
            part = table[table["layer"] == layer].sort_values("step")
            (line,) = ax.plot(part["mi_inputs"], part["mi_labels"], linewidth=0.8, label=layer or "output")
            ax.scatter(part["mi_inputs"], part["mi_labels"], c=part["step"], cmap="viridis", s=14, zorder=2)
            ax.scatter(
                part["mi_inputs"].tail(1),
                part["mi_labels"].tail(1),
                s=50,
                facecolors="none",
                edgecolors=line.get_color(),
            )
        ax.set_title("information plane (ring: last step)", fontsize=10)
        ax.set_xlabel("I(inputs; layer) (nats)", fontsize=9)
        ax.set_ylabel("I(layer; labels) (nats)", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)


def _ending(path: str | Path) -> str:
    ending = Path(path).suffix.lower()
    if ending not in (".json", ".csv"):
        raise DataError(f"the history's path must end in .json or .csv, got {str(path)!r}")
    return ending


def _missing(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _read(name: str, text: str) -> Any:
    if name in _TEXT:
        return text
    if name == "step":
        return int(text)
    return float(text) if text else math.nan
