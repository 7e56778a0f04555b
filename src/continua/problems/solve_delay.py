"""Delay differential equations near the limit of double precision, by the method of steps."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.equations.compile import jet_symbols, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.problems.delays import breakpoints, delays_of, mesh_of
from continua.problems.equation import EquationProblem
from continua.problems.formulas import evaluate, numpy_function
from continua.problems.reference import AbstractReference, check_times, points_of

_TOLERANCES = (1e-13, 3e-14)  # of the other solve and of the better one
_GENERATIONS = 9  # as many as the method has orders, and one more


@dataclasses.dataclass(frozen=True, eq=False)
class DelayReference(AbstractReference):
    """A delay differential equation by the Runge-Kutta method of order 8 from one time at
    which a derivative may jump to the next.

    **Arguments:**

    - `problem`: of an ordinary equation with delays, without unknown parameters.

    **Reference:** bellen2003numerical
    """

    problem: EquationProblem

    def adapted(self, problem: Any) -> AbstractReference | None:
        if self.problem == problem:
            return self
        return DelayReference(problem) if problem.equation.delays else None

    @property
    def error(self) -> float:
        return _solved(self)[1]

    @property
    def evidence(self) -> str:
        return (
            f"DOP853 between jumps of derivatives at a tolerance of {_TOLERANCES[1]:g}; "
            f"{_TOLERANCES[0]:g} differs by {self.error:.1e} (relative L2)"
        )

    def values(self, *coordinates: Any) -> np.ndarray:
        (t,) = points_of(self.problem.equation.coordinates, coordinates)
        check_times(t, *self.problem.domain[self.problem.equation.coordinates[0]])
        states, unknowns = self.problem.states(), self.problem.equation.unknowns
        found = _solved(self)[0](t.reshape(-1))
        return np.stack([found[states.index(u)].reshape(t.shape) for u in unknowns])


@functools.lru_cache(maxsize=8)
def _solved(reference: DelayReference) -> tuple[Callable, float]:
    problem = reference.problem
    coarse, fine = (_path(problem, tolerance) for tolerance in _TOLERANCES)
    t0, t1 = problem.domain[str(problem.equation.time)]
    t = np.linspace(t0, t1, 997)
    exact = fine(t)
    gap = np.linalg.norm(coarse(t) - exact) / np.linalg.norm(exact)
    return fine, max(float(gap), 1e-15)


def _path(problem: EquationProblem, tolerance: float) -> Callable[[np.ndarray], np.ndarray]:
    """Times `(m,)` to states `(s, m)`."""
    from scipy.integrate import solve_ivp

    system, time = problem.equation.system, str(problem.equation.time)
    t0, t1 = problem.domain[time]
    delays = delays_of(problem)
    lengths = [length for _, length in delays.values()]
    # Between two knots nothing that is asked for lies within the same stretch.
    knots = mesh_of(breakpoints(t0, t1, lengths, _GENERATIONS), min(lengths))
    right = _right(problem, tuple(delays))
    pieces: list[Callable] = []

    def state(t: float, row: int) -> float:
        if t <= t0:
            return _history(problem, system.states[row], t)
        index = int(np.searchsorted(knots, t, side="left")) - 1
        return float(pieces[min(index, len(pieces) - 1)](t)[row])

    def field(t, y):
        delayed = [state(t - tau, system.states.index(u)) for u, tau in delays.values()]
        return right(t, y, delayed)

    y = np.array([_history(problem, s, t0) for s in system.states])
    for a, b in zip(knots[:-1], knots[1:], strict=True):
        found = solve_ivp(
            field,
            (a, b),
            y,
            "DOP853",
            rtol=max(tolerance, 2.3e-14),
            atol=tolerance,
            dense_output=True,
        )
        if not found.success or not np.all(np.isfinite(found.y)):
            raise InputError(
                f"the solution does not reach {time} = {t1:g}: {found.message}",
                where=f"problem '{problem.name}'",
                fix="shorten the time",
            )
        assert found.sol is not None
        pieces.append(found.sol)
        y = found.y[:, -1]

    def path(t: np.ndarray) -> np.ndarray:
        index = np.clip(np.searchsorted(knots, t, side="left") - 1, 0, len(pieces) - 1)
        out = np.empty((len(system.states), len(t)))
        for i in np.unique(index):
            out[:, index == i] = pieces[i](t[index == i])
        return out

    return path


def _history(problem: EquationProblem, state: str, t: float) -> float:
    time = str(problem.equation.time)
    return float(
        evaluate(problem.initial[state], problem.equation, {time: t}, problem.all_parameters())
    )


def _right(problem: EquationProblem, delayed: tuple[str, ...]) -> Callable:
    """`(t, y, delayed values)` to slopes."""
    system = problem.equation.system
    names = [(name, (0,)) for name in (*system.states, *delayed)]
    symbols = jet_symbols(names)
    numbers = {parameter_symbol(p): v for p, v in problem.all_parameters().items()}
    whole = [replace_jets(e, system.coordinates, symbols) for e in system.expanded]
    flat: Any = [e.subs(list(numbers.items())) for e in whole]
    function = numpy_function(flat, [coordinate_symbol(system.time), *symbols.values()])

    def right(t, y, values):
        return np.array(function(t, *y, *values), float)

    return right
