r"""Gas dynamics with shocks: finite volumes on three grids, each twice as fine as the one before.

    rho_t + div m = 0,   m_t + div(m m / rho) + grad p = 0,   E_t + div((E + p) m / rho) = 0,

reconstructed by WENO5 in characteristic variables, with HLLC fluxes and SSP-RK3. A shock
keeps every scheme to the first order and less, so that Richardson's estimate takes the order
that the three grids show.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.equations import Equation
from continua.equations.compile import jets_in, replace_jets
from continua.equations.parse import parameter_symbol
from continua.integrate.ssp import march
from continua.problems.conditions import Walls
from continua.problems.equation import EquationProblem
from continua.problems.formulas import evaluate, numpy_function
from continua.problems.reference import AbstractReference, check_times, points_of
from continua.spaces.finite_volume import CellWall, FiniteVolumeScheme, FiniteVolumeSpace
from continua.spaces.reconstruct import WENO5
from continua.spaces.riemann import HLLC, Euler

CELLS = {1: 12800, 2: 256}  # of an axis of the finest grid, which takes about a minute
_COURANT = 0.9  # shocks err by far more than such steps do
_ORDERS = (0.5, 2.0)  # of convergence that an estimate believes
_CLOSE = 1e-12  # between fluxes that are the same


@dataclasses.dataclass(frozen=True, eq=False)
class ShockReference(AbstractReference):
    """An ideal gas between open ends by finite volumes on fine grids.

    **Arguments:**

    - `problem`: for which `shock_reference` gives one.
    - `cells`: of an axis of the finest grid, a multiple of 4.

    **Reference:** shu1998essentially, batten1997choice
    """

    problem: EquationProblem
    cells: int

    def adapted(self, problem: Any) -> AbstractReference | None:
        if self.problem == problem:
            return self
        return shock_reference(problem)

    @property
    def error(self) -> float:
        return _solved(self)[1]

    @property
    def evidence(self) -> str:
        return _solved(self)[2]

    def values(self, *coordinates: Any) -> np.ndarray:
        arrays = points_of(self.problem.equation.coordinates, coordinates)
        points = np.stack([a.reshape(-1) for a in arrays], axis=-1)
        return _solved(self)[0].at(points).T.reshape(-1, *arrays[0].shape)


def shock_reference(problem: EquationProblem) -> ShockReference | None:
    """The reference of a problem; `None` where it is no ideal gas between open ends.

    **Arguments:**

    - `problem`: of an equation.
    """
    equation, axes = problem.equation, len(problem.equation.space)
    if axes not in CELLS or problem.geometry or problem.unknown_parameters:
        return None
    open_ends = all(
        walls == "periodic"
        or (
            isinstance(walls, Walls)
            and all(c.coefficients == {1: 1.0} and c.value in ("0", "0.0") for c in walls.lower)
            and all(c.coefficients == {1: 1.0} and c.value in ("0", "0.0") for c in walls.upper)
        )
        for walls in problem.boundary.values()
    )
    if not open_ends or _gamma(equation, problem.all_parameters()) is None:
        return None
    return ShockReference(dataclasses.replace(problem, reference=None), CELLS[axes])


def _gamma(equation: Equation, parameters) -> float | None:
    """The ratio of specific heats, `None` where the equation is not that of an ideal gas."""
    axes, unknowns = len(equation.space), equation.unknowns
    first = all(order == 1 for order in equation.time_orders.values())
    if len(unknowns) != axes + 2 or not first or equation.fields:
        return None
    try:
        form = equation.flux_form()
    except InputError:
        return None
    flat = [sympy.sympify(f).doit() for row in form.fluxes for f in row]
    jets = {jet for f in flat for jet in jets_in(f, equation.coordinates)}
    if any(s != 0 for s in form.sources) or any(sum(orders) for _, orders in jets):
        return None
    symbols = {u: sympy.Dummy(u, real=True) for u in unknowns}
    table = {(u, (0,) * len(equation.coordinates)): s for u, s in symbols.items()}
    values = {parameter_symbol(p): v for p, v in parameters.items()}
    rows = [replace_jets(f, equation.coordinates, table).xreplace(values) for f in flat]
    if any(row.free_symbols - {*symbols.values()} for row in rows):
        return None
    function = numpy_function(rows, [*symbols.values()])

    def fluxes(u):
        return np.array(function(*u)).reshape(len(unknowns), axes)

    pressure = float(fluxes([1.0, *[0.0] * axes, 1.0])[1, 0])  # gamma - 1 of a gas at rest
    # Two rational functions that agree at a point of no special place are the same.
    u = np.array([1.37, 0.41, -0.73, 2.91][: axes + 1] + [2.91])
    p = pressure * (u[-1] - np.sum(u[1:-1] ** 2) / (2 * u[0]))
    own = np.stack([u[1 + a] / u[0] * np.append(u[:-1], u[-1] + p) for a in range(axes)], axis=1)
    own[1:-1] += p * np.eye(axes)
    same = np.allclose(fluxes(u), own, rtol=_CLOSE, atol=_CLOSE)
    return 1 + pressure if pressure > 0 and same else None


@dataclasses.dataclass(frozen=True)
class Averages:
    """Averages over cells at the times of the evaluation grid.

    **Arguments:**

    - `problem`, `space`: what was solved on what.
    - `times`: `(T,)`; `frames`: `(T, s, *N)`.
    """

    problem: EquationProblem
    space: FiniteVolumeSpace
    times: np.ndarray
    frames: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """The unknowns at points: from the frame before, the same steps go on.

        **Arguments:**

        - `points`: `(n, 1 + d)`, time at its place among the coordinates.

        **Returns:** `(n, c)`.
        """
        equation = self.problem.equation
        column = equation.coordinates.index(equation.time)
        times, which = np.unique(points[:, column], return_inverse=True)
        check_times(times, self.times[0], self.times[-1])
        places = np.delete(points, column, axis=1)
        values = np.empty((len(points), len(equation.unknowns)))
        spacing = self.times[1] - self.times[0]
        for i, t in enumerate(times):
            frame = int(np.clip(np.searchsorted(self.times, t + 1e-9 * spacing) - 1, 0, None))
            if t == self.times[0]:
                values[which == i] = _initial(self.problem, points[which == i].T).T
                continue
            averages = self.frames[frame]
            if t - self.times[frame] > 1e-9 * spacing:
                averages = _advance(self.problem, self.space, averages, t - self.times[frame])
            values[which == i] = self.space.interpolate(averages, places[which == i])
        return values


def solve_shock(problem: EquationProblem, cells: int) -> Averages:
    """Averages over cells at the times of the evaluation grid.

    **Arguments:**

    - `problem`: of an ideal gas.
    - `cells`: of each axis.

    **Reference:** shu1998essentially
    """
    equation = problem.equation
    ends = [problem.domain[c] for c in equation.space]
    lower, upper = (tuple(float(e[i]) for e in ends) for i in (0, 1))
    periodic = tuple(problem.boundary.get(c) == "periodic" for c in equation.space)
    space = FiniteVolumeSpace(
        equation.space, lower, upper, (cells,) * len(equation.space), periodic
    )
    times = problem.evaluation_grid()[str(equation.time)]

    def start(nodes):
        mesh = np.meshgrid(*nodes.values(), indexing="ij")
        first = np.full(mesh[0].shape, times[0])
        named = {**dict(zip(nodes, mesh, strict=True)), str(equation.time): first}
        return _initial(problem, [named[c] for c in equation.coordinates])

    frames = [space.averages(start)]
    for span in np.diff(times):
        frames.append(_advance(problem, space, frames[-1], span))
    return Averages(problem, space, times, np.array(frames))


def _initial(problem: EquationProblem, coordinates) -> np.ndarray:
    equation, values = problem.equation, problem.all_parameters()
    at = dict(zip(equation.coordinates, coordinates, strict=True))
    return np.stack([evaluate(problem.initial[u], equation, at, values) for u in equation.unknowns])


def _advance(problem, space: FiniteVolumeSpace, averages: np.ndarray, span: float) -> np.ndarray:
    """Averages a time later."""
    with precision("float64"):
        return np.asarray(_march(problem, space, jnp.asarray(averages), jnp.asarray(span)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _march(problem: EquationProblem, space: FiniteVolumeSpace, averages, span):
    gamma = _gamma(problem.equation, problem.all_parameters())
    assert gamma is not None
    walls = tuple(
        CellWall(state, axis, side, 1, lambda t: jnp.zeros((), averages.dtype))
        for axis, name in enumerate(problem.equation.space)
        for side in (0, 1)
        for state in range(len(averages))
        if problem.boundary.get(name) != "periodic"
    )
    scheme = FiniteVolumeScheme(space, Euler(gamma), WENO5(), HLLC(), walls)

    times = jnp.stack([jnp.zeros_like(span), span])
    return march(scheme, averages, times, _COURANT).ys[-1]


@functools.lru_cache(maxsize=4)
def _solved(reference: ShockReference) -> tuple[Averages, float, str]:
    """The finest solution, its estimated error, and how that is known."""
    problem, cells = reference.problem, reference.cells
    grid = problem.evaluation_grid()
    time = str(problem.equation.time)
    grid[time] = grid[time][1:]
    mesh = np.meshgrid(*grid.values(), indexing="ij")
    points = np.stack([m.reshape(-1) for m in mesh], axis=-1)
    solutions = [solve_shock(problem, cells // k) for k in (4, 2, 1)]
    coarse, middle, fine = (s.at(points) for s in solutions)
    size = np.linalg.norm(fine)
    first, last = np.linalg.norm(middle - coarse) / size, np.linalg.norm(fine - middle) / size
    order = min(max(math.log2(first / last), _ORDERS[0]), _ORDERS[1])
    error = float(last / (2**order - 1))
    evidence = (
        f"WENO5 and HLLC on {cells} cells an axis; half as many differ by {last:.1e} and a "
        f"quarter from them by {first:.1e} (relative L2), which is an order of {order:.1f}"
    )
    return solutions[-1], error, evidence
