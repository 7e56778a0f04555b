r"""Periodic equations in time by Fourier series and ETDRK4, refined until they stand.

What the finest solve misses follows from the last two changes by a doubling, `d` after `D`:

    error = d / (D/d - 1),

for an order `p`, where `D/d = 2^p`, exactly, and more than enough for a series that converges
faster than any power. In space `D/d` has to be 8 or more. In time it is 16, and what it falls
short of that is rounding, which no doubling takes away: `d (1 - D/(16 d))` is added.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from continua import integrate
from continua.core.errors import InputError
from continua.core.precision import precision
from continua.problems.equation import EquationProblem
from continua.problems.formulas import evaluate
from continua.problems.reference import check_times
from continua.problems.refine import refine
from continua.problems.stepped import Stepped
from continua.spaces import FourierSpace

_SAMPLED = {1: 2**17, 2: 1024, 3: 128}  # nodes an axis on which the initial state is analysed
_COARSEST = {1: 64, 2: 32, 3: 16}
_FINEST = {1: 4096, 2: 256, 3: 64}
_MOST_STEPS = 2**15
_WORK = 2**27  # nodes times steps
# Ratios of successive changes that show the expected convergence, and the largest that is
# counted on: a little less than the 16 of order 4 in time, and some caution in space.
_SHOWN = {"time": (8.0, 24.0, 12.0), "space": (8.0, np.inf, 1000.0)}
_OF_ORDER_4 = 16.0
_ROUNDING = np.finfo(float).eps / 8  # a step, relative; measured where steps are many
_BLOCK = 32  # times in between that are stepped to at once


@dataclasses.dataclass(frozen=True)
class Frames:
    """A solution as Fourier coefficients at evenly spaced times.

    **Arguments:**

    - `problem`, `space`: what was solved on what.
    - `times`: `(T,)`.
    - `states`: coefficients `(T, s, *Nf)`.
    - `steps`: between two times.
    - `error`, `evidence`: as of a reference.
    """

    problem: EquationProblem
    space: FourierSpace
    times: np.ndarray
    states: np.ndarray
    steps: int
    error: float = float("nan")
    evidence: str = ""

    def at(self, points: np.ndarray) -> np.ndarray:
        """The unknowns at points: from the frame before, the same stepper goes on.

        **Arguments:**

        - `points`: `(n, 1 + d)`, time at its place among the coordinates.

        **Returns:** `(n, c)`.
        """
        equation = self.problem.equation
        column = equation.coordinates.index(equation.time)
        times, which = np.unique(points[:, column], return_inverse=True)
        places = np.delete(points, column, axis=1)
        values = np.empty((len(points), len(equation.unknowns)))
        for i, physical in enumerate(self._physical(times)):
            rows = which == i
            given = all(u in self.problem.initial for u in equation.unknowns)
            if times[i] == self.times[0] and given:
                values[rows] = self._initial(points[rows])
            else:
                values[rows] = self.space.interpolate(physical, places[rows])
        return values

    def _initial(self, points: np.ndarray) -> np.ndarray:
        problem = self.problem
        at = dict(zip(problem.equation.coordinates, points.T, strict=True))
        values = problem.all_parameters()
        rows = [
            evaluate(problem.initial[u], problem.equation, at, values)
            for u in problem.equation.unknowns
        ]
        return np.stack(rows, axis=-1)

    def _physical(self, times: np.ndarray) -> np.ndarray:
        """The unknowns at the nodes at some times: `(n, c, *N)`."""
        spacing = self.times[1] - self.times[0]
        first, last = self.times[0], self.times[-1]
        check_times(times, first, last)
        frame = np.floor((times - first) / spacing + 1e-9).astype(int)
        frame = np.clip(frame, 0, len(self.times) - 1)
        elapsed = times - self.times[frame]
        on = np.abs(elapsed) < 1e-9 * spacing
        states = self.states[frame]
        with precision("float64"):
            between = np.flatnonzero(~on)
            for begin in range(0, len(between), _BLOCK):
                part = between[begin : begin + _BLOCK]
                full = np.resize(part, _BLOCK)  # blocks of one size compile once
                before, dt = self.times[frame[full]], elapsed[full] / self.steps
                moved = run_many(self.problem, self.space, states[full], before, dt, self.steps, 1)
                states[part] = np.asarray(moved)[: len(part), -1]
            return self.physical(times, states)

    def physical(self, times: np.ndarray, states: np.ndarray) -> np.ndarray:
        """The unknowns at the nodes `(n, c, *N)` from coefficients of states.

        **Arguments:**

        - `times`: `(n,)`.
        - `states`: `(n, s, *Nf)`.
        """
        parameters = {p: jnp.asarray(v) for p, v in self.problem.all_parameters().items()}
        stepped = Stepped(self.problem)
        given = jnp.asarray(states), jnp.asarray(times, float), parameters
        return np.asarray(self.space.to_physical(stepped.unknowns(self.space, *given)))


def space_of(problem: EquationProblem, size: int) -> FourierSpace:
    """A Fourier space on the box of a periodic problem.

    **Arguments:**

    - `problem`: periodic.
    - `size`: nodes an axis.
    """
    names = problem.equation.space
    ends = [problem.domain[c] for c in names]
    low, high = (tuple(float(e[i]) for e in ends) for i in (0, 1))
    return FourierSpace(names, low, high, (size,) * len(names))


def stepper(
    problem: EquationProblem, space: FourierSpace, parameters: Mapping[str, Any] | None = None
):
    """Linear symbol and nonlinearity with the problem's parameters.

    **Arguments:**

    - `problem`: periodic and in time.
    - `space`: a Fourier space.
    - `parameters`: numbers in place of those of the problem.

    **Returns:** `L`, and `N(t, y_hat)`.
    """
    symbol, nonlinear, _ = Stepped(problem).split(space)
    values = {n: jnp.asarray(v) for n, v in problem.all_parameters().items()}
    values.update(parameters or {})
    return symbol(values), lambda t, y_hat: nonlinear(t, y_hat, values)


def run_many(
    problem,
    space,
    states: Any,
    t0: Any,
    dt: Any,
    steps: int,
    saves: int,
    parameters: Mapping[str, Any] | None = None,
):
    """Step several states at once.

    **Arguments:**

    - `problem`, `space`: what is solved on what.
    - `states`: coefficients `(n, s, *Nf)`.
    - `t0`, `dt`: `(n,)`, or one number for all, whose coefficients are then shared.
    - `steps`: between two saved states; `saves`: how many of them.
    - `parameters`: `(n,)` by name, in place of those of the problem; none.

    **Returns:** `(n, saves + 1, s, *Nf)`.
    """
    states, t0, dt = jnp.asarray(states), jnp.asarray(t0), jnp.asarray(dt)
    values = {name: jnp.asarray(v, dt.dtype) for name, v in (parameters or {}).items()}
    return _run(problem, space, states, t0, dt, values, jnp.asarray(steps, jnp.int32), saves)


@functools.partial(jax.jit, static_argnums=(0, 1, 7))
def _run(problem, space, states, t0, dt, values, steps, saves):
    def one(y0_hat, t0, dt, values):
        linear, nonlinear = stepper(problem, space, values)
        return integrate.etdrk4(linear, nonlinear, y0_hat, t0, dt, steps, saves).ys

    axes = (0, 0 if t0.ndim else None, 0 if dt.ndim else None, 0)
    return jax.vmap(one, axes)(states, t0, dt, values)


def initial_coefficients(problem: EquationProblem, space: FourierSpace) -> np.ndarray:
    """Fourier coefficients of the initial state, free of aliases: `(s, *Nf)`.

    **Arguments:**

    - `problem`: periodic and in time.
    - `space`: a Fourier space.
    """
    equation = problem.equation
    size = _SAMPLED[len(equation.space)]
    fine = space_of(problem, size)
    mesh = dict(zip(equation.space, np.meshgrid(*fine.axes().values(), indexing="ij"), strict=True))
    mesh[str(equation.time)] = np.asarray(problem.domain[str(equation.time)][0])
    values = problem.all_parameters()
    states = [evaluate(problem.initial[n], equation, mesh, values) for n in problem.states()]
    full = np.fft.rfftn(np.stack(states), axes=tuple(range(1, 1 + len(space.shape))))
    n = space.shape[0]
    rows = np.concatenate([np.arange(n // 2), np.arange(size - n // 2, size)])
    for axis in range(1, len(space.shape)):
        full = np.take(full, rows, axis)
    kept = full[..., : n // 2 + 1] * (n / size) ** len(space.shape)
    return kept * np.asarray(space.mask())


def _solve(problem: EquationProblem, size: int, steps: int) -> Frames:
    times = problem.evaluation_grid()[str(problem.equation.time)]
    space = space_of(problem, size)
    dt = (times[1] - times[0]) / steps
    start = initial_coefficients(problem, space)[None]
    states = run_many(problem, space, start, times[:1], np.array([dt]), steps, len(times) - 1)
    return Frames(problem, space, times, np.asarray(states)[0], steps)


def _difference(coarse: Frames, fine: Frames) -> float:
    """Relative L2 difference of the unknowns after the start, on the coarse grid."""
    shape = coarse.space.shape
    ratio = fine.space.shape[0] // shape[0]
    a, b = (f.physical(f.times[1:], f.states[1:]) for f in (coarse, fine))
    b = b[(..., *(slice(None, None, ratio),) * len(shape))]
    size = np.linalg.norm(b)
    return float(np.linalg.norm(a - b) / (size if size > 0 else 1.0))


def left_over(kind: str, before: float, change: float) -> float:
    """The error that is left after a doubling; the change where convergence does not show.

    **Arguments:**

    - `kind`: "time" or "space".
    - `before`, `change`: by the last two doublings.
    """
    least, most, trusted = _SHOWN[kind]
    if change == 0.0 or not least <= before / change <= most or not np.isfinite(before):
        return change
    ratio = before / change
    if kind == "space":
        return change / (min(ratio, trusted) - 1.0)
    return change * (1.0 / (trusted - 1.0) + max(0.0, 1.0 - ratio / _OF_ORDER_4))


def solve_accurately(problem: EquationProblem, tolerance: float) -> Frames:
    """Double nodes and steps, each for as long as that gains anything.

    **Arguments:**

    - `problem`: periodic and in time.
    - `tolerance`: relative L2 error, by `left_over`, at which doubling ends.

    **Raises:** `InputError` where every solve diverges.
    """
    dimensions = len(problem.equation.space)
    times = len(problem.evaluation_grid()[str(problem.equation.time)]) - 1

    def allowed(size: int, steps: int) -> bool:
        few = size <= _FINEST[dimensions] and steps * times <= _MOST_STEPS
        return few and size**dimensions * steps * times <= _WORK

    with precision("float64"):
        found = refine(
            lambda size, steps: _solve(problem, size, steps),
            _difference,
            allowed,
            size=_COARSEST[dimensions],
            steps=4,
            tolerance=tolerance,
            left=left_over,
        )
    if not np.all(np.isfinite(found.best.states)):
        raise InputError(
            f"the reference solution of '{problem.name}' diverges",
            where=f"problem '{problem.name}'",
            fix="check signs and parameters, or shorten the time",
        )
    total = found.steps * times
    error = found.left_in_space + found.left_in_time + _ROUNDING * total
    evidence = (
        f"Fourier series on {found.size} nodes an axis and ETDRK4 with {total} steps; half as "
        f"many nodes differ by {found.in_space:.1e}, half as many steps by {found.in_time:.1e} "
        f"(relative L2), which leaves {found.left_in_space:.1e} and {found.left_in_time:.1e}"
    )
    return dataclasses.replace(found.best, error=float(error), evidence=evidence)
