"""Sharing the work of a compiled kernel among threads.

The kernels of this room release the interpreter lock and fill the range `start:stop` of an output they are given, so
plain threads are enough. No OpenMP pool stays behind: a later `fork`, or a caller that itself runs in a thread, is
safe, and the result does not depend on how the range was cut.
"""

from __future__ import annotations

from collections.abc import Callable


def thread_count() -> int:
    """How many threads a computation may use: all cores, unless NUMBA_NUM_THREADS (or a parent process) says fewer."""
    from numba import config

    return int(config.NUMBA_NUM_THREADS)


def share(kernel: Callable[[int, int], object], count: int, *, work: float) -> None:
    """Run `kernel(start, stop)` over pieces that cover `0:count`, in `thread_count()` threads.

    Args:
        kernel: fills its piece of an output array; releases the interpreter lock.
        count: number of items.
        work: elementary steps in all; little work stays in the calling thread.
    """
    threads = min(thread_count(), count)
    if threads < 2 or work < 2e6:
        kernel(0, count)
        return
    from concurrent.futures import ThreadPoolExecutor

    pieces = min(count, 4 * threads)  # a few a thread, because columns with ties take longer
    bounds = [count * piece // pieces for piece in range(pieces + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(kernel, bounds[:-1], bounds[1:]):
            pass
