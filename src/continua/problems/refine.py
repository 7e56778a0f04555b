"""Nodes and steps of a classical solve, doubled for as long as that changes anything."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_TURNS = {"time": 2, "space": 1}
_PATIENCE = 9  # doublings after which a solve that always diverged is given up
_ROUNDING = 1e-8  # changes below it that do not fall any more are rounding


class Refined(NamedTuple):
    """The finest solve, its nodes an axis and steps, the last change by either, and what it
    is estimated to miss for want of more of either."""

    best: Any
    size: int
    steps: int
    in_space: float
    in_time: float
    left_in_space: float
    left_in_time: float


def last_change(kind: str, before: float, change: float) -> float:
    """The last change itself, which is what the solve before the finest misses.

    **Arguments:**

    - `kind`: "time" or "space".
    - `before`, `change`: by the last two doublings.
    """
    del kind, before
    return change


def refine(
    solve: Callable[[int, int], Any],
    difference: Callable[[Any, Any], float],
    allowed: Callable[[int, int], bool],
    *,
    size: int,
    steps: int,
    tolerance: float,
    left: Callable[[str, float, float], float] = last_change,
) -> Refined:
    """Double nodes or steps, whichever changes more, until neither does.

    **Arguments:**

    - `solve`: nodes an axis and steps to a solution.
    - `difference`: of a solution to a finer one, relative; not finite where one diverges.
    - `allowed`: whether so many nodes and steps may be spent.
    - `size`, `steps`: to begin with.
    - `tolerance`: what may be left where doubling ends.
    - `left`: what the finest solve misses, from the last two changes; `last_change`.
    """
    best = solve(size, steps)
    change, rounds = {"time": np.inf, "space": np.inf}, {"time": 0, "space": 0}
    missed = dict(change)
    settled: set[str] = set()
    while True:
        finer = {"time": (size, 2 * steps), "space": (2 * size, steps)}
        worth = [k for k in finer if missed[k] > tolerance and k not in settled]
        worth = [k for k in worth if allowed(*finer[k])]
        hopeless = sum(rounds.values()) >= _PATIENCE and not np.any(np.isfinite([*change.values()]))
        if hopeless or not worth:
            ends = change["space"], change["time"], missed["space"], missed["time"]
            return Refined(best, size, steps, *ends)
        # Where all diverge, twice the steps have their turn before twice the nodes, as
        # explicit diffusion would need them.
        kind = max(worth, key=lambda k: (missed[k], -(rounds[k] // _TURNS[k])))
        size, steps = finer[kind]
        found = solve(size, steps)
        with np.errstate(all="ignore"):
            gap = float(difference(best, found))
        gap = gap if np.isfinite(gap) else np.inf
        if gap < _ROUNDING and gap > 0.5 * change[kind]:
            settled.add(kind)
        missed[kind] = left(kind, change[kind], gap)
        change[kind], best = gap, found
        rounds[kind] += 1
