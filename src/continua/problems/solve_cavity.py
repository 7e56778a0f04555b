r"""Steady flow in a box with a moving lid by its stream function, in polynomials.

    (1/Re) int lap(psi) lap(v) + int lap(psi) (psi_y v_x - psi_x v_y) = 0

for all `v` that vanish on the walls with their slopes; `u = psi_y`, `v = -psi_x`, so that
the velocity has no divergence at all. The pressure follows from `grad p` by least squares.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import sympy
from numpy.polynomial import chebyshev, legendre

from continua.core.errors import InputError
from continua.equations import Equation
from continua.equations.parse import coordinate_symbol
from continua.problems.formulas import check_formula
from continua.problems.reference import AbstractReference, points_of

NAVIER_STOKES = Equation(
    (
        "dot(vec(u, v), grad(u)) - lap(u)/Re + p_x = 0",
        "dot(vec(u, v), grad(v)) - lap(v)/Re + p_y = 0",
        "div(vec(u, v)) = 0",
    ),
    ("u", "v", "p"),
    ("x", "y"),
    ("Re",),
)
_MODES = (18, 24)  # polynomials an axis: of the estimate and of the reference
_MOST_ITERATIONS = 30
_EASY = 150.0  # Reynolds number up to which Newton's method needs no start


@dataclasses.dataclass(frozen=True)
class _Clamped:
    """Polynomials on [0, 1] that vanish at both ends with their slopes.

    `(1 - s^2)^2 T_k(s)`, combined so that second derivatives are orthonormal.
    """

    coefficients: np.ndarray  # Chebyshev in s = 2 x - 1, a column a function

    @classmethod
    def of(cls, count: int) -> "_Clamped":
        bump = chebyshev.poly2cheb([1.0, 0.0, -2.0, 0.0, 1.0])
        raw = np.zeros((count + 4, count))
        for k in range(count):
            product = chebyshev.chebmul(bump, np.eye(count)[k])
            raw[: len(product), k] = product
        nodes, weights = legendre.leggauss(count + 6)
        second = chebyshev.chebval(nodes, chebyshev.chebder(raw, 2)).T
        _, triangle = np.linalg.qr(second * np.sqrt(weights)[:, None])
        return cls(np.linalg.solve(triangle.T, raw.T).T)

    def at(self, x: np.ndarray, order: int) -> np.ndarray:
        """Derivatives of all functions at points `(m,)`: `(m, count)`."""
        return (
            2.0**order * chebyshev.chebval(2 * x - 1, chebyshev.chebder(self.coefficients, order)).T
        )


@dataclasses.dataclass(frozen=True)
class CavityFlow:
    """A flow in the unit box.

    **Arguments:**

    - `lid`: coefficients of the lid's velocity as a polynomial in `x`, lowest first.
    - `stream`: coefficients of the stream function beside that of the lid `(n, n)`.
    - `pressure`: Chebyshev coefficients `(k, k)`.
    """

    lid: np.ndarray
    stream: np.ndarray
    pressure: np.ndarray

    def velocity(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`(u, v)` at points `(m,)`."""
        basis = _Clamped.of(len(self.stream))
        return (
            _stream(basis, self.stream, self.lid, x, y, (0, 1)),
            -_stream(basis, self.stream, self.lid, x, y, (1, 0)),
        )

    def values(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """`(u, v, p)` at points `(m,)`: `(3, m)`."""
        p = chebyshev.chebval2d(2 * x - 1, 2 * y - 1, self.pressure)
        return np.stack([*self.velocity(x, y), p])


def _stream(basis, stream, lid, x, y, orders) -> np.ndarray:
    """A derivative of `psi` at points: of the lid's share, `g(x) (y^3 - y^2)`, and the rest."""
    rest = np.einsum("mi,ij,mj->m", basis.at(x, orders[0]), stream, basis.at(y, orders[1]))
    return rest + _lid_share(lid, x, y, orders)


def _lid_share(lid, x, y, orders) -> np.ndarray:
    along = np.polynomial.Polynomial(lid).deriv(orders[0])
    across = np.polynomial.Polynomial([0.0, 0.0, -1.0, 1.0]).deriv(orders[1])
    return along(x) * across(y)


def solve_cavity(lid: np.ndarray, re: float, count: int) -> CavityFlow:
    """Newton's method, from a flow at a lower Reynolds number where there is need.

    **Arguments:**

    - `lid`: velocity of the lid as a polynomial in `x`, lowest first; zero at both ends
      with its slope.
    - `re`: Reynolds number.
    - `count`: polynomials an axis.

    **Raises:** `InputError` where Newton's method does not converge.
    """
    basis = _Clamped.of(count)
    nodes, weights = legendre.leggauss(2 * count + 4)
    nodes, weights = (nodes + 1) / 2, weights / 2
    x, y = (a.ravel() for a in np.meshgrid(nodes, nodes, indexing="ij"))
    w = np.outer(weights, weights).ravel()[:, None]
    tables = [basis.at(nodes, order) for order in range(3)]

    def functions(i: int, j: int) -> np.ndarray:
        return np.kron(tables[i], tables[j])

    along, across = functions(1, 0), functions(0, 1)
    laplace = functions(2, 0) + functions(0, 2)
    given = {o: _lid_share(lid, x, y, o) for o in ((1, 0), (0, 1), (2, 0), (0, 2))}
    stream = np.zeros(count**2)
    for share in (1.0,) if re <= _EASY else (0.1, 0.3, 1.0):
        for _ in range(_MOST_ITERATIONS):
            px = (along @ stream + given[(1, 0)])[:, None]
            py = (across @ stream + given[(0, 1)])[:, None]
            turn = (laplace @ stream + given[(2, 0)] + given[(0, 2)])[:, None]
            nu = 1.0 / (share * re)
            residual = (
                nu * laplace.T @ (w * turn) + along.T @ (w * turn * py) - across.T @ (w * turn * px)
            )
            jacobian = laplace.T @ (nu * w * laplace)
            jacobian += along.T @ (w * (py * laplace + turn * across))
            jacobian -= across.T @ (w * (px * laplace + turn * along))
            step = np.linalg.solve(jacobian, residual)[:, 0]
            stream = stream - step
            size = np.linalg.norm(step) / max(np.linalg.norm(stream), 1e-300)
            if size < 1e-12:
                break
        else:
            raise InputError(
                "the flow was not found", where="reference", fix="a lower Reynolds number"
            )
    square = stream.reshape(count, count)
    return CavityFlow(np.asarray(lid), square, _pressure(basis, square, lid, re, nodes, weights))


def _pressure(basis, stream, lid, re, nodes, weights) -> np.ndarray:
    """Coefficients of the pressure of mean zero, `grad p = lap(u)/Re - u . grad u`."""
    x, y = (a.ravel() for a in np.meshgrid(nodes, nodes, indexing="ij"))

    def psi(i, j):
        return _stream(basis, stream, lid, x, y, (i, j))

    u, v = psi(0, 1), -psi(1, 0)
    gx = (psi(2, 1) + psi(0, 3)) / re - (u * psi(1, 1) + v * psi(0, 2))
    gy = -(psi(3, 0) + psi(1, 2)) / re + (u * psi(2, 0) + v * psi(1, 1))
    count = len(stream) + 2
    value = chebyshev.chebvander(2 * nodes - 1, count - 1)
    slope = 2 * chebyshev.chebval(2 * nodes - 1, chebyshev.chebder(np.eye(count), 1)).T
    w = np.sqrt(np.outer(weights, weights).ravel())
    mean = np.kron(weights @ value, weights @ value)
    matrix = np.concatenate(
        [np.kron(slope, value) * w[:, None], np.kron(value, slope) * w[:, None], mean[None]]
    )
    right = np.concatenate([gx * w, gy * w, [0.0]])
    found: Any = np.linalg.lstsq(matrix, right, rcond=None)[0]
    return found.reshape(count, count)


@dataclasses.dataclass(frozen=True, eq=False)
class CavityReference(AbstractReference):
    """The flow in the unit box whose lid moves smoothly, and rests in its corners.

    **Arguments:**

    - `lid`: velocity of the lid as a polynomial in `x`, lowest first.
    - `re`: Reynolds number.

    **Reference:** shen1991hopf
    """

    lid: tuple[float, ...]
    re: float

    def adapted(self, problem: Any) -> AbstractReference | None:
        return cavity_reference(problem)

    @property
    def error(self) -> float:
        return _solved(self)[1]

    @property
    def evidence(self) -> str:
        return (
            f"stream function in {_MODES[1]} polynomials an axis; {_MODES[0]} differ by "
            f"{self.error:.1e} (relative L2)"
        )

    def values(self, *coordinates: Any) -> np.ndarray:
        x, y = points_of(("x", "y"), coordinates)
        return _solved(self)[0].values(x.ravel(), y.ravel()).reshape(3, *x.shape)


def cavity_reference(problem: Any) -> CavityReference | None:
    """The reference of a problem, `None` where it is not this flow.

    **Arguments:**

    - `problem`: an `EquationProblem`.
    """
    square = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
    if problem.equation != NAVIER_STOKES or problem.domain != square or problem.geometry:
        return None
    lid, sides = "0", []
    for axis, walls in problem.boundary.items():
        for side, conditions in (("lower", walls.lower), ("upper", walls.upper)):
            for condition in conditions:
                if condition.coefficients != {0: 1.0}:
                    return None
                if (axis, side, condition.unknown) == ("y", "upper", "u"):
                    lid = condition.value
                else:
                    sides.append(condition.value)
    if set(sides) != {"0"} or dict(problem.means) != {"p": 0.0}:
        return None
    x, formula = coordinate_symbol("x"), check_formula(lid, problem.equation, "boundary")
    if not (formula.free_symbols <= {x} and formula.is_polynomial(x)):
        return None
    coefficients = tuple(float(c) for c in reversed(sympy.Poly(formula, x).all_coeffs()))
    polynomial = np.polynomial.Polynomial(coefficients)
    ends = [abs(f(x)) for f in (polynomial, polynomial.deriv()) for x in (0.0, 1.0)]
    resting = max(ends) < 1e-12
    return CavityReference(coefficients, problem.parameters["Re"]) if resting else None


@functools.lru_cache(maxsize=4)
def _solved(reference: CavityReference) -> tuple[CavityFlow, float]:
    """The flow and its relative L2 error, estimated by that in fewer polynomials."""
    lid = np.array(reference.lid)
    coarse, fine = (solve_cavity(lid, reference.re, count) for count in _MODES)
    x, y = (a.ravel() for a in np.meshgrid(*[np.linspace(0, 1, 41)] * 2))
    exact = fine.values(x, y)
    gap = np.linalg.norm(coarse.values(x, y) - exact) / np.linalg.norm(exact)
    return fine, max(float(gap), 1e-14)
