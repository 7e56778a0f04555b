r"""Steady equations between walls: Newton's method with sparse Jacobians.

    J(u) d = -R(u),  u <- u + d,

`R` the equation at inner nodes and the conditions at wall nodes. A linear equation is
one solve of a sparse system.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from continua.core.results import Result, ResultCode
from continua.methods.classical import setup
from continua.methods.classical.sparse import SparseSystem, WallRows
from continua.problems import EquationProblem
from continua.spaces import FiniteDifferenceSpace

_MOST_ITERATIONS = 50
_SMALLEST_STEP = 1.0 / 256
_SINGULAR = 1e15  # condition number above which a solution says nothing


@dataclasses.dataclass(frozen=True)
class SteadySolve:
    """The end of a steady solve.

    **Arguments:**

    - `field`: unknowns `(c, *N)`.
    - `result`: how it ended.
    - `evaluations`: of the residual.
    - `iterations`: linear solves.
    """

    field: np.ndarray
    result: Result
    evaluations: int
    iterations: int


def solve_steady(problem: EquationProblem, space: FiniteDifferenceSpace) -> SteadySolve:
    """Newton's method from the mean of the wall values, steps halved while they help not.

    **Arguments:**

    - `problem`: steady.
    - `space`: where it is solved.
    """
    with jax.enable_x64(True):
        unknowns = tuple(problem.equation.unknowns)
        system = SparseSystem(problem, problem.equation.expanded, unknowns, space)
        boundary = setup.boundary_of(problem, space)
        walls = WallRows(boundary, len(unknowns), setup.parameters_of(problem))
        matrix, right = walls.matrix(0.0), walls.right(0.0)
    shape = (len(unknowns), *space.shape)
    return _newton(_Residual(system, walls, matrix, right), shape, problem.equation.is_linear)


@dataclasses.dataclass
class _Residual:
    """The equation at free nodes, the conditions at the others."""

    system: SparseSystem
    walls: WallRows
    matrix: Any
    right: np.ndarray
    evaluations: int = 0

    def __call__(self, u: np.ndarray) -> np.ndarray:
        self.evaluations += 1
        found = self.system(0.0, u).copy()
        found[self.walls.walls] = self.matrix @ u - self.right
        return found

    def jacobian(self, u: np.ndarray) -> Any:
        from scipy import sparse

        full = self.system.jacobian(0.0, u)
        rows: Any = sparse.vstack([full[self.walls.free], self.matrix], format="csr")
        order = np.argsort(np.concatenate([self.walls.free, self.walls.walls]))
        return sparse.csc_array(rows[order])


def _newton(residual: _Residual, shape: tuple[int, ...], linear: bool) -> SteadySolve:
    u = np.zeros(int(np.prod(shape)))
    r = residual(u)
    message = ""
    for iteration in range(1, _MOST_ITERATIONS + 1):
        step = _direction(residual.jacobian(u), r)
        if step is None:
            message = "the linear system is singular"
            break
        length, new = 1.0, u - step
        after = residual(new)
        while not linear and not _norm(after) < _norm(r) and length > _SMALLEST_STEP:
            length /= 2
            new = u - length * step
            after = residual(new)
        if not np.all(np.isfinite(after)):
            message = f"the residual is not finite in iteration {iteration}"
            break
        u, r = new, after
        small = np.linalg.norm(step) <= 1e-10 * max(np.linalg.norm(u), 1e-300)
        if linear or (small and length == 1.0):
            return SteadySolve(u.reshape(shape), Result(), residual.evaluations, iteration)
    else:
        message = f"Newton's method had not converged after {iteration} iterations"
    advice = "conditions that fix the solution, or PINN for another start"
    result = Result(ResultCode.not_converged, message, advice)
    return SteadySolve(u.reshape(shape), result, residual.evaluations, iteration)


def _norm(r: np.ndarray) -> float:
    return float(np.linalg.norm(r))


def _direction(jacobian: Any, r: np.ndarray) -> np.ndarray | None:
    """The Newton direction, `None` where the matrix is singular to working precision."""
    from scipy.sparse.linalg import LinearOperator, norm, onenormest, splu

    try:
        factors = splu(jacobian)
        step = factors.solve(r)
    except RuntimeError:
        return None
    if not np.all(np.isfinite(step)):
        return None
    operator: Any = LinearOperator
    inverse = operator(
        jacobian.shape,
        dtype=float,
        matvec=factors.solve,
        rmatvec=lambda x: factors.solve(x, trans="T"),
    )
    estimate: Any = onenormest(inverse, t=1)
    condition = norm(jacobian, 1) * estimate
    return step if condition < _SINGULAR else None
