"""Ordinary differential equations as accurately as doubles can hold: in extended precision
where the machine has it, else by SciPy as accurately as double precision allows."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy

from continua.core.errors import InputError
from continua.equations.compile import jet_symbols, jets_in, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.problems import extended
from continua.problems.equation import EquationProblem
from continua.problems.formulas import evaluate, numpy_function

_EXPLICIT_LIMIT = 1e5  # decay rate times duration up to which explicit steps are cheaper
_VANISHING = 1e-15  # step, relative to the time, that gets nowhere
_RADAU_STEPS = (4000, 2000)  # at least
_SAMPLES = 60  # times at which stiffness is looked at
_EXTENDED = ((16, 1e-17), (14, 3e-16))  # stages and tolerance of the better and the other solve
_DOUBTFUL = 1e-12  # error beyond which double precision is tried too
_ROUNDING = 1.2e-16  # of values to double precision, relative


@dataclasses.dataclass(frozen=True)
class Path:
    """A trajectory with an estimate of its error.

    **Arguments:**

    - `path`: times `(n,)` to states `(s, n)`.
    - `error`: relative L2 difference to a solve with other tolerances.
    - `evidence`: in words.
    """

    path: Callable[[np.ndarray], np.ndarray]
    error: float
    evidence: str


@dataclasses.dataclass(frozen=True)
class _System:
    right: Callable
    slopes: Callable
    start: np.ndarray
    t0: float
    t1: float
    sampled: bool

    def field(self, t, y):
        return np.asarray(self.right(t, y), float)

    def jacobian(self, t, y):
        return np.asarray(self.slopes(t, y), float).reshape(len(y), len(y))


def solve_accurately(problem: EquationProblem) -> Path:
    """Solve an initial value problem twice and compare.

    **Arguments:**

    - `problem`: of an ordinary differential equation.

    **Raises:** `InputError` where the solution does not reach the end of its interval.
    """
    system = _system(problem)
    rough = _integrate(system, "LSODA", 1e-6, np.full(system.start.shape, 1e-9), problem.name)
    found = _extended(problem, system, rough)
    if found is not None and found.error < _DOUBTFUL:
        return found
    # It may have missed a jump of the right-hand side, which short steps see better.
    other = _double(problem, system, rough)
    return other if found is None or other.error < found.error else found


def _extended(problem: EquationProblem, system: _System, rough) -> Path | None:
    """In extended precision; `None` where the machine or the equation do not allow it."""
    if not extended.AVAILABLE or system.sampled or len(system.start) > extended.MOST_UNKNOWNS:
        return None
    size = np.abs(rough(rough.ts)).max(axis=1)
    size = np.maximum(size, 1e-10 * size.max())

    def field(t, y):
        return np.stack([np.broadcast_to(row, t.shape) for row in system.right(t, y)])

    def jacobian(t, y):
        rows = np.stack([np.broadcast_to(row, t.shape) for row in system.slopes(t, y)])
        return rows.reshape(len(y), len(y), -1).transpose(2, 0, 1)

    known = extended.System(
        field, jacobian, system.start, system.t0, system.t1, rough, np.where(size > 0, size, 1.0)
    )
    found = []
    for stages, tolerance in _EXTENDED:
        try:
            with np.errstate(all="ignore"):
                found.append(extended.solve_extended(known, stages=stages, tolerance=tolerance))
        except TypeError:  # a function that NumPy has in double precision alone
            return None
        if found[-1] is None:
            return None
    best, other = found
    error = max(_difference(problem, best, other), _ROUNDING)
    (stages, fine), (fewer, coarse) = _EXTENDED
    evidence = (
        f"collocation at {stages} Radau points in extended precision at a relative tolerance of "
        f"{fine:g}; {fewer} points at {coarse:g} differ by {error:.1e} (relative L2)"
    )
    return Path(best, error, evidence)


def _double(problem: EquationProblem, system: _System, rough) -> Path:
    """In double precision, by the method that suits the stiffness."""
    times = np.linspace(system.t0, system.t1, _SAMPLES)
    states = rough(times)
    rates = [np.linalg.eigvals(system.jacobian(t, y)) for t, y in zip(times, states.T, strict=True)]
    decay = max(0.0, -float(np.min(np.real(rates))))
    stiff = decay * (system.t1 - system.t0) > _EXPLICIT_LIMIT
    method, fine, coarse = ("Radau", 1e-11, 1e-9) if stiff else ("DOP853", 1e-13, 1e-12)
    # Between its steps Radau is of order 3 alone: keep them short.
    longest = [(system.t1 - system.t0) / n if stiff else np.inf for n in _RADAU_STEPS]
    size = np.maximum(np.abs(states).max(axis=1), 1e-10 * np.abs(states).max())
    best, other = (
        _integrate(system, method, rtol, 1e-2 * rtol * size, problem.name, max_step)
        for rtol, max_step in zip((fine, coarse), longest, strict=True)
    )
    error = max(_difference(problem, best, other), 1e-15)
    evidence = (
        f"{method} at a relative tolerance of {fine:g}; at {coarse:g} it differs by {error:.1e} "
        "(relative L2)"
    )
    return Path(best, error, evidence)


def _difference(problem: EquationProblem, best: Callable, other: Callable) -> float:
    """Relative L2 difference of the unknowns on the evaluation grid."""
    grid = problem.evaluation_grid()[problem.equation.coordinates[0]]
    rows = [problem.states().index(u) for u in problem.equation.unknowns]
    a, b = best(grid)[rows], other(grid)[rows]
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-300))


def _integrate(
    system: _System,
    method: str,
    rtol: float,
    atol: np.ndarray,
    name: str,
    max_step: float = np.inf,
) -> Callable:
    """A dense solution."""
    from scipy import integrate

    options: dict[str, Any] = {} if method != "Radau" else {"jac": system.jacobian}
    options |= {"rtol": rtol, "atol": np.maximum(atol, 1e-300), "max_step": max_step}
    times, pieces = [system.t0], []
    with np.errstate(all="ignore"):
        solver = getattr(integrate, method)(
            system.field, system.t0, system.start, system.t1, **options
        )
        while solver.status == "running":
            _step(solver, name)
            times.append(solver.t)
            pieces.append(solver.dense_output())
    return integrate.OdeSolution(np.array(times), pieces)


def _step(solver, name: str) -> None:
    """One step; SciPy's own loop would go on for ever where the steps of LSODA vanish."""
    before = solver.t
    solver.step()
    advanced = solver.t - before > _VANISHING * abs(solver.t)
    if solver.status == "failed" or not advanced or not np.all(np.isfinite(solver.y)):
        raise InputError(
            f"the reference solution gets no further than t = {before:g}",
            where=f"problem '{name}'",
            fix="shorten the domain, or check signs and parameters",
        )


