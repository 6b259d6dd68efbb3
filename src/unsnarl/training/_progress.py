"""How far long work is, how long it will take: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any


def clock(seconds: float) -> str:
    """Seconds as 41 s, 3:07 min or 1:02 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"


class Progress:
    """Progress of `total` steps.

    The estimate comes from the steps of this call alone, so a resumed run does not claim the speed of the steps it
    skipped. Nothing is drawn more than ten times a second.

    Args:
        total: number of steps.
        label: what is being done.
        start: steps already done.
        show: False keeps quiet.
    """

    def __init__(self, total: int, label: str, *, start: int = 0, show: bool = True):
        self.total, self.label, self.start = total, label, start
        self.show = show and total > start
        self.terminal = self.show and sys.stderr.isatty()
        self.began = time.monotonic()
        self.drawn = 0.0 if self.terminal else self.began
        self.pause = 0.1 if self.terminal else 15.0
        self.values = ""

    def update(self, step: int, **values: Any) -> None:
        """Say that `step` steps are done; `values` are shown beside until there are newer ones."""
        if not self.show:
            return
        if values:
            self.values = " ".join(f"{k} {v:.4g}" for k, v in values.items())
        now = time.monotonic()
        if now - self.drawn < self.pause and step < self.total:
            return
        self.drawn = now
        elapsed = now - self.began
        left = elapsed / max(step - self.start, 1) * (self.total - step)
        text = f"{self.label}: {step:,} of {self.total:,} steps, {clock(elapsed)} so far, about {clock(left)} left"
        text += f"  {self.values}" if self.values else ""
        if self.terminal:
            width = 20
            full = int(width * step / self.total)
            sys.stderr.write(f"\r\x1b[K[{'#' * full}{'.' * (width - full)}] {text}")
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """End the line of the bar."""
        if self.terminal:
            sys.stderr.write("\n")
            sys.stderr.flush()
