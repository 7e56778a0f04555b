r"""Sparse linear systems `A x = b`: factors, or Krylov methods with a preconditioner.

    min |b - A x| over x in span{r, M^-1 A r, ...},   M ~ A

A strategy is a value; `factorise(A)` does what depends on the matrix alone and returns a
function of right sides. Nothing here knows of grids.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.core.results import Result, ResultCode

_SINGULAR = 1e15  # condition number above which a solution says nothing
_RESTART = 60  # vectors that GMRES keeps
_FILL = 20.0  # entries of an incomplete factor over those of the matrix
_DROP = 1e-5  # relative size below which an entry of an incomplete factor is left out
SOLVERS = ("gmres", "cg", "bicgstab")
PRECONDITIONERS = ("multigrid", "ilu", "jacobi", None)


@dataclasses.dataclass(frozen=True)
class LinearSolution:
    """The end of one linear solve.

    **Arguments:**

    - `x`: the solution; where `result` is not a success, the best that was found.
    - `result`: how it ended.
    - `iterations`: applications of the matrix within the Krylov method, 0 for factors.
    - `residual`: `|b - A x|_2 / |b|_2`.
    """

    x: np.ndarray
    result: Result
    iterations: int
    residual: float


@dataclasses.dataclass(frozen=True, eq=False)
class Factors:
    """A matrix that was made ready for right sides.

    **Arguments:**

    - `matrix`: sparse, square.
    - `apply`: right side and relative tolerance to solution, failure and iterations.
    """

    matrix: Any
    apply: Callable[[np.ndarray, float | None], tuple[np.ndarray, Result, int]]

    def __call__(self, rhs: np.ndarray, rtol: float | None = None) -> LinearSolution:
        """Solve for one right side.

        **Arguments:**

        - `rhs`: `(n,)`.
        - `rtol`: of the residual, that of the strategy by default; factors ignore it.
        """
        rhs = np.asarray(rhs, float)
        x, result, iterations = self.apply(rhs, rtol)
        size = float(np.linalg.norm(rhs))
        left = float(np.linalg.norm(rhs - self.matrix @ x)) / (size if size > 0 else 1.0)
        return LinearSolution(x, result, iterations, left)


@dataclasses.dataclass(frozen=True)
class Direct:
    """Sparse LU factors (SuperLU): for one and two dimensions, and where all else fails.

    **Reference:** li2005superlu
    """

    def factorise(self, matrix: Any) -> Factors:
        """Factors of a matrix; one that is singular to working precision says so in the
        result of every solve.

        **Arguments:**

        - `matrix`: sparse, square.

        **Raises:** `InputError` for another shape.
        """
        from scipy.sparse.linalg import splu

        matrix = _checked(matrix).tocsc()
        try:
            factors = splu(matrix)
        except RuntimeError:
            return Factors(matrix, lambda rhs, rtol: (np.zeros_like(rhs), _singular(), 0))
        condition = _condition(matrix, factors)

        def apply(rhs, rtol):
            x = factors.solve(rhs)
            good = condition < _SINGULAR and np.all(np.isfinite(x))
            return x, Result() if good else _singular(condition), 0

        return Factors(matrix, apply)


@dataclasses.dataclass(frozen=True)
class Krylov:
    """A Krylov method with a preconditioner: for many unknowns, where factors fill up.

    **Arguments:**

    - `solver`: `"gmres"` for any matrix, `"cg"` for symmetric positive definite ones,
      `"bicgstab"` for any with little memory; `"gmres"`.
    - `preconditioner`: `"multigrid"` (smoothed aggregation, for diffusion), `"ilu"`
      (incomplete factors, for anything of moderate size), `"jacobi"` or `None`;
      `"multigrid"`.
    - `rtol`: of the residual, 1e-10.
    - `max_iterations`: 500.

    **Raises:** `InputError` for other names and numbers, and where a package is missing.

    **Reference:** saad1986gmres, vanek1996algebraic
    """

    solver: str = "gmres"
    preconditioner: str | None = "multigrid"
    rtol: float = 1e-10
    max_iterations: int = 500

    def __post_init__(self):
        for name, known in (("solver", SOLVERS), ("preconditioner", PRECONDITIONERS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"got {getattr(self, name)!r}, expected one of {', '.join(map(repr, known))}",
                    where=f"Krylov.{name}",
                )
        if not 0 < self.rtol < 1:
            raise InputError(f"{self.rtol!r} is not between 0 and 1", where="Krylov.rtol")
        if self.max_iterations < 1:
            raise InputError(
                f"got {self.max_iterations}, expected 1 or more", where="Krylov.max_iterations"
            )

    def factorise(self, matrix: Any) -> Factors:
        """The preconditioner of a matrix.

        **Arguments:**

        - `matrix`: sparse, square.

        **Raises:** `InputError` for another shape, and where pyamg is missing.
        """
        matrix = _checked(matrix).tocsr()
        return self.reuse(matrix, self.precondition(matrix))

    def precondition(self, matrix: Any) -> Any:
        """An approximate inverse as a `LinearOperator`, `None` for the identity.

        **Arguments:**

        - `matrix`: sparse, square.
        """
        if self.preconditioner == "multigrid":
            return _aggregated(matrix, "symmetric" if self.solver == "cg" else "nonsymmetric")
        if self.preconditioner == "ilu":
            return _incomplete(matrix)
        if self.preconditioner == "jacobi":
            diagonal = matrix.diagonal()
            return _operator(matrix, lambda r: r / np.where(diagonal == 0, 1.0, diagonal))
        return None

    def reuse(self, matrix: Any, preconditioner: Any) -> Factors:
        """A matrix with the preconditioner of another one that is near it.

        **Arguments:**

        - `matrix`: sparse, square.
        - `preconditioner`: from `precondition`.
        """
        matrix = _checked(matrix).tocsr()

        def apply(rhs, rtol):
            return self._iterate(matrix, preconditioner, rhs, self.rtol if rtol is None else rtol)

        return Factors(matrix, apply)

    def _iterate(self, matrix, preconditioner, rhs, rtol: float):
        from scipy.sparse import linalg

        size = np.linalg.norm(rhs)
        if not np.isfinite(size):
            return rhs, Result(ResultCode.not_converged, "the right side is not finite"), 0
        x, count = np.zeros_like(rhs), 0
        # The residual that a recurrence tells drifts from the true one: start again from x.
        while (left := np.linalg.norm(rhs - matrix @ x)) > rtol * size:
            room = self.max_iterations - count
            if room <= 0:
                break
            turns: list[Any] = []
            options: Any = {"rtol": 0.0, "atol": 0.5 * rtol * size, "M": preconditioner}
            options |= {"callback": turns.append, "x0": x}
            if self.solver == "gmres":
                kept = min(_RESTART, room, len(rhs))
                options |= {"restart": kept, "maxiter": 1, "callback_type": "pr_norm"}
            else:
                options["maxiter"] = room
            after, _ = getattr(linalg, self.solver)(matrix, rhs, **options)
            count += max(1, len(turns))
            if not np.all(np.isfinite(after)):
                break
            x = after
            if not np.linalg.norm(rhs - matrix @ x) < 0.999 * left:
                break
        if left <= rtol * size:
            return x, Result(), count
        message = f"{self.solver} left a residual of {left / size:.1e} after {count} iterations"
        advice = "another preconditioner such as 'ilu', more max_iterations, or Direct()"
        return x, Result(ResultCode.not_converged, message, advice), count


Linear = Direct | Krylov


def _checked(matrix: Any) -> Any:
    from scipy import sparse

    matrix = sparse.csr_array(matrix)
    if matrix.shape[0] != matrix.shape[1]:
        rows, columns = matrix.shape
        raise InputError(f"the matrix has {rows} rows and {columns} columns", where="factorise")
    if not np.all(np.isfinite(matrix.data)):
        raise InputError("the matrix has entries that are not finite", where="factorise")
    return matrix


def _singular(condition: float = np.inf) -> Result:
    return Result(
        ResultCode.not_converged,
        f"the linear system is singular (condition number {condition:.0e})",
        "conditions that fix the solution",
    )


def _condition(matrix: Any, factors: Any) -> float:
    """About the condition number in the 1-norm."""
    from scipy.sparse.linalg import LinearOperator, norm, onenormest

    operator: Any = LinearOperator
    inverse = operator(
        matrix.shape,
        dtype=float,
        matvec=factors.solve,
        rmatvec=lambda x: factors.solve(x, trans="T"),
    )
    with np.errstate(all="ignore"):
        estimate: Any = onenormest(inverse, t=1)
        found = float(norm(matrix, 1) * estimate)
    return found if np.isfinite(found) else np.inf


def _operator(matrix: Any, apply: Callable[[np.ndarray], np.ndarray]) -> Any:
    from scipy.sparse.linalg import LinearOperator

    operator: Any = LinearOperator
    return operator(matrix.shape, dtype=float, matvec=apply)


def _incomplete(matrix: Any) -> Any:
    from scipy.sparse.linalg import spilu

    try:
        factors = spilu(matrix.tocsc(), drop_tol=_DROP, fill_factor=_FILL)
    except RuntimeError:
        return None
    return _operator(matrix, factors.solve)


def _aggregated(matrix: Any, symmetry: str) -> Any:
    try:
        import pyamg
    except ImportError as error:
        raise InputError(
            "the multigrid preconditioner needs pyamg",
            where="Krylov.preconditioner",
            fix="run: pip install 'continua[fem]', or take preconditioner='ilu'",
        ) from error
    from scipy import sparse

    # pyamg reads the indices of 32 bits of the older class of matrices.
    plain: Any = sparse.csr_matrix(matrix)
    hierarchy: Any = pyamg.smoothed_aggregation_solver(plain, symmetry=symmetry)
    return hierarchy.aspreconditioner()
