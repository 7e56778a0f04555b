"""Every problem of the library is solved by its best classical method, on few points.

The cheapest of some rungs that meets the bound of its kind, against the problem's
reference. Two-dimensional patterns and flows, whose references take long, are solved over
a short time and put into their own equation: derivatives in space by Fourier series, in
time by central differences.
"""

import dataclasses

import jax
import numpy as np
import pytest
import sympy

from continua.compare.score import main_metric, score
from continua.equations.compile import jet_symbols, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.methods import best_classical
from continua.problems import (
    PROBLEMS,
    extended,
    get,
    numerical,
    solve_cavity,
    solve_elliptic,
    solve_shock,
    with_reference,
)
from continua.solve import solve

# What one of the first rungs must reach, by kind.
BOUNDS = {"ode": 1e-2, "sde": 0.2, "steady": 2e-2, "pde": 6e-2, "series": 0.5, "inverse": 0.5}
# Slip lines of it roll up ever finer: no grid comes near to another.
ROUGH = {"quadrants": 0.2}
# The rungs that are tried, by number: each compiles anew, and the first of all say little.
RUNGS = {"ode": (2, 5), "sde": (0, 4), "steady": (1, 5), "pde": (2, 5), "plane": (0, 5)}
COARSE = {"cylinder_wake": 4}  # rungs before this one take steps that are too long
FEW = {0: 21, 1: 24, 2: 12, 3: 8}  # points an axis, by the number of space axes
TOLERANCE = 1e-5  # of references that are refined until they stand
DEAR = {
    "gray_scott",
    "brusselator_2d",
    "fitzhugh_nagumo_waves",
    "decaying_turbulence",
    "kolmogorov_flow",
}
SHORT, TIMES = 0.01, 21  # part of the horizon, and times in it
RESIDUAL = 2e-2


def forget_references():
    """Empties what keeps solved references, under whatever settings they were solved."""
    for module in (numerical, solve_cavity, solve_elliptic, solve_shock):
        for kept in vars(module).values():
            getattr(kept, "cache_clear", lambda: None)()


@pytest.fixture(autouse=True)
def cheap_references(monkeypatch):
    """References of a thousandth or so: bounds are above a hundredth."""
    forget_references()
    monkeypatch.setattr(extended, "AVAILABLE", False)  # double precision is enough
    monkeypatch.setattr(solve_cavity, "_MODES", (8, 12))
    monkeypatch.setattr(solve_elliptic, "_SIZES", {1: (32, 48), 2: (24, 32)})
    fewer = {1: 800, 2: 64}
    monkeypatch.setattr(solve_shock, "CELLS", {a: fewer[a] for a in solve_shock.CELLS})
    yield
    forget_references()


def kind_of(problem) -> str:
    """A key of `BOUNDS`."""
    if problem.kind == "stochastic":
        return "sde"
    if problem.kind != "equation":
        return problem.kind
    if problem.equation.time is None:
        return "steady"
    return "pde" if problem.equation.space else "ode"


def coarse(problem):
    """The problem on few points, with a reference that is as exact as the test needs."""
    few = FEW[len(problem.equation.space)]
    time = problem.equation.time
    names = problem.equation.coordinates
    points = {c: 11 if c == time and problem.equation.space else few for c in names}
    problem = dataclasses.replace(problem, num_points=points)
    if problem.kind == "equation":
        problem = with_reference(problem)
    if hasattr(problem.reference, "tolerance"):
        loose = dataclasses.replace(problem.reference, tolerance=TOLERANCE)
        problem = dataclasses.replace(problem, reference=loose)
    return problem


