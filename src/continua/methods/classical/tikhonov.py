r"""Linear inverse problems with a penalty on size or roughness, and how much of it.

    min_u |A u - y|^2 / s^2 + lambda |L (u - m)|^2,

`L` the identity, first or second divided differences, `m` the prior mean. Read after
Bayes, `u` has the prior precision `lambda L'L` and the posterior covariance
`(A'A / s^2 + lambda L'L)^-1`; where the noise is not known, `s^2` is what the residual
says, `|A u - y|^2 / (M - tr H)`, `H` the matrix that takes data to fitted data.

Small problems go through the generalised singular value decomposition
`A X = U C`, `L X = W S`, `C^2 + S^2 = 1`, in which every `lambda` costs no more than a sum;
large ones through LSQR with `A` and its transpose as functions.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from continua.core.errors import InputError, suggest
from continua.core.results import Result, ResultCode
from continua.core.solution import Solution
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical.iterated import Iterated
from continua.methods.classical.linear_inverse import (
    Linearised,
    Products,
    Spectrum,
    check_penalty,
    inverse_solution,
    too_few_nodes,
)
from continua.problems.inverse import InverseProblem

CHOICES = ("discrepancy", "gcv", "l_curve")


@dataclasses.dataclass(frozen=True)
class Tikhonov(AbstractDirectMethod):
    """Least squares with a penalty, its weight chosen by the data, with posterior deviations.

    Forward operators are linear, or linear plus a constant. Deviations are given up to
    `dense` unknowns.

    **Arguments:**

    - `order`: of the differences that are penalised: 0 for the field itself, 1 (default)
      or 2.
    - `parameter`: `lambda`; `None` chooses it.
    - `choice`: `"discrepancy"` (`|A u - y|^2 = M s^2`), `"gcv"` (generalised
      cross-validation), or `"l_curve"` (the corner); `None` takes the first where the
      noise is known, else cross-validation, or the corner where the problem is large.
    - `dense`: most unknowns for which matrices are decomposed, 2000.
    - `iterations`: most of LSQR for each `lambda`, 1000.

    **Raises:** `InputError` for another order or choice, and a negative parameter.

    **Reference:** tikhonov1977solutions
    """

    order: int = 1
    parameter: float | None = None
    choice: str | None = None
    dense: int = 2000
    iterations: int = 1000

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "tikhonov1977solutions"

    def __post_init__(self):
        check_penalty(self.name, self.order, self.parameter)
        if self.choice is not None and self.choice not in CHOICES:
            raise InputError(
                f"got {self.choice!r}",
                where="Tikhonov.choice",
                fix=suggest(str(self.choice), CHOICES),
            )

    def supports(self, problem) -> Support:
        if not isinstance(problem, InverseProblem):
            return Support(False, "Tikhonov needs an inverse problem")
        if not problem.linear:
            return Support(False, "Tikhonov needs a linear forward operator")
        reason = too_few_nodes(self.name, problem, self.order)
        if reason:
            return Support(False, reason)
        if self.parameter is not None:
            return YES
        choice = self._choice(problem)
        if choice == "discrepancy" and problem.noise is None:
            return Support(False, "the discrepancy principle needs the noise")
        if choice == "gcv" and self._large(problem):
            reason = f"cross-validation takes at most {self.dense} unknowns (`dense`)"
            return Support(False, reason)
        return YES

    def ladder(self, problem) -> tuple["Tikhonov", ...]:
        """Itself: there is nothing to refine."""
        return (self,)

    def prepare(self, problem, *, key) -> Prepared:
        del key
        products = Products(problem, self.order)
        choose = functools.partial(_chosen, self.parameter, self._choice(problem))

        def program(mean: np.ndarray) -> _Found:
            model = Linearised(products, mean)
            if self._large(problem):
                return _iterated(model, choose, self.iterations)
            return _decomposed(model, choose)

        def finish(found: _Found) -> Solution:
            return inverse_solution(
                self.name,
                problem,
                problem.prior_mean.reshape(-1) + found.step,
                found.deviation,
                found.result,
                {
                    "evaluations": float(found.evaluations),
                    "parameter": found.parameter,
                    "misfit": found.residual / problem.measurements.size,
                    "effective": found.effective,
                },
            )

        return Prepared(program, problem.prior_mean.reshape(-1), finish, traced=False)

    def _large(self, problem: InverseProblem) -> bool:
        return int(np.prod(problem.shape)) > self.dense

    def _choice(self, problem: InverseProblem) -> str:
        if self.choice is not None:
            return self.choice
        if problem.noise is not None:
            return "discrepancy"
        return "l_curve" if self._large(problem) else "gcv"


@dataclasses.dataclass(frozen=True)
class _Found:
    """What a solve leaves: the step from the prior mean, its deviations, and numbers."""

    step: np.ndarray
    deviation: np.ndarray | None
    parameter: float
    residual: float
    effective: float
    evaluations: int
    result: Result


def _decomposed(model: Linearised, choose: Callable) -> _Found:
    found = model.spectrum(model.data)
    if found is None:
        result = Result(
            ResultCode.not_converged,
            "a change of the field is neither measured nor penalised",
            "order=0, or a smaller order of the penalty",
        )
        nothing = np.zeros(model.products.unknowns)
        return _Found(nothing, None, np.nan, np.nan, np.nan, model.calls, result)
    parameter, result = choose(found, model.known)
    residual = float(found.residual(parameter))
    effective = float(found.effective(parameter))
    left = max(found.count - effective, 1e-12)
    variance = found.variance(parameter) * (1.0 if model.known else residual / left)
    step = found.directions @ found.coordinates(parameter)
    return _Found(step, np.sqrt(variance), parameter, residual, effective, model.calls, result)


def _chosen(
    parameter: float | None, choice: str, found: Spectrum | Iterated, known: bool
) -> tuple[float, Result]:
    """The weight by a rule, and whether the rule could be kept."""
    if parameter is not None:
        return float(parameter), Result()
    if choice == "gcv":
        return by_cross_validation(found), Result()  # pyright: ignore[reportArgumentType]
    if choice == "l_curve":
        return by_corner(found), Result()
    weight = by_discrepancy(found)
    if found.residual(weight) <= found.count * (1 + 10 * found.resolution):
        return weight, Result()
    result = Result(
        ResultCode.not_converged,
        "no field explains the measurements to within the noise",
        "a larger noise, another forward operator, or noise=None",
    )
    return weight, result


def by_discrepancy(found: Spectrum | Iterated) -> float:
    """The weight at which `|A u - y|^2 / s^2 = M`; the nearest where there is none.

    **Arguments:**

    - `found`: a decomposed problem, data over the noise.
    """
    from scipy import optimize

    def gap(log: float) -> float:
        return float(found.residual(np.exp(log))) / found.count - 1

    grid = np.log(found.parameters())[::-1]
    values = []
    for log in grid:  # from smooth to rough: the first weights are the cheap ones
        values.append(gap(log))
        if values[-1] <= 0:
            break
    else:
        return float(np.exp(grid[-1]))
    if len(values) == 1:
        return float(np.exp(grid[0]))
    ends = grid[len(values) - 2], grid[len(values) - 1]
    root: Any = optimize.brentq(gap, *ends, xtol=found.resolution)
    return float(np.exp(root))


def by_cross_validation(found: Spectrum) -> float:
    """The weight that minimises generalised cross-validation.

    **Arguments:**

    - `found`: a decomposed problem.
    """
    from scipy import optimize

    grid = np.log(found.parameters())
    best = int(np.argmin(found.gcv(np.exp(grid))))
    if best in (0, len(grid) - 1):
        return float(np.exp(grid[best]))
    refined = optimize.minimize_scalar(
        lambda log: float(np.log(found.gcv(np.exp(log)))),
        bounds=(grid[best - 1], grid[best + 1]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(np.exp(refined.x))  # pyright: ignore[reportAttributeAccessIssue]


def by_corner(found: Spectrum | Iterated) -> float:
    """The weight where `(log |A u - y|^2, log |L u|^2)` bends most.

    **Arguments:**

    - `found`: a decomposed problem.
    """
    grid = np.log(found.parameters())
    floor = np.finfo(float).tiny
    x = np.log(np.maximum(found.residual(np.exp(grid)), floor))
    y = np.log(np.maximum(found.roughness(np.exp(grid)), floor))
    dx, dy = np.gradient(x, grid), np.gradient(y, grid)
    speed = np.maximum(dx**2 + dy**2, floor)
    bend = (dx * np.gradient(dy, grid) - dy * np.gradient(dx, grid)) / speed**1.5
    # Ends, and weights that change nothing, are no corners.
    bend[(speed < 1e-4 * speed.max()) | (grid <= grid[2]) | (grid >= grid[-3])] = -np.inf
    return float(np.exp(grid[int(np.argmax(bend))]))


def _iterated(model: Linearised, choose: Callable, iterations: int) -> _Found:
    found = Iterated(model, iterations)
    parameter, result = choose(found, model.known)
    step = found.solve(parameter)
    if not found.finished and result.ok:
        result = Result(
            ResultCode.not_converged,
            f"LSQR had not ended after {iterations} iterations",
            "more iterations, or a larger parameter",
        )
    residual = float(np.sum((model.data - model.forward(step)) ** 2))
    return _Found(step, None, parameter, residual, np.nan, model.calls, result)
