r"""Steady equations between walls: Newton's method with sparse Jacobians.

    |R(u) + J(u) d| <= eta |R(u)|,   u <- u + s d,

`R` the equation at inner nodes and the conditions at wall nodes. With factors `eta` is 0,
with a Krylov method it follows how fast `R` falls (Eisenstat and Walker), and `s` is halved
until `R` falls. A linear equation is one solve of a sparse system. Where an unknown is free
up to a constant and its mean is given, the system gets a row for the mean and a column of
ones, whose multiplier tells by how much the data miss to be compatible.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from continua.core.errors import InputError
from continua.core.results import Result, ResultCode
from continua.methods.classical import setup
from continua.methods.classical.linear import Direct, Krylov, Linear, LinearSolution
from continua.methods.classical.sparse import SparseSystem, WallRows
from continua.problems import EquationProblem
from continua.spaces import FiniteDifferenceSpace

_MOST_ITERATIONS = 50
_SMALLEST_STEP = 1.0 / 256
_FREE = 1e-9  # size of J applied to a constant, over that of J, below which it is free
_INCOMPATIBLE = 1e-2  # multiplier, over the equation's size, above which data do not fit
_LOOSEST, _FIRST = 0.5, 0.1  # forcing terms
_WORN = 3  # times more iterations than when it was new wear a preconditioner out
_DECREASE = 1e-4


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
    return _Newton(residual, linear or Direct(), problem.equation.is_linear).solve()


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


class _Newton:
    """Newton's method, exact with factors and inexact with a Krylov method."""

    def __init__(self, residual: _Residual, linear: Linear, is_linear: bool):
        self.residual, self.linear, self.is_linear = residual, linear, is_linear
        self.count, self.fresh = 0, 0
        # Rows of the equation and of conditions differ by powers of the spacing.
        self.scale: np.ndarray | float = 1.0
        self.preconditioner: Any = None

    def solve(self) -> SteadySolve:
        x = np.zeros(self.residual.size + len(self.residual.means))
        r = self.residual(x)
        if isinstance(self.linear, Krylov):
            largest = np.abs(self.residual.jacobian(x)).max(axis=1).toarray().ravel()
            self.scale = 1.0 / np.where(largest > 0, largest, 1.0)
        begun, forcing, before = self._norm(r), _FIRST, math.inf
        failure = Result()
        for iteration in range(1, _MOST_ITERATIONS + 1):
            jacobian = self.residual.jacobian(x)
            forcing = self._forcing(forcing, self._norm(r), before)
            found = self._direction(jacobian, r, forcing)
            if not found.result.ok:
                failure = self._told(found.result, jacobian)
                break
            length, after = self._searched(x, r, found)
            if not np.all(np.isfinite(after)):
                failure = _failed(f"the residual is not finite in iteration {iteration}")
                break
            step, before = length * found.x, self._norm(r)
            x, r = x - step, after
            small = np.linalg.norm(step) <= 1e-10 * max(np.linalg.norm(x), 1e-300)
            # An inexact step can be small for its tolerance alone: the residual has to be too.
            low = isinstance(self.linear, Direct) or self._norm(r) <= self.linear.rtol * begun
            if (
                self.is_linear
                or (low and (small or isinstance(self.linear, Krylov)))
                and length == 1.0
            ):
                break
        else:
            failure = _failed(f"Newton's method had not converged after {iteration} iterations")
        return self._end(x, r, begun, failure, iteration)

    def _norm(self, r: np.ndarray) -> float:
        return float(np.linalg.norm(self.scale * r))

    def _forcing(self, last: float, now: float, before: float) -> float:
        """Choice 2 of Eisenstat and Walker with its safeguard."""
        if self.is_linear or isinstance(self.linear, Direct):
            return getattr(self.linear, "rtol", 0.0)
        if math.isinf(before):
            return _FIRST
        chosen = 0.9 * (now / before) ** 2
        chosen = max(chosen, 0.9 * last**2) if 0.9 * last**2 > 0.1 else chosen
        return min(max(chosen, self.linear.rtol), _LOOSEST)

    def _direction(self, jacobian: Any, r: np.ndarray, forcing: float) -> LinearSolution:
        if isinstance(self.linear, Direct):
            return self.linear.factorise(jacobian)(r)
        from scipy import sparse

        matrix, right = sparse.csr_array(sparse.diags_array(self.scale) @ jacobian), self.scale * r
        if self.preconditioner is not None:
            found = self.linear.reuse(matrix, self.preconditioner)(right, forcing)
            self.count += found.iterations
            if found.result.ok and found.iterations <= _WORN * max(self.fresh, 3):
                return found
        self.preconditioner = self.linear.precondition(matrix)
        found = self.linear.reuse(matrix, self.preconditioner)(right, forcing)
        self.count += found.iterations
        self.fresh = found.iterations
        return found

    def _searched(self, x, r, found: LinearSolution) -> tuple[float, np.ndarray]:
        """The first of the lengths 1, 1/2, ... with which the residual falls enough."""
        length, after = 1.0, self.residual(x - found.x)
        if self.is_linear:
            return length, after
        while (
            not self._norm(after) < (1 - _DECREASE * length) * self._norm(r)
            and length > _SMALLEST_STEP
        ):
            length /= 2
            after = self.residual(x - length * found.x)
        return length, after

    def _told(self, result: Result, jacobian: Any) -> Result:
        """A failure of a linear solve, with the constants that are free, if any."""
        free = [u for u in self.residual.free(jacobian) if u not in self.residual.means]
        if not free:
            return Result(result.code, result.message, f"{result.advice}, or PINN")
        return Result(
            ResultCode.not_converged,
            f"'{free[0]}' is free up to a constant: the linear system is singular",
            f"its mean, means={{'{free[0]}': 0.0}}, or a condition that fixes it",
        )

    def _end(self, x, r, begun: float, failure: Result, iteration: int) -> SteadySolve:
        residual = self.residual
        multipliers = np.abs(x[residual.size :])
        imbalance = float(np.max(multipliers, initial=0.0))
        with np.errstate(all="ignore"):
            source = np.abs(residual.system(0.0, np.zeros(residual.size)))
        scale = max(float(np.max(source)), float(np.max(np.abs(residual.right), initial=0.0)))
        imbalance /= scale if scale > 0 else 1.0
        if failure.ok and imbalance > _INCOMPATIBLE:
            failure = Result(
                ResultCode.not_converged,
                f"sources and conditions on the walls do not balance: {imbalance:.1e} is left",
                "data that balance, as a steady state needs them",
            )
        return SteadySolve(
            x[: residual.size].reshape(residual.shape),
            failure,
            residual.evaluations,
            iteration,
            self.count,
            self._norm(r) / (begun if begun > 0 else 1.0),
            imbalance,
        )


def _failed(message: str) -> Result:
    advice = "conditions that fix the solution, or PINN for another start"
    return Result(ResultCode.not_converged, message, advice)


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
