r"""Steady equations between walls: Newton's method with sparse Jacobians.

    R(u) = 0,

`R` the equation at inner nodes and the conditions at wall nodes. Where an unknown is free
up to a constant and its mean is given, the system gets a row for the mean and a column of
ones, whose multiplier tells by how much the data miss to be compatible.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from continua.core.errors import InputError
from continua.core.results import Result, ResultCode
from continua.methods.classical import setup
from continua.methods.classical.linear import Direct, Linear
from continua.methods.classical.newton import Newton, NewtonEnd
from continua.methods.classical.sparse import SparseSystem, WallRows
from continua.problems import EquationProblem
from continua.spaces import FiniteDifferenceSpace

_FREE = 1e-9  # size of J applied to a constant, over that of J, below which it is free
_INCOMPATIBLE = 1e-2  # multiplier, over the equation's size, above which data do not fit


@dataclasses.dataclass(frozen=True)
class SteadySolve:
    """The end of a steady solve.

    **Arguments:**

    - `field`: unknowns `(c, *N)`.
    - `result`: how it ended.
    - `evaluations`: of the residual.
    - `iterations`: of Newton's method.
    - `linear_iterations`: of Krylov methods, in all of them.
    - `residual`: at the end, over that of the start.
    - `imbalance`: largest multiplier of the means, over the size of the residual at the start.
    """

    field: np.ndarray
    result: Result
    evaluations: int
    iterations: int
    linear_iterations: int = 0
    residual: float = 0.0
    imbalance: float = 0.0


def solve_steady(
    problem: EquationProblem, space: FiniteDifferenceSpace, linear: Linear | None = None
) -> SteadySolve:
    """Newton's method from zero, steps halved while they help not.

    **Arguments:**

    - `problem`: steady.
    - `space`: where it is solved.
    - `linear`: how linear systems are solved, `Direct()`.

    **Raises:** `InputError` where a mean is given of what is fixed without it.
    """
    with jax.enable_x64(True):
        unknowns = tuple(problem.equation.unknowns)
        system = SparseSystem(problem, problem.equation.expanded, unknowns, space)
        boundary = setup.boundary_of(problem, space)
        walls = WallRows(boundary, len(unknowns), setup.parameters_of(problem))
        matrix, right = walls.matrix(0.0), walls.right(0.0)
    residual = _Residual(problem, space, system, walls, matrix, right)
    return _newton(residual, linear or Direct(), problem.equation.is_linear)


class _Residual:
    """The equation at free nodes, the conditions at the others, and means of unknowns."""

    def __init__(self, problem, space, system, walls, matrix, right):
        self.system, self.walls, self.matrix, self.right = system, walls, matrix, right
        self.shape = (len(problem.equation.unknowns), *space.shape)
        self.size = int(np.prod(self.shape))
        self.unknowns, self.means = problem.equation.unknowns, dict(problem.means)
        self.evaluations = 0
        weights = np.ones(())
        for axis in range(len(space.shape)):
            weights = np.multiply.outer(weights, mean_weights(space, axis))
        each = self.size // self.shape[0]
        self.rows, self.columns = [], []
        for name in self.means:
            block = slice(each * self.unknowns.index(name), each * (self.unknowns.index(name) + 1))
            row, column = np.zeros((2, self.size))
            row[block], column[block] = weights.ravel(), 1.0
            column[walls.walls] = 0.0
            self.rows.append(row)
            self.columns.append(column)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Residuals at `x`: unknowns, then a multiplier for each mean."""
        self.evaluations += 1
        u, multipliers = x[: self.size], x[self.size :]
        found = self.system(0.0, u).copy()
        found[self.walls.walls] = self.matrix @ u - self.right
        for column, value in zip(self.columns, multipliers, strict=True):
            found = found + value * column
        means = [r @ u - wanted for r, wanted in zip(self.rows, self.means.values(), strict=True)]
        return np.concatenate([found, means])

    def jacobian(self, x: np.ndarray) -> Any:
        from scipy import sparse

        full = self.system.jacobian(0.0, x[: self.size])
        rows: Any = sparse.vstack([full[self.walls.free], self.matrix], format="csr")
        order = np.argsort(np.concatenate([self.walls.free, self.walls.walls]))
        found = sparse.csr_array(rows[order])
        self._check_means(found)
        if not self.means:
            return found
        below = sparse.csr_array(np.stack(self.rows))
        beside = sparse.csr_array(np.stack(self.columns, axis=1))
        return sparse.csr_array(sparse.block_array([[found, beside], [below, None]]))

    def free(self, jacobian: Any) -> list[str]:
        """Unknowns to which any constant may be added."""
        jacobian = jacobian[: self.size, : self.size]
        each, found = self.size // self.shape[0], []
        size = np.abs(jacobian).sum(axis=1)
        for i, name in enumerate(self.unknowns):
            one = np.zeros(self.size)
            one[i * each : (i + 1) * each] = 1.0
            if np.all(np.abs(jacobian @ one) <= _FREE * size):
                found.append(name)
        return found

    def _check_means(self, jacobian: Any) -> None:
        fixed = [name for name in self.means if name not in self.free(jacobian)]
        if fixed:
            raise InputError(
                f"'{fixed[0]}' is fixed by the equation and its conditions",
                where=f"means.{fixed[0]}",
                fix="leave its mean out",
            )


