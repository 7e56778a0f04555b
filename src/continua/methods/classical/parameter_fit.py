r"""Unknown parameters of a declared equation by nonlinear least squares.

    min_{p, y_0} sum_i |y(t_i; p, y_0) - y_i|^2 / s^2,

the trajectories by a classical solver, the Jacobian by automatic differentiation,
the minimum by a trust-region method. Standard deviations come from the Jacobian there:
`C = s^2 (J' J)^-1`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.core.results import Result, ResultCode
from continua.core.solution import Estimate, Solution
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support, asked, beyond
from continua.methods.dynamics.forecast import forecast_of
from continua.methods.dynamics.model import Dynamics, known_part, states_of
from continua.methods.dynamics.observations import scaling_of, segments_of
from continua.methods.dynamics.rollout import rollout, substeps_for
from continua.methods.fields.field import Parameter
from continua.methods.fields.forms import (
    expression,
    measured_values,
    parameter_values,
)
from continua.problems import EquationProblem, Series, SeriesProblem


@dataclasses.dataclass(frozen=True)
class ParameterFit(AbstractDirectMethod):
    """Nonlinear least squares through a classical solver.

    **Arguments:**

    - `tolerance`: relative change of sum and parameters at which the search ends, 1e-8.
    - `evaluations`: most solves with Jacobian, 200.
    - `positive`: compare logarithms; `None` decides by the data.
    - `members`: parameter draws for the spread, 20.

    **Reference:** more1978levenberg
    """

    tolerance: float = 1e-8
    evaluations: int = 200
    positive: bool | None = None
    members: int = 20

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "more1978levenberg"

    def supports(self, problem) -> Support:
        if isinstance(problem, EquationProblem):
            if problem.data is None or not problem.unknown_parameters:
                reason = "ParameterFit needs measurements and unknown parameters"
                return Support(False, reason)
        elif not (known := asked(problem, self.name)).ok:
            return known
        if problem.equation is None or problem.equation.space:
            return Support(False, "ParameterFit needs an ordinary differential equation")
        if problem.equation.fields:
            return Support(False, "ParameterFit needs known fields as formulas")
        known = beyond(problem, self.name)
        if not known.ok or isinstance(problem, EquationProblem):
            return known
        if not set(problem.variables) <= set(states_of(problem)):
            return Support(False, "every measured variable must be a state of the equation")
        return YES

    def ladder(self, problem) -> tuple["ParameterFit", ...]:
        return tuple(dataclasses.replace(self, tolerance=t) for t in (1e-2, 1e-4, 1e-8))

    def prepare(self, problem, *, key) -> Prepared:
        fixed = isinstance(problem, EquationProblem)
        asked, problem = problem, _as_series(problem) if fixed else problem
        states = states_of(problem)
        scaling = scaling_of(problem, states, self.positive)
        segments = segments_of(problem, states, scaling, 0)
        unknown = {
            name: Parameter(u.start, u.lower, u.upper)
            for name, u in problem.unknown_parameters.items()
        }
        dtype = jnp.zeros(()).dtype
        start = Dynamics(
            None,
            {name: jnp.zeros((), dtype) for name in unknown},
            jnp.asarray(_starts(asked, scaling) if fixed else segments.starts, dtype),
            known_part(problem),
            unknown,
            scaling,
            states,
        )
        substeps = self._substeps(start, segments)
        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))

        misfit = Misfit(start, segments, substeps, fixed)

        def program(inputs):
            return least_squares(inputs, self.tolerance, self.evaluations)

        def finish(outputs) -> Solution:
            unravel = _unravel(start, fixed)
            found = self._solution(problem, start, unravel, segments, substeps, seed, *outputs)
            if not fixed:
                return found
            coordinates, grid = (asked.equation.time,), asked.evaluation_grid()
            return dataclasses.replace(found, coordinates=coordinates, grid=grid)

        return Prepared(program, misfit, finish, traced=False)

    def _substeps(self, model: Dynamics, segments) -> int:
        values = jnp.asarray(segments.values, model.starts.dtype)
        times = jnp.asarray(segments.times, model.starts.dtype)
        found = [substeps_for(model.scaled_field, t, z) for t, z in zip(times, values, strict=True)]
        return 0 if 0 in found else max(found)

    def _solution(
        self, problem, start, unravel, segments, substeps, seed, x, jacobian, status
    ) -> Solution:
        rows = len(jacobian.residual)
        variance = float(jacobian.residual @ jacobian.residual) / max(rows - x.size, 1)
        gram = jacobian.matrix.T @ jacobian.matrix
        covariance = variance * np.linalg.pinv(gram, hermitian=True)
        model = unravel(x)
        parameters = {}
        for i, (name, rule) in enumerate(start.unknown.items()):
            slope = float(jax.grad(rule.decode)(model.raw[name]))
            deviation = abs(slope) * float(np.sqrt(max(covariance[i, i], 0.0)))
            parameters[name] = Estimate(float(rule.decode(model.raw[name])), deviation)
        rng = np.random.default_rng(seed)
        draws = rng.multivariate_normal(x, covariance, self.members, method="eigh")
        many = _stack([model, *map(unravel, draws)])
        spread = forecast_of(many, problem, segments, substeps)
        best = spread.first()
        return Solution(
            method=self.name,
            unknowns=tuple(problem.variables),
            coordinates=best.coordinates,
            grid=best.grid(problem),
            evaluator=best,
            spread=dataclasses.replace(spread, deviation=True),
            parameters=parameters,
            result=status,
            stats={"evaluations": float(jacobian.solves)},
        )


def _as_series(problem: Any) -> SeriesProblem:
    """The measurements of an ordinary equation, its given start in front of them."""
    equation = problem.equation
    begin, end = problem.domain[str(equation.time)]
    times = np.asarray(problem.data.points, float)[:, 0]
    t = np.unique(np.concatenate([[begin, end], times]))
    values = np.full((len(t), len(equation.unknowns)), np.nan)
    for row, found in zip(np.searchsorted(t, times), measured_values(problem), strict=True):
        values[row] = np.where(np.isfinite(found), found, values[row])
    states = list(equation.first_order().states)
    start = initial_state(problem)
    values[0] = [start[states.index(u)] for u in equation.unknowns]
    return SeriesProblem(
        name=problem.name,
        title=problem.title,
        variables=tuple(equation.unknowns),
        time=str(equation.time),
        series=(Series(name=problem.name, t=t, y=values),),
        split=np.inf,
        equation=equation,
        parameters=problem.parameters,
        unknown_parameters=problem.unknown_parameters,
    )


def initial_state(problem: EquationProblem) -> np.ndarray:
    """The given start of an ordinary equation, one number a state.

    **Arguments:**

    - `problem`: unknown parameters in its initial values count with their starts.
    """
    equation = problem.equation
    point = jnp.asarray([problem.domain[c][0] for c in equation.coordinates])
    names = equation.first_order().states
    values = parameter_values(problem)
    found = [expression(problem, problem.initial[n])(point, values) for n in names]
    return np.asarray(found, float)


def _starts(problem: EquationProblem, scaling) -> np.ndarray:
    return scaling.encode(initial_state(problem))[None]


@dataclasses.dataclass(frozen=True)
class Linearised:
    """Residuals `(n,)` and their derivatives `(n, p)` where a search ended, and how many
    solves it took."""

    residual: np.ndarray
    matrix: np.ndarray
    solves: int


@dataclasses.dataclass(frozen=True)
class Misfit:
    """Residuals of a fit and their derivatives, compiled once.

    **Arguments:**

    - `start`: the dynamics to begin with, one member.
    - `segments`: whole series.
    - `substeps`: between two measurements, 0 for an implicit solver.
    - `fixed`: whether the initial states are given rather than fitted.
    """

    start: Dynamics
    segments: Any
    substeps: int
    fixed: bool = False

    @functools.cached_property
    def linearised(self) -> Callable:
        """Free numbers to the derivatives of the residuals, and to the residuals `(m, l, s)`,
        0 in gaps; one program, as most points at which a search looks need both."""
        unravel, dtype = _unravel(self.start, self.fixed), self.start.starts.dtype
        times = jnp.asarray(self.segments.times, dtype)
        values, mask = (jnp.asarray(a, dtype) for a in (self.segments.values, self.segments.mask))

        def residual(x):
            model = unravel(x)
            shoot = jax.vmap(lambda t, s: rollout(model.scaled_field, t, s, self.substeps))
            gap = (shoot(times, model.starts) - values) * mask
            # A trajectory that runs away is a large residual, not the end of the search.
            gap = jnp.clip(jnp.nan_to_num(gap, nan=1e3), -1e3, 1e3)
            return gap, gap

        return jax.jit(jax.jacfwd(residual, has_aux=True))


def least_squares(
    misfit: Misfit, tolerance: float, evaluations: int
) -> tuple[np.ndarray, Linearised, Result]:
    """Fit free numbers and initial states of dynamics to measurements.

    **Arguments:**

    - `misfit`: what is to become small.
    - `tolerance`, `evaluations`: as `ParameterFit`.

    **Returns:** the free numbers, residuals and Jacobian there, how it ended.
    """
    from scipy import optimize

    dtype = misfit.start.starts.dtype
    there = misfit.segments.mask.astype(bool)

    @functools.lru_cache(maxsize=1)
    def linearised(x: tuple) -> list[np.ndarray]:
        found = misfit.linearised(jnp.asarray(x, dtype))
        return [np.nan_to_num(np.asarray(rows, float)[there]) for rows in found]

    options: dict[str, Any] = {
        "jac": lambda x: linearised(tuple(x))[0],
        "ftol": tolerance,
        "xtol": tolerance,
        "gtol": tolerance,
        "max_nfev": evaluations,
    }
    found = optimize.least_squares(
        lambda x: linearised(tuple(x))[1], _free(misfit.start, misfit.fixed), **options
    )
    result = (
        Result()
        if found.status > 0
        else Result(
            ResultCode.not_converged,
            f"the search had not ended after {found.nfev} solves",
            "other start values of the parameters, or more evaluations",
        )
    )
    return found.x, Linearised(found.fun, found.jac, found.nfev), result


def _free(model: Dynamics, fixed: bool) -> np.ndarray:
    raw = np.array([float(model.raw[name]) for name in model.unknown])
    if fixed:
        return raw
    return np.concatenate([raw, np.asarray(model.starts, float).ravel()])


def _unravel(model: Dynamics, fixed: bool) -> Callable:
    count, names = len(model.unknown), tuple(model.unknown)
    dtype = model.starts.dtype

    def unravel(x):
        x = jnp.asarray(x, dtype)
        raw = {name: x[i] for i, name in enumerate(names)}
        if fixed:
            return dataclasses.replace(model, raw=raw)
        starts = x[count:].reshape(model.starts.shape)
        return dataclasses.replace(model, raw=raw, starts=starts)

    return unravel


def _stack(models: list[Dynamics]) -> Dynamics:
    arrays = [eqx.filter(m, eqx.is_array) for m in models]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *arrays)
    return eqx.combine(stacked, eqx.filter(models[0], eqx.is_array, inverse=True))
