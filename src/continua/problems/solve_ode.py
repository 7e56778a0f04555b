"""Ordinary differential equations by SciPy, as accurately as double precision allows."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy

from continua.core.errors import InputError
from continua.equations.compile import jet_symbols, jets_in, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.problems.equation import EquationProblem
from continua.problems.formulas import evaluate, numpy_function

_EXPLICIT_LIMIT = 1e5  # decay rate times duration up to which explicit steps are cheaper
_VANISHING = 1e-15  # step, relative to the time, that gets nowhere
_RADAU_STEPS = (4000, 2000)  # at least
_SAMPLES = 60  # times at which stiffness is looked at


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
    field: Callable
    jacobian: Callable
    start: np.ndarray
    t0: float
    t1: float


def solve_accurately(problem: EquationProblem) -> Path:
    """Solve an initial value problem twice and compare.

    **Arguments:**

    - `problem`: of an ordinary differential equation.

    **Raises:** `InputError` where the solution does not reach the end of its interval.
    """
    system = _system(problem)
    rough = _integrate(system, "LSODA", 1e-6, np.full(system.start.shape, 1e-9), problem.name)
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
    grid = problem.evaluation_grid()[problem.equation.coordinates[0]]
    rows = [problem.states().index(u) for u in problem.equation.unknowns]
    a, b = best(grid)[rows], other(grid)[rows]
    error = max(float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-300)), 1e-15)
    evidence = (
        f"{method} at a relative tolerance of {fine:g}; at {coarse:g} it differs by {error:.1e} "
        "(relative L2)"
    )
    return Path(best, error, evidence)


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

    options: dict[str, Any] = {} if method == "DOP853" else {"jac": system.jacobian}
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
    flat = [sympy.sympify(replace_jets(e, equation.coordinates, symbols)) for e in system.expanded]
    table = {name: s for (name, _), s in symbols.items()}
    states = [table.get(n, sympy.Dummy(n, real=True)) for n in system.states]
    fields = list(equation.fields)
    extra = [table.get(n, sympy.Dummy(n, real=True)) for n in fields]
    time = coordinate_symbol(system.time)
    parameters = [parameter_symbol(p) for p in equation.parameters]
    arguments = [time, *states, *extra, *parameters]
    right = numpy_function(flat, arguments)
    slopes = sympy.Matrix(flat).jacobian(states)
    jacobian = numpy_function(slopes.tolist(), arguments)
    values = problem.all_parameters()
    numbers = [values[p] for p in equation.parameters]

    def known(t):
        at = np.array([[float(t)]])
        return [float(np.asarray(equation.fields[n](at))[0]) for n in fields]

    def field(t, y):
        return np.asarray(right(t, *y, *known(t), *numbers), float)

    def matrix(t, y):
        return np.asarray(jacobian(t, *y, *known(t), *numbers), float)

    t0, t1 = problem.domain[system.time]
    start = [
        evaluate(problem.initial[n], equation, {system.time: t0}, values) for n in system.states
    ]
    return _System(field, matrix, np.array(start, float), t0, t1)
