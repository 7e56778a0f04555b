r"""Linear steady equations on boxes by Chebyshev collocation, near the limit of what is smooth.

    sum_jets s_jet(x_i) (D_jet u)_i = f(x_i) inside,   a_0 u + a_1 du/dx = g on walls.

The nodes cluster at walls and in corners, where solutions are least smooth.
"""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import sympy

from continua.core.errors import InputError
from continua.equations.compile import jet_symbols, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.problems.conditions import Walls
from continua.problems.equation import EquationProblem
from continua.problems.formulas import evaluate, numpy_function
from continua.problems.reference import AbstractReference, points_of
from continua.spaces.chebyshev import ChebyshevSpace

_SIZES = {1: (64, 96), 2: (56, 72)}  # nodes an axis, by the number of axes
_ROUNDING = 1e-12
_SAFETY = 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class EllipticReference(AbstractReference):
    """A linear steady equation by Chebyshev collocation with two numbers of nodes.

    **Arguments:**

    - `problem`: steady and linear, of one unknown, between walls in one or two dimensions,
      one condition a wall.
    - `num_points`: nodes an axis of the two solves, the last one counts; 64 and 96 in one
      dimension, 56 and 72 in two.

    **Reference:** trefethen2000spectral
    """

    problem: EquationProblem
    num_points: tuple[int, int] | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Nodes an axis of the two solves."""
        return self.num_points or _SIZES[len(self.problem.equation.space)]

    def adapted(self, problem: Any) -> AbstractReference | None:
        if self.problem == problem:
            return self
        other = elliptic_reference(problem)
        return other and dataclasses.replace(other, num_points=self.num_points)

    @property
    def error(self) -> float:
        return _solved(self).error

    @property
    def evidence(self) -> str:
        coarse, fine = self.sizes
        return f"Chebyshev collocation with {fine} nodes an axis against {coarse}"

    def values(self, *coordinates: Any) -> np.ndarray:
        arrays = points_of(self.problem.equation.coordinates, coordinates)
        points = np.stack([a.reshape(-1) for a in arrays], axis=-1)
        found = _solved(self)
        values = found.space.interpolate(found.field[None], points)
        return values.T.reshape(1, *arrays[0].shape)


def elliptic_reference(problem: EquationProblem) -> EllipticReference | None:
    """The reference of a steady problem, `None` where it cannot be had.

    **Arguments:**

    - `problem`: of an equation.
    """
    equation = problem.equation
    steady = equation.time is None and len(equation.unknowns) == 1
    if not steady or len(equation.space) not in _SIZES or problem.unknown_parameters:
        return None
    walls = [problem.boundary.get(c) for c in equation.space]
    simple = all(isinstance(w, Walls) and len(w.lower) == len(w.upper) == 1 for w in walls)
    if problem.geometry is not None or problem.means or equation.fields or not simple:
        return None
    second = all(order <= 2 for order in equation.orders.values())
    if not (second and equation.is_linear):
        return None
    return EllipticReference(dataclasses.replace(problem, reference=None))


@dataclasses.dataclass(frozen=True, eq=False)
class _Solved:
    space: Any
    field: np.ndarray
    error: float


@functools.lru_cache(maxsize=8)
def _solved(reference: EllipticReference) -> _Solved:
    problem = reference.problem
    coarse, fine = (_solve(problem, n) for n in reference.sizes)
    ends = [problem.domain[c] for c in problem.equation.space]
    axes = [np.linspace(low, high, 41) for low, high in ends]
    points = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")], axis=-1)
    first, second = (s.interpolate(f[None], points) for s, f in (coarse, fine))
    change = float(np.linalg.norm(first - second) / np.linalg.norm(second))
    if not math.isfinite(change):
        raise InputError(
            "the system is singular", where=f"problem '{problem.name}'", fix="another reference"
        )
    return _Solved(*fine, max(_SAFETY * change, _ROUNDING))


def _solve(problem: EquationProblem, size: int) -> tuple[Any, np.ndarray]:
    """Values at the nodes of a product of Chebyshev grids."""
    names = problem.equation.space
    lower, upper = zip(*(problem.domain[c] for c in names), strict=True)
    space = _Product(names, lower, upper, size)
    mesh = np.meshgrid(*space.nodes, indexing="ij")
    matrix, right = _inside(problem, space, mesh)
    unit = np.eye(size)
    for axis, name in enumerate(names):
        walls = problem.boundary[name]
        for end, (condition,) in zip((0, size - 1), (walls.lower, walls.upper), strict=True):
            rows = np.take(np.arange(size ** len(names)).reshape(mesh[0].shape), end, axis=axis)
            rows = rows.ravel()
            where = {c: m.ravel()[rows] for c, m in zip(names, mesh, strict=True)}

            def at(text, where=where):
                values = problem.all_parameters()
                return evaluate(str(text), problem.equation, where, values)

            block = 0.0
            for order, text in condition.coefficients.items():
                along = [unit] * len(names)
                along[axis] = space.powers[axis][order]
                block = block + at(text)[:, None] * _kron(along)[rows]
            matrix[rows], right[rows] = block, at(condition.value)
    return space, np.linalg.solve(matrix, right).reshape(mesh[0].shape)


def _inside(problem: EquationProblem, space: "_Product", mesh) -> tuple[np.ndarray, np.ndarray]:
    """The equation at every node as a dense matrix and its right side."""
    equation = problem.equation
    symbols = jet_symbols(equation.jets)
    numbers: Any = {parameter_symbol(p): v for p, v in problem.all_parameters().items()}
    flat: Any = replace_jets(equation.expanded[0], equation.coordinates, symbols).subs(numbers)
    slopes = [sympy.diff(flat, symbols[jet]) for jet in equation.jets]
    rest = flat.subs(dict.fromkeys(symbols.values(), 0))
    names = list(map(coordinate_symbol, equation.coordinates))
    flat_mesh = [m.ravel() for m in mesh]
    rows = numpy_function([*slopes, rest], names)(*flat_mesh)
    values = [np.broadcast_to(np.asarray(r, float), flat_mesh[0].shape) for r in rows]
    matrix: Any = 0.0
    for (_, orders), slope in zip(equation.jets, values, strict=False):
        factors = [space.powers[i][n] for i, n in enumerate(orders)]
        matrix = matrix + slope[:, None] * _kron(factors)
    return matrix, -values[-1]


def _kron(factors: list[np.ndarray]) -> np.ndarray:
    found = factors[0]
    for factor in factors[1:]:
        found = np.kron(found, factor)
    return found


class _Product:
    """A product of Chebyshev grids: nodes, derivatives and values in between."""

    def __init__(self, names, lower, upper, size: int):
        self.lines = [
            ChebyshevSpace((c,), (a,), (b,), (size,))
            for c, a, b in zip(names, lower, upper, strict=True)
        ]
        self.nodes = [line.nodes(0) for line in self.lines]
        self.powers = [[line.matrix(0, k) for k in range(3)] for line in self.lines]

    def interpolate(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Fields `(c, *N)` at points `(m, d)`: `(m, c)`."""
        first = self.lines[0].weights(0, points[:, 0])
        found = np.einsum("mi,ci...->mc...", first, values, optimize=True)
        for axis in range(1, len(self.lines)):
            weights = self.lines[axis].weights(0, points[:, axis])
            found = np.einsum("mi,mci...->mc...", weights, found, optimize=True)
        return found
