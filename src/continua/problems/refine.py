"""Nodes and steps of a classical solve, doubled for as long as that changes anything."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_TURNS = {"time": 2, "space": 1}
_PATIENCE = 9  # doublings after which a solve that always diverged is given up
_ROUNDING = 1e-8  # changes below it that do not fall any more are rounding


class Refined(NamedTuple):
    """The finest solve, its nodes an axis and steps, and the last change by either."""

    best: Any
    size: int
    steps: int
    in_space: float
    in_time: float


def refine(
    solve: Callable[[int, int], Any],
    difference: Callable[[Any, Any], float],
    allowed: Callable[[int, int], bool],
    *,
    size: int,
    steps: int,
    tolerance: float,
) -> Refined:
    """Double nodes or steps, whichever changes more, until neither does.

    **Arguments:**

    - `solve`: nodes an axis and steps to a solution.
    - `difference`: of a solution to a finer one, relative; not finite where one diverges.
    - `allowed`: whether so many nodes and steps may be spent.
    - `size`, `steps`: to begin with.
    - `tolerance`: change at which doubling ends.
    """
    best = solve(size, steps)
    change, rounds = {"time": np.inf, "space": np.inf}, {"time": 0, "space": 0}
    settled: set[str] = set()
    while True:
        finer = {"time": (size, 2 * steps), "space": (2 * size, steps)}
        left = [k for k in finer if change[k] > tolerance and k not in settled]
        left = [k for k in left if allowed(*finer[k])]
        hopeless = sum(rounds.values()) >= _PATIENCE and not np.any(np.isfinite([*change.values()]))
        if hopeless or not left:
            return Refined(best, size, steps, change["space"], change["time"])
        # Where all diverge, twice the steps have their turn before twice the nodes, as
        # explicit diffusion would need them.
        kind = max(left, key=lambda k: (change[k], -(rounds[k] // _TURNS[k])))
        size, steps = finer[kind]
        found = solve(size, steps)
        with np.errstate(all="ignore"):
            gap = float(difference(best, found))
        gap = gap if np.isfinite(gap) else np.inf
        if gap < _ROUNDING and gap > 0.5 * change[kind]:
            settled.add(kind)
        change[kind], best = gap, found
        rounds[kind] += 1
