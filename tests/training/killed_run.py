"""A run that another process kills: python killed_run.py <folder> <learner>."""

import sys
import time

from small_runs import TABLE, learner


def main(folder: str, kind: str) -> None:
    """Fit slowly enough to be caught in the middle."""
    learner(kind, batch_size=16).fit(
        TABLE, steps=60, run=folder, log_every=3, checkpoint_every=10, callbacks=[lambda step, model: time.sleep(0.02)]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
