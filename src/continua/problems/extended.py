r"""Ordinary differential equations in extended precision, by collocation at Radau's points.

    Y_i = y_0 + h sum_j a_ij f(t_0 + c_j h, Y_j),   i = 1, ..., s,   y_1 = Y_s,

of order `2 s - 1` at the ends of steps and `s` in between, stiff equations included. What
is added up is `numpy.longdouble`, on most machines of 64 bits where double precision has
53; the linear systems of Newton's method are solved in double precision, and its iteration
refines them. A step is so long that the Legendre series of its stages has fallen to the
tolerance, with which the polynomial through them holds everywhere in it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Extended = np.longdouble
EPS = float(np.finfo(Extended).eps)
AVAILABLE = EPS < 1e-18  # it is double precision itself on some machines
MOST_UNKNOWNS = 64  # beyond which the linear systems of all stages are dear
_MOST_STEPS = 5000
_ITERATIONS = 50  # in one step
_RISING = 3  # plain iterations, after which their changes must fall
_TURNS = 10  # steps by Newton's method before plain iteration is tried again
_GROWTH = (0.2, 3.0)  # of steps, least and most
_SHORTEST = 1e-15  # step, relative to the whole time


@dataclasses.dataclass(frozen=True)
class System:
    """An initial value problem as functions of many states at once.

    **Arguments:**

    - `field`: times `(m,)` and states `(n, m)` to derivatives `(n, m)`, all extended.
    - `jacobian`: the same to double matrices `(m, n, n)`.
    - `start`: `(n,)`; `t0`, `t1`: the ends of time.
    - `guide`: times to states `(n, m)` of a rough solution, from which iterations start.
    - `size`: `(n,)`, the largest value of each state, against which errors are measured.
    """

    field: Callable
    jacobian: Callable
    start: np.ndarray
    t0: float
    t1: float
    guide: Callable
    size: np.ndarray


@dataclasses.dataclass(frozen=True)
class Collocation:
    """Radau's points and what belongs to them.

    **Arguments:**

    - `points`: `x_i` in `(-1, 1]`, the last of them 1.
    - `matrix`: `a_ij`, of an interval of length 1.
    - `series`: stages to the coefficients of their Legendre series, `(s, s)`.
    - `barycentric`: weights of the polynomial through -1 and the points, `(s + 1,)`.
    """

    points: np.ndarray
    matrix: np.ndarray
    series: np.ndarray
    barycentric: np.ndarray


@dataclasses.dataclass(frozen=True)
class Pieces:
    """A solution as a polynomial in each step.

    **Arguments:**

    - `rule`: the points.
    - `ends`: of the steps, `(K + 1,)`.
    - `values`: states at the beginning of each step and its points, `(K, n, s + 1)`.
    """

    rule: Collocation
    ends: np.ndarray
    values: np.ndarray

    def __call__(self, times: Any) -> np.ndarray:
        """States `(n, m)` at times `(m,)`, rounded to double precision."""
        times = np.asarray(times, Extended)
        step = np.clip(np.searchsorted(self.ends, times, side="right") - 1, 0, len(self.values) - 1)
        found = np.empty((self.values.shape[1], len(times)))
        nodes = np.concatenate([[Extended(-1)], self.rule.points])
        for k in np.unique(step):
            rows = np.flatnonzero(step == k)
            begin, end = self.ends[k : k + 2]
            x = 2 * (times[rows] - begin) / (end - begin) - 1
            gap = x[:, None] - nodes
            on = gap == 0
            weight = self.rule.barycentric / np.where(on, 1, gap)
            weight = np.where(on.any(axis=1)[:, None], on.astype(Extended), weight)
            mean = (self.values[k] @ weight.T) / weight.sum(axis=1)
            found[:, rows] = mean.astype(float)
        return found


@functools.cache
def radau(stages: int) -> Collocation:
    """Radau's rule of `stages` points with the right end, in extended precision.

    **Arguments:**

    - `stages`: `s`, 2 at least.

    **Reference:** hairer1996solving
    """
    s = stages
    guess = np.polynomial.legendre.legroots([*[0.0] * (s - 1), -1.0, 1.0])
    x = np.append(np.sort(np.real(guess))[:-1], 1).astype(Extended)
    for _ in range(4):
        p = _legendre(x[:-1], s)
        slope = np.array([k * (p[k - 1] - x[:-1] * p[k]) for k in (s - 1, s)]) / (1 - x[:-1] ** 2)
        x[:-1] -= (p[s] - p[s - 1]) / (slope[1] - slope[0])
    p, degree = _legendre(x, s), np.arange(s).astype(Extended)[:, None]
    weight = (1 + x) / (s * p[s - 1]) ** 2
    series = (2 * degree + 1) / 2 * weight * p[:s]
    # The integral of P_k from -1 is (P_{k+1} - P_{k-1}) / (2 k + 1).
    integral = np.concatenate([(x + 1)[None], (p[2:] - p[:-2]) / (2 * degree[1:] + 1)])
    nodes = np.concatenate([[Extended(-1)], x])
    gaps = nodes[:, None] - nodes + np.eye(s + 1)
    return Collocation(x, integral.T @ series / 2, series, 1 / gaps.prod(axis=1))


def solve_extended(system: System, *, stages: int, tolerance: float) -> Pieces | None:
    """Step from one end of time to the other.

    **Arguments:**

    - `system`: the initial value problem.
    - `stages`: points of a step.
    - `tolerance`: of the polynomial in a step, relative to `system.size`.

    **Returns:** the solution, or `None` where steps would become too short or too many,
    as at a kink of the right-hand side.

    **Reference:** hairer1996solving
    """
    rule, span = radau(stages), Extended(system.t1) - Extended(system.t0)
    t, y, h = Extended(system.t0), system.start.astype(Extended), span / 64
    ends, values, stiff = [t], [], 0
    while t < system.t1:
        if len(values) >= _MOST_STEPS or not h > _SHORTEST * span:
            return None
        last = h >= system.t1 - t
        h = system.t1 - t if last else h
        # Plain iteration is cheaper; where it fails Newton's method has the next steps.
        newton = stiff > 0
        found = _stages(system, rule, t, h, y, tolerance, newton)
        if found is None:
            stiff, h = (stiff, h * _GROWTH[0]) if newton else (_TURNS, h)
            continue
        tail = np.abs(found @ rule.series[-2:].T) / system.size[:, None]
        error = float(np.max(np.maximum(tail[:, 1], tail[:, 0] / 8))) / tolerance
        if error <= 1:
            values.append(np.concatenate([y[:, None], found], axis=1))
            t, y = (Extended(system.t1) if last else t + h), found[:, -1]
            ends.append(t)
            stiff -= 1
        h = h * min(max(0.9 * max(error, 1e-30) ** (-1 / stages), _GROWTH[0]), _GROWTH[1])
    return Pieces(rule, np.array(ends), np.array(values))


def _stages(
    system: System, rule: Collocation, t: Any, h: Any, y: np.ndarray, tolerance: float, newton: bool
) -> np.ndarray | None:
    """`Y` of one step, `(n, s)`, by Newton's method or by plain iteration; `None` where that
    does not get to it."""
    from scipy.linalg import lu_solve

    times = t + h * (1 + rule.points) / 2
    begin = system.guide(np.append(t, times).astype(float))
    found = y[:, None] + (begin[:, 1:] - begin[:, :1])
    factors, change = None, np.inf
    for turn in range(_ITERATIONS):
        slope = system.field(times, found)
        step = (y[:, None] - found + h * slope @ rule.matrix.T) / system.size[:, None]
        if not np.all(np.isfinite(step)):
            return None
        if newton:
            factors = factors or _factors(system, rule, times, h, found)
            if factors is None:
                return None
            rest = step.T.astype(float).reshape(-1)
            step = lu_solve(factors, rest, check_finite=False).reshape(step.shape[::-1]).T
        found = found + step * system.size[:, None]
        before, change = change, float(np.max(np.abs(step)))
        if not change < 1e6:
            return None
        # Below the tolerance it goes on for as long as that gains digits.
        if change <= 2 * EPS or (change <= tolerance / 4 and change > before / 4):
            return found
        if newton and change > before / 4:
            factors = None
        if not newton and change > before and turn > _RISING:
            return None
    return None


def _factors(system: System, rule: Collocation, times, h, found) -> Any:
    """`1 - h A x J` of all stages, its LU factors in double precision."""
    from scipy.linalg import lu_factor

    (n, s), size = found.shape, system.size
    jacobians = system.jacobian(times.astype(float), found.astype(float))
    if not np.all(np.isfinite(jacobians)):
        return None
    scaled = jacobians * (size / size[:, None])
    weights = float(h) * rule.matrix.astype(float)
    blocks = -weights[:, None, :, None] * scaled.transpose(1, 0, 2)[None]
    return lu_factor(np.eye(n * s) + blocks.reshape(n * s, n * s), check_finite=False)


def _legendre(x: np.ndarray, degree: int) -> np.ndarray:
    """`P_0, ..., P_degree` at points, a row each."""
    rows = [np.ones_like(x), x]
    for k in range(1, degree):
        rows.append(((2 * k + 1) * x * rows[k] - k * rows[k - 1]) / (k + 1))
    return np.stack(rows)