def least_error(bound: float, problem, error) -> float:
    """The error of the first rung of the best classical method's ladder that is below a
    bound, else the least of all that end well."""
    method = best_classical(problem)
    assert method is not None
    # In the plane and in space a rung costs many times the one before.
    far = problem.kind == "equation" and len(problem.equation.space) > 1
    kind = "plane" if far and problem.equation.time is not None else kind_of(problem)
    begin, end = RUNGS.get(kind, (0, 5))
    begin = COARSE.get(problem.name, begin)
    least = np.inf
    for rung in method.ladder(problem)[begin:end]:
        solution = solve(problem, rung, key=jax.random.key(0))
        least = min(least, error(solution)) if solution.result.ok else least
        if least < bound:
            break
    return least


def error_of(problem, solution) -> float:
    """The main error; of series, in standard deviations, that of what was learned from."""
    errors = score(solution, problem, getattr(problem, "reference", None))
    if problem.kind == "series":
        return errors["normalised_rmse_training"]
    if errors:
        return errors[main_metric(problem)]
    # No reference: values that are not all the same, their number finite.
    values = solution.values(*np.meshgrid(*solution.grid.values(), indexing="ij"))
    there = values[np.isfinite(values)]
    return 0.0 if there.size and np.std(there) > 0 else np.inf


@pytest.mark.parametrize("name", sorted({*PROBLEMS} - DEAR))
def test_the_best_classical_method_solves_it(name):
    problem = get(name)
    if problem.kind == "family":
        problem = with_reference(problem.base)
    if problem.kind in ("equation", "stochastic"):
        problem = coarse(problem)
    bound = ROUGH.get(name, BOUNDS[kind_of(problem)])
    assert least_error(bound, problem, lambda solution: error_of(problem, solution)) < bound


def residual(problem, solution) -> float:
    """`|left - right|`, relative to the time derivative, at all but the first and last times."""
    equation, grid = problem.equation, solution.grid
    mesh = np.meshgrid(*grid.values(), indexing="ij")
    fields = dict(zip(equation.unknowns, solution.values(*mesh), strict=True))
    symbols = jet_symbols(equation.jets)
    names = [coordinate_symbol(c) for c in equation.coordinates]
    parameters = problem.all_parameters()
    arguments = [*symbols.values(), *names, *map(parameter_symbol, parameters)]
    arrays = [derivative(fields[name], orders, grid) for name, orders in symbols]
    texts = [replace_jets(e, equation.coordinates, symbols) for e in equation.expanded]
    program = sympy.lambdify(arguments, texts, "numpy")
    rows = program(*arrays, *mesh, *parameters.values())
    moving = [a for (_, orders), a in zip(symbols, arrays, strict=True) if orders[0]]
    gap = sum(np.sum(np.square(row[1:-1])) for row in rows)
    return float(np.sqrt(gap / sum(np.sum(np.square(a[1:-1])) for a in moving)))


def derivative(values: np.ndarray, orders, grid) -> np.ndarray:
    """Of periodic values in space, time being the first axis."""
    for axis, (order, nodes) in enumerate(zip(orders, grid.values(), strict=True)):
        if not order:
            continue
        if axis == 0:
            values = np.gradient(values, nodes, axis=0)
            continue
        count, spacing = len(nodes), nodes[1] - nodes[0]
        k = 2j * np.pi * np.fft.fftfreq(count, spacing)
        shape = [-1 if a == axis else 1 for a in range(values.ndim)]
        spectrum = np.fft.fft(values, axis=axis) * (k**order).reshape(shape)
        values = np.real(np.fft.ifft(spectrum, axis=axis))
    return values


@pytest.mark.parametrize("name", sorted(DEAR & {*PROBLEMS}))
def test_short_runs_of_dear_problems_obey_their_equation(name):
    problem = get(name)
    equation = problem.equation
    first, last = problem.domain[equation.time]
    times = {equation.time: (first, first + SHORT * (last - first))}
    short = dataclasses.replace(
        problem,
        domain={**problem.domain, **times},
        num_points={equation.time: TIMES, **dict.fromkeys(equation.space, 64)},
        reference=None,
    )
    assert least_error(RESIDUAL, short, lambda solution: residual(short, solution)) < RESIDUAL