def _newton(residual: _Residual, linear: Linear, is_linear: bool) -> SteadySolve:
    start = np.zeros(residual.size + len(residual.means))
    end = Newton(residual, residual.jacobian, linear, is_linear).solve(start)
    result = _told(residual, end) if end.refused else end.result
    imbalance = _imbalance(residual, end.x)
    if result.ok and imbalance > _INCOMPATIBLE:
        result = Result(
            ResultCode.not_converged,
            f"sources and conditions on the walls do not balance: {imbalance:.1e} is left",
            "data that balance, as a steady state needs them",
        )
    return SteadySolve(
        end.x[: residual.size].reshape(residual.shape),
        result,
        residual.evaluations,
        end.iterations,
        end.linear_iterations,
        end.residual,
        imbalance,
    )


def _told(residual: _Residual, end: NewtonEnd) -> Result:
    """A failure of a linear solve, with the constants that are free, if any."""
    free = [u for u in residual.free(residual.jacobian(end.x)) if u not in residual.means]
    if not free:
        return Result(end.result.code, end.result.message, f"{end.result.advice}, or PINN")
    return Result(
        ResultCode.not_converged,
        f"'{free[0]}' is free up to a constant: the linear system is singular",
        f"its mean, means={{'{free[0]}': 0.0}}, or a condition that fixes it",
    )


def _imbalance(residual: _Residual, x: np.ndarray) -> float:
    """The largest multiplier of a mean, over the size of the data."""
    multipliers = np.abs(x[residual.size :])
    with np.errstate(all="ignore"):
        source = np.abs(residual.system(0.0, np.zeros(residual.size)))
    scale = max(float(np.max(source)), float(np.max(np.abs(residual.right), initial=0.0)))
    return float(np.max(multipliers, initial=0.0)) / (scale if scale > 0 else 1.0)


def mean_weights(space: FiniteDifferenceSpace, axis: int) -> np.ndarray:
    r"""Weights of the nodes of an axis in a mean, of the order of the space.

    Between walls the trapezoidal rule with Gregory's corrections `delta_j` of the nodes next
    to a wall, `sum_j delta_j j^p = B_{p+1} / (p + 1)`.

    **Arguments:**

    - `space`, `axis`: which one.
    """
    from scipy.special import bernoulli

    size = space.shape[axis]
    weights = np.ones(size)
    if not space.periodic[axis]:
        count = min(space.order + 1, size)
        powers = np.arange(count)
        moments = np.array(bernoulli(count))[1:] / (powers + 1)
        shift = np.linalg.solve(np.arange(count)[None, :] ** powers[:, None] * 1.0, moments)
        weights[:count] += shift
        weights[::-1][:count] += shift
    return weights / weights.sum()
