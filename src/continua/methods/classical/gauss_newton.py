r"""Nonlinear inverse problems by Gauss-Newton steps, derivatives by adjoints.

    min_u Phi(u) = |F(u) - y|^2 / s^2 + lambda |L (u - m)|^2,
    d = argmin_d |F(u) + J d - y|^2 / s^2 + lambda |L (u + d - m)|^2,   u <- u + t d,

`J v` by forward and `J' w` by reverse differentiation of the forward operator, `t` by
halving until `Phi` falls enough. Where `lambda` is not given it falls geometrically from
step to step until the residual is as large as the noise, `|F(u) - y|^2 <= M s^2` (the
iteratively regularised Gauss-Newton method), and stays there. The posterior is that of
the last linearisation: `(J'J / s^2 + lambda L'L)^-1`.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from continua.core.errors import InputError
from continua.core.results import Result, ResultCode
from continua.core.solution import Solution
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical.iterated import Iterated
from continua.methods.classical.linear_inverse import (
    Linearised,
    Products,
    check_penalty,
    inverse_solution,
    too_few_nodes,
)
from continua.methods.classical.tikhonov import by_cross_validation
from continua.problems.inverse import InverseProblem

_ARMIJO = 1e-4  # of the fall that the slope promises
_HALVINGS = 30
_SETTLED = 10  # steps after which a weight by cross-validation stays


@dataclasses.dataclass(frozen=True)
class GaussNewton(AbstractDirectMethod):
    """Damped Gauss-Newton steps with a penalty, its weight by the discrepancy principle
    where the noise is known, else by cross-validation; with posterior deviations.

    Steps solve dense least squares up to `dense` unknowns, beyond them by LSQR, which is
    conjugate gradients in a stable form; deviations are given for dense ones.

    **Arguments:**

    - `order`: of the differences that are penalised: 0, 1 (default) or 2.
    - `parameter`: `lambda`; `None` chooses it. With 0 nothing is penalised.
    - `decrease`: factor of `lambda` from step to step where it is chosen, 0.5.
    - `tolerance`: of the last step relative to the field, 1e-9.
    - `iterations`: most steps, 100.
    - `dense`: most unknowns for which matrices are decomposed, 2000.
    - `inner`: most iterations of LSQR a step, 1000.

    **Raises:** `InputError` for another order, and numbers out of their range.

    **Reference:** bakushinskii1992problem
    """

    order: int = 1
    parameter: float | None = None
    decrease: float = 0.5
    tolerance: float = 1e-9
    iterations: int = 100
    dense: int = 2000
    inner: int = 1000

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "bakushinskii1992problem"

    def __post_init__(self):
        check_penalty(self.name, self.order, self.parameter)
        if not 0 < self.decrease < 1:
            raise InputError(
                f"got {self.decrease!r}",
                where="GaussNewton.decrease",
                fix="give a number between 0 and 1",
            )
        if self.iterations < 1:
            raise InputError(
                f"got {self.iterations}", where="GaussNewton.iterations", fix="give 1 or more"
            )

    def supports(self, problem) -> Support:
        if not isinstance(problem, InverseProblem):
            return Support(False, "GaussNewton needs an inverse problem")
        reason = too_few_nodes(self.name, problem, self.order)
        if reason:
            return Support(False, reason)
        if self.parameter is None and problem.noise is None and self._large(problem):
            return Support(False, "GaussNewton needs the noise, or a parameter, for so many nodes")
        return YES

    def ladder(self, problem) -> tuple["GaussNewton", ...]:
        """From loose to tight tolerances."""
        return tuple(dataclasses.replace(self, tolerance=t) for t in (1e-2, 1e-4, 1e-9))

    def prepare(self, problem, *, key) -> Prepared:
        del key
        products = Products(problem, self.order)

        def program(start: np.ndarray) -> _State:
            return _search(self, products, start)

        def finish(found: _State) -> Solution:
            deviation, effective = self._posterior(found)
            stats = {
                "evaluations": float(found.evaluations),
                "steps": float(found.steps),
                "parameter": found.weight,
                "misfit": found.misfit / problem.measurements.size,
                "effective": effective,
            }
            return inverse_solution(self.name, problem, found.field, deviation, found.result, stats)

        return Prepared(program, problem.prior_mean.reshape(-1), finish, traced=False)

    def _large(self, problem: InverseProblem) -> bool:
        return int(np.prod(problem.shape)) > self.dense

    def _posterior(self, state: "_State") -> tuple[np.ndarray | None, float]:
        """Deviations and the number of parameters that data determine, where matrices are
        small."""
        model = state.model
        if self._large(model.products.problem):
            return None, np.nan
        found = model.spectrum(model.data)
        if found is None:
            return None, np.nan
        effective = float(found.effective(state.weight))
        noise = 1.0 if model.known else state.misfit / max(found.count - effective, 1e-12)
        return np.sqrt(found.variance(state.weight) * noise), effective


@dataclasses.dataclass
class _State:
    """Where a search stands.

    **Arguments:**

    - `field`: flat; `model`: its linearisation there.
    - `weight`: `lambda`.
    - `steps`, `evaluations`: so far.
    - `change`: of the last step, relative.
    """

    field: np.ndarray
    model: Linearised
    weight: float
    steps: int = 0
    evaluations: int = 0
    change: float = np.inf
    result: Result = Result()

    @property
    def misfit(self) -> float:
        """`|F(u) - y|^2 / s^2`."""
        return float(self.model.data @ self.model.data)


def functional(products: Products, field: np.ndarray, weight: float) -> tuple[float, np.ndarray]:
    """`Phi` and its gradient, `2 J'(F - y) / s^2 + 2 lambda L'L (u - m)`, by one adjoint.

    **Arguments:**

    - `products`: of the problem.
    - `field`: flat.
    - `weight`: `lambda`.
    """
    model = Linearised(products, field)
    value, rough = _value(model, field, weight)
    return value, _gradient(model, rough, weight)


def _value(model: Linearised, field: np.ndarray, weight: float) -> tuple[float, np.ndarray]:
    """`Phi`, infinite where it is not finite, and `L (u - m)`."""
    rough = model.rough(field - model.mean)
    value = float(model.data @ model.data + weight * (rough @ rough))
    return (value if np.isfinite(value) else np.inf), rough


def _gradient(model: Linearised, rough: np.ndarray, weight: float) -> np.ndarray:
    return 2 * (weight * model.rough_adjoint(rough) - model.adjoint(model.data))


def _search(method: GaussNewton, products: Products, start: np.ndarray) -> _State:
    """Steps until they are small, the weight falling until the residual is the noise."""
    model = Linearised(products, start)
    chosen, known = method.parameter is None, products.problem.noise is not None
    weight = _first_weight(model) if method.parameter is None else float(method.parameter)
    state, least = _State(start, model, weight), 1e-20 * weight
    falling = chosen and known
    for step in range(method.iterations):
        state.steps = step + 1
        if chosen and not known and step < _SETTLED:
            state.weight = _cross_validated(state)
        if not np.isfinite(state.misfit):
            state.result = _diverged(state)
            break
        moved = _step(method, state)
        if falling and state.misfit <= state.model.data.size:
            falling = False
        if falling:
            state.weight *= method.decrease
            if state.weight < least:
                state.result = Result(
                    ResultCode.not_converged,
                    "no field was found that explains the measurements to within the noise",
                    "a larger noise, another forward operator or prior mean, or parameter=1",
                )
                break
            continue
        settled = step + 1 >= _SETTLED or not chosen or known
        if settled and (not moved or state.change <= method.tolerance):
            break
    else:
        state.result = Result(
            ResultCode.not_converged,
            f"the last of {method.iterations} steps still changed the field by {state.change:.1e}",
            "more iterations, a larger parameter, or a prior mean nearer to the field",
        )
    state.evaluations += state.model.calls
    return state


def _diverged(state: _State) -> Result:
    return Result(
        ResultCode.diverged,
        f"the forward operator is not finite at step {state.steps}",
        "a prior mean at which it is, or another unknown, such as its logarithm",
    )


def _step(method: GaussNewton, state: _State) -> bool:
    """One step with its line search; whether the functional fell."""
    value, rough = _value(state.model, state.field, state.weight)
    direction = _direction(method, state)
    fall = float(_gradient(state.model, rough, state.weight) @ direction)
    size = max(float(np.linalg.norm(state.field)), 1e-300)
    state.change = float(np.linalg.norm(direction)) / size
    length = 1.0
    for _ in range(_HALVINGS):
        field = state.field + length * direction
        model = Linearised(state.model.products, field)
        reached, _ = _value(model, field, state.weight)
        # Near the minimum the fall drowns in rounding: such a step is taken as it is.
        rounding = 1e-13 * max(value, 1e-300)
        if reached <= value + _ARMIJO * length * fall + rounding:
            state.evaluations += state.model.calls
            state.field, state.model = field, model
            return True
        state.evaluations += model.calls
        length /= 2
    if state.change > 1e3 * method.tolerance and -fall > 1e-9 * value:
        state.result = Result(
            ResultCode.not_converged,
            f"no length of step {state.steps} made the functional fall",
            "a larger parameter, or a prior mean nearer to the field",
        )
    return False


def _direction(method: GaussNewton, state: _State) -> np.ndarray:
    """The minimum of the linearised functional, as a change of the field."""
    from scipy import linalg

    model, products = state.model, state.model.products
    away = state.field - model.mean
    if method._large(products.problem):
        return Iterated(model, method.inner, away).solve(state.weight)
    root = np.sqrt(state.weight)
    matrix = np.concatenate([model.matrix(), root * products.rough_matrix])
    target = np.concatenate([model.data, -root * model.rough(away)])
    found: Any = linalg.lstsq(matrix, target, check_finite=False, lapack_driver="gelsy")
    return found[0]


def _cross_validated(state: _State) -> float:
    """The weight by cross-validation of the linearised problem, from the prior mean."""
    model = state.model
    data = model.data + model.forward(state.field - model.mean)
    found = model.spectrum(data)
    return state.weight if found is None else by_cross_validation(found)


def _first_weight(model: Linearised) -> float:
    """A weight at which the data hardly count: from what the operator sees most."""
    v = np.random.default_rng(0).standard_normal(model.products.unknowns)
    for _ in range(10):
        v = model.adjoint(model.forward(v / np.linalg.norm(v)))
    v = v / max(np.linalg.norm(v), 1e-300)
    seen = float(np.sum(model.forward(v) ** 2))
    return 10 * seen / max(float(np.sum(model.rough(v) ** 2)), model.products.least**2)
