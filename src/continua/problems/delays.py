r"""Delay differential equations: meshes on which their solutions are smooth.

    y'(t) = f(t, y(t), y(t - tau_1), ..., y(t - tau_k)),   y(t) = phi(t) for t <= t_0.

Where history and equation do not fit, `y'` jumps at `t_0`, `y''` at `t_0 + tau_i`, and so on
one derivative later with every further delay: a method of order `p` has to meet the first
`p` generations of these times.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.equations.parse import parameter_symbol

_SAME = 1e-12  # of the interval, below which two times are one
_MOST_BREAKS = 10_000


def delays_of(problem: Any) -> dict[str, tuple[str, float]]:
    """Unknown and length of every delay of a problem, by the name of its jet.

    **Arguments:**

    - `problem`: an `EquationProblem`.

    **Raises:** `InputError` for a delay that is not positive.
    """
    numbers = {parameter_symbol(p): v for p, v in problem.all_parameters().items()}
    found = {}
    for name, (unknown, tau) in problem.equation.delays.items():
        length = float(tau.subs(numbers))
        if not length > 0:
            raise InputError(
                f"the delay in '{name}' is {length:g}",
                where="equation.expressions",
                fix="give a positive delay",
            )
        found[name] = (unknown, length)
    return found


def breakpoints(t0: float, t1: float, delays: Sequence[float], generations: int) -> np.ndarray:
    """Times at which one of the first derivatives may jump, the ends among them.

    **Arguments:**

    - `t0`, `t1`: the interval.
    - `delays`: their lengths.
    - `generations`: how many delays in a row are followed.

    **Raises:** `InputError` where there are too many.
    """
    lengths = sorted(set(delays))
    found = {t0, t1}
    for count in range(1, generations + 1):
        for combination in itertools.combinations_with_replacement(lengths, count):
            t = t0 + sum(combination)
            if t < t1:
                found.add(t)
            if len(found) > _MOST_BREAKS:
                raise InputError("too many delays", where="equation.expressions", fix="use fewer")
    return merged(np.array(sorted(found)), t1 - t0)


def merged(times: np.ndarray, span: float) -> np.ndarray:
    """Sorted times without those that differ from the one before by rounding alone.

    **Arguments:**

    - `times`: sorted.
    - `span`: of the whole interval.
    """
    keep = np.append(True, np.diff(times) > _SAME * span)
    keep[-1], keep[:-1] = True, keep[:-1] & (times[:-1] < times[-1] - _SAME * span)
    keep[0] = True
    return times[keep]


def mesh_of(knots: np.ndarray, longest: float) -> np.ndarray:
    """All knots, with uniform steps of at most `longest` between each two.

    **Arguments:**

    - `knots`: sorted.
    - `longest`: step.
    """
    parts = []
    for a, b in itertools.pairwise(knots):
        count = max(1, int(np.ceil((b - a) / longest * (1 - 1e-12))))
        parts.append(a + (b - a) * np.arange(count) / count)
    return np.append(np.concatenate(parts), knots[-1])