def _system(problem: EquationProblem) -> _System:
    """The first-order system as NumPy functions, with its exact Jacobian."""
    equation = problem.equation
    system = equation.first_order()
    jets = sorted({j for e in system.expanded for j in jets_in(e, equation.coordinates)})
    symbols = jet_symbols(jets)
    flat: Any = [replace_jets(e, equation.coordinates, symbols) for e in system.expanded]
    flat = [sympy.sympify(e) for e in flat]
    table = {name: s for (name, _), s in symbols.items()}
    states = [table.get(n, sympy.Dummy(n, real=True)) for n in system.states]
    fields = list(equation.fields)
    extra = [table.get(n, sympy.Dummy(n, real=True)) for n in fields]
    time = coordinate_symbol(system.time)
    parameters = [parameter_symbol(p) for p in equation.parameters]
    arguments = [time, *states, *extra, *parameters]
    values = problem.all_parameters()
    numbers = [values[p] for p in equation.parameters]

    def known(t):
        at = np.array([[float(t)]])
        return [float(np.asarray(equation.fields[n](at))[0]) for n in fields]

    def bound(function, t, y):
        return function(t, *y, *(known(t) if fields else ()), *numbers)

    right = numpy_function(flat, arguments)

    @functools.cache
    def jacobian():  # dear for many states, and not always needed
        return numpy_function(list(sympy.Matrix(flat).jacobian(states)), arguments)

    t0, t1 = problem.domain[system.time]
    start = [
        evaluate(problem.initial[n], equation, {system.time: t0}, values) for n in system.states
    ]
    return _System(
        lambda t, y: bound(right, t, y),
        lambda t, y: bound(jacobian(), t, y),
        np.array(start, float),
        t0,
        t1,
        bool(fields),
    )
