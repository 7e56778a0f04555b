r"""Newton's method with factors, or inexactly with a Krylov method.

    |R(x) + J(x) d| <= eta |R(x)|,   x <- x + s d.

With factors `eta` is 0, with a Krylov method it follows how fast `R` falls (Eisenstat and
Walker), and `s` is halved until `R` falls. A linear equation is one solve.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from continua.core.results import Result, ResultCode
from continua.methods.classical.linear import Direct, Krylov, Linear, LinearSolution

_MOST_ITERATIONS = 50
_SMALLEST_STEP = 1.0 / 256
_LOOSEST, _FIRST = 0.5, 0.1  # forcing terms
_WORN = 3  # times more iterations than when it was new wear a preconditioner out
_DECREASE = 1e-4


@dataclasses.dataclass(frozen=True)
class NewtonEnd:
    """The end of Newton's method.

    **Arguments:**

    - `x`: where it ended.
    - `result`: how.
    - `iterations`: of Newton's method.
    - `linear_iterations`: of Krylov methods, in all of them.
    - `residual`: at the end, over that of the start.
    - `refused`: whether a linear solve failed, not the iteration.
    """

    x: np.ndarray
    result: Result
    iterations: int
    linear_iterations: int
    residual: float
    refused: bool = False


@dataclasses.dataclass
class Newton:
    """Newton's method for `R(x) = 0`.

    **Arguments:**

    - `residual`: `R(x)`.
    - `jacobian`: `dR/dx`, sparse.
    - `linear`: how linear systems are solved.
    - `is_linear`: whether `R` is (or affine).

    **Reference:** eisenstat1996choosing
    """

    residual: Callable[[np.ndarray], np.ndarray]
    jacobian: Callable[[np.ndarray], Any]
    linear: Linear
    is_linear: bool = False

    def __post_init__(self):
        self._count, self._fresh = 0, 0
        self._preconditioner: Any = None

    def solve(self, x: np.ndarray) -> NewtonEnd:
        """Iterate from a start.

        **Arguments:**

        - `x`: the start.
        """
        r = self.residual(x)
        begun, forcing, before = _norm(r), _FIRST, math.inf
        failure, refused = Result(), False
        for iteration in range(1, _MOST_ITERATIONS + 1):
            forcing = self._forcing(forcing, _norm(r), before)
            found = self._direction(self.jacobian(x), r, forcing)
            if not found.result.ok:
                failure, refused = found.result, True
                break
            length, after = self._searched(x, r, found)
            if not np.all(np.isfinite(after)):
                failure = _failed(f"the residual is not finite in iteration {iteration}")
                break
            step, before = length * found.x, _norm(r)
            x, r = x - step, after
            if self.is_linear or self._arrived(length, step, x, r, begun):
                break
        else:
            failure = _failed(f"Newton's method had not converged after {iteration} iterations")
        ratio = _norm(r) / (begun if begun > 0 else 1.0)
        return NewtonEnd(x, failure, iteration, self._count, ratio, refused)

    def _arrived(self, length: float, step, x, r, begun: float) -> bool:
        if isinstance(self.linear, Krylov):
            # An inexact step can be small for its tolerance alone: the residual tells.
            return length == 1.0 and _norm(r) <= self.linear.rtol * begun
        # Rounding alone can shorten a step that is as small as that before it is.
        return bool(np.linalg.norm(step) / length <= 1e-10 * max(np.linalg.norm(x), 1e-300))

    def _forcing(self, last: float, now: float, before: float) -> float:
        """Choice 2 of Eisenstat and Walker with its safeguard."""
        if isinstance(self.linear, Direct):
            return 0.0
        if self.is_linear:
            return self.linear.rtol
        if math.isinf(before):
            return _FIRST
        chosen = 0.9 * (now / before) ** 2
        chosen = max(chosen, 0.9 * last**2) if 0.9 * last**2 > 0.1 else chosen
        return min(max(chosen, self.linear.rtol), _LOOSEST)

    def _direction(self, jacobian: Any, r: np.ndarray, forcing: float) -> LinearSolution:
        if isinstance(self.linear, Direct):
            return self.linear.factorise(jacobian)(r)
        from scipy import sparse

        # Rows of the equation and of conditions differ by powers of the spacing.
        scale = 1.0 / np.maximum(np.abs(jacobian).max(axis=1).toarray().ravel(), 1e-300)
        matrix = sparse.csr_array(sparse.diags_array(scale) @ jacobian)
        if self._preconditioner is not None:
            found = self.linear.reuse(matrix, self._preconditioner)(scale * r, forcing)
            self._count += found.iterations
            if found.result.ok and found.iterations <= _WORN * max(self._fresh, 3):
                return found
        self._preconditioner = self.linear.precondition(matrix)
        found = self.linear.reuse(matrix, self._preconditioner)(scale * r, forcing)
        self._count += found.iterations
        self._fresh = found.iterations
        return found

    def _searched(self, x, r, found: LinearSolution) -> tuple[float, np.ndarray]:
        """The first of the lengths 1, 1/2, ... with which the residual falls enough."""
        length, after = 1.0, self.residual(x - found.x)
        if self.is_linear:
            return length, after
        while not _norm(after) < (1 - _DECREASE * length) * _norm(r) and length > _SMALLEST_STEP:
            length /= 2
            after = self.residual(x - length * found.x)
        return length, after


def _failed(message: str) -> Result:
    advice = "a finer grid, conditions that fix the solution, or PINN for another start"
    return Result(ResultCode.not_converged, message, advice)


def _norm(r: np.ndarray) -> float:
    return float(np.linalg.norm(r))
