r"""Measured series as linear stochastic differential equations, by filter and smoother.

    dx = F x dt + L dW,   y_k = H x(t_k) + e_k,   e_k ~ N(0, noise^2),

with the free numbers of the model at the maximum of the likelihood `log p(y)`. What is
known at a time between measurements is exact too, from the filter before it and what the
smoother says of later ones (`kalman_filter`).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.errors import InputError
from continua.core.results import Result, ResultCode
from continua.core.solution import Estimate, Solution
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support, asked
from continua.methods.classical.kalman_filter import (
    Group,
    filtered,
    group_of,
    later,
    log_likelihood,
)
from continua.methods.classical.state_space import AbstractStateSpace, Free, Matern, Scales
from continua.methods.dynamics.observations import scaling_of, training_series
from continua.problems.series import SeriesProblem


@dataclasses.dataclass(frozen=True)
class KalmanSmoother(AbstractDirectMethod):
    """Forecast, interpolation and deviations from a linear stochastic model, its numbers by
    maximum likelihood.

    Every variable has its own copy of a model of one output, with its own numbers; series
    share them. Deviations are those of a new measurement, its noise included.

    **Arguments:**

    - `model`: a `Matern`, `Oscillator`, `IntegratedWiener`, `LinearSDE` or a `Sum`;
      `Matern(1.5)`.
    - `noise`: standard deviation of a measurement, in the units of the data (of their
      logarithm where that is taken); `None` fits it.
    - `mean`: of the process; `None` takes that of the training data, or 0 where the model
      gives the mean of its own.
    - `positive`: model logarithms; `None` decides by the data, and never does for a
      `LinearSDE`.
    - `starts`: of the search for the numbers, 3 at the most.
    - `iterations`: of each search, 200.

    **Raises:** `InputError` for a model that is none, and numbers out of their range.

    **Reference:** sarkka2013bayesian
    """

    model: AbstractStateSpace = Matern()
    noise: float | None = None
    mean: float | None = None
    positive: bool | None = None
    starts: int = 3
    iterations: int = 200

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "sarkka2013bayesian"

    def __post_init__(self):
        if not isinstance(self.model, AbstractStateSpace):
            raise InputError(
                f"got {type(self.model).__name__}",
                where="KalmanSmoother.model",
                fix="give a value such as Matern(1.5)",
            )
        if self.noise is not None and not (self.noise > 0 and np.isfinite(self.noise)):
            raise InputError(
                f"got {self.noise!r}",
                where="KalmanSmoother.noise",
                fix="give a positive number, or None to fit it",
            )
        if self.starts < 1 or self.iterations < 1:
            raise InputError(
                "no search", where="KalmanSmoother.starts, iterations", fix="give 1 or more"
            )

    def supports(self, problem) -> Support:
        if not (known := asked(problem, self.name)).ok:
            return known
        if self.model.outputs not in (1, len(problem.variables)):
            reason = (
                f"the model has {self.model.outputs} outputs for {len(problem.variables)} variables"
            )
            return Support(False, reason)
        for name, column in zip(problem.variables, _columns(problem).T, strict=True):
            if not np.any(np.isfinite(column)):
                return Support(False, f"there is no value of '{name}' up to the split")
        return YES

    def ladder(self, problem) -> tuple["KalmanSmoother", ...]:
        """Itself: there is nothing to refine."""
        return (self,)

    def prepare(self, problem, *, key) -> Prepared:
        del key
        groups, offset, log = self._groups(problem)
        # One program serves all groups of the same shape.
        programs: dict[Any, Callable] = {}

        def program(groups) -> list["_Fit"]:
            return [_fit(self, group, programs) for group in groups]

        def finish(fits: list["_Fit"]) -> Solution:
            return self._solution(problem, fits, offset, log)

        return Prepared(program, groups, finish, traced=False)

    def _groups(self, problem) -> tuple[list["Group"], np.ndarray, bool]:
        """The data of each copy of the model, about their means."""
        given = self.model.outputs > 1 or hasattr(self.model, "drift")
        positive = False if given and self.positive is None else self.positive
        log = scaling_of(problem, tuple(problem.variables), positive).log
        series = [(t, np.log(y) if log else y) for t, y in training_series(problem)]
        values = np.concatenate([y for _, y in series])
        offset = np.nanmean(values, axis=0)
        if self.mean is not None or given:
            offset = np.full(len(offset), self.mean or 0.0)
        series = [(t, y - offset) for t, y in series]
        count, own = len(problem.variables), self.model.outputs
        columns = [list(range(count))] if own == count else [[c] for c in range(count)]
        return [group_of(series, c) for c in columns], offset, log

    def _solution(self, problem, fits: list["_Fit"], offset: np.ndarray, log: bool) -> Solution:
        grid = problem.evaluation_grid()
        best = Smoothed(self.model, tuple(fits), offset, log)
        parameters = {}
        for i, fit in enumerate(fits):
            names = [problem.variables[i]] if len(fits) > 1 else list(problem.variables)
            parameters |= fit.estimates(names, len(problem.variables) > 1)
        failed = [fit.result for fit in fits if not fit.result.ok]
        return Solution(
            method=self.name,
            unknowns=tuple(problem.variables),
            coordinates=tuple(grid),
            grid=grid,
            evaluator=best,
            spread=dataclasses.replace(best, deviation=True),
            parameters=parameters,
            result=failed[0] if failed else Result(),
            stats={
                "evaluations": float(sum(fit.evaluations for fit in fits)),
                "log_likelihood": float(sum(fit.log_likelihood for fit in fits)),
            },
        )


def _columns(problem: SeriesProblem) -> np.ndarray:
    return np.concatenate([s.y for s in problem.training()])


@dataclasses.dataclass(frozen=True)
class _Fit:
    """A copy of the model with its numbers, and what the filter left.

    **Arguments:**

    - `numbers`, `deviations`: fitted numbers by name, and of them.
    - `noise`: `(c,)`.
    - `times`, `scales`: of the data.
    - `mean`, `covariance`, `vector`, `matrix`: of `Filtered` and `later`, with a leading
      axis of series.
    """

    numbers: dict[str, float]
    deviations: dict[str, float]
    noise: np.ndarray
    times: np.ndarray
    scales: Scales
    mean: np.ndarray
    covariance: np.ndarray
    vector: np.ndarray
    matrix: np.ndarray
    log_likelihood: float
    evaluations: int
    result: Result

    def estimates(self, variables: list[str], several: bool) -> dict[str, Estimate]:
        """The numbers with their deviations; the variable in brackets where there are
        several."""
        found = {}
        for name, value in self.numbers.items():
            column = name.removeprefix("noise.")
            label = "noise" if column != name else name
            own = variables[int(column)] if column != name else variables[0]
            found[f"{label}[{own}]" if several else label] = Estimate(
                value, self.deviations.get(name, float("nan"))
            )
        return found


def _fit(method: KalmanSmoother, group: Group, programs: dict[Any, Callable]) -> _Fit:
    """Maximum likelihood, then filter and smoother."""
    free = dict(method.model.free(group.scales))
    count = group.values.shape[2]
    if method.noise is None:
        s = group.scales.spread
        one = Free((0.1 * s, 0.5 * s, 0.02 * s), 1e-5 * s, 10 * s)
        free |= {f"noise.{c}": one for c in range(count)}
    search = _Search(method, group, tuple(free))
    logs, evaluations, result = search.best(free)
    numbers = dict(zip(free, map(float, np.exp(logs)), strict=True))
    deviations = np.exp(logs) * search.deviations(logs)
    mean, covariance, vector, matrix, total = (
        np.asarray(x, float) for x in search.smoothed(jnp.asarray(logs, jnp.zeros(()).dtype))
    )
    if not np.isfinite(total):
        result = Result(
            ResultCode.diverged,
            "the likelihood is not finite",
            "a larger noise, or another model",
        )
    return _Fit(
        numbers,
        dict(zip(free, map(float, deviations), strict=True)),
        np.asarray(search.noise(np.exp(logs)), float),
        group.times,
        group.scales,
        mean,
        covariance,
        vector,
        matrix,
        float(total),
        evaluations,
        result,
    )


class _Search:
    """The likelihood of a group as a function of the logarithms of free numbers."""

    def __init__(self, method: KalmanSmoother, group: Group, names: tuple[str, ...]):
        self.method, self.group, self.names = method, group, names

    def split(self, numbers: Any) -> tuple[dict[str, Any], Any]:
        """Numbers to those of the model and the noise."""
        named = dict(zip(self.names, numbers, strict=True))
        own = {k: v for k, v in named.items() if not k.startswith("noise.")}
        return own, self.noise(numbers)

    def noise(self, numbers: Any) -> Any:
        """The noise of each variable `(c,)`."""
        dtype, count = jnp.zeros(()).dtype, self.group.values.shape[2]
        if self.method.noise is not None:
            return jnp.full(count, self.method.noise, dtype)
        named = dict(zip(self.names, numbers, strict=True))
        return jnp.stack([jnp.asarray(named[f"noise.{c}"], dtype) for c in range(count)])

    @functools.cached_property
    def slope(self) -> Callable:
        """Minus the likelihood, and its gradient."""

        def negative(logs):
            own, noise = self.split(jnp.exp(logs))
            return -log_likelihood(self.method.model, own, noise, self.group)

        return jax.jit(jax.value_and_grad(negative))

    def best(self, free: Mapping[str, Free]) -> tuple[np.ndarray, int, Result]:
        """The logarithms of the most likely numbers, over all starts."""
        from scipy import optimize

        if not free:
            return np.zeros(0), 1, Result()
        bounds = [(np.log(f.lower), np.log(f.upper)) for f in free.values()]
        most = min(self.method.starts, max(len(f.starts) for f in free.values()))
        found, evaluations = [], 0
        for k in range(most):
            start = [np.log(f.starts[k % len(f.starts)]) for f in free.values()]
            one = optimize.minimize(
                self._finite,
                np.clip(start, *np.transpose(bounds)),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": self.method.iterations, "ftol": 1e-12, "gtol": 1e-6},
            )
            evaluations += int(one.nfev)
            found.append(one)
        best = min(found, key=lambda one: one.fun)
        result = Result()
        if best.nit >= self.method.iterations:
            result = Result(
                ResultCode.not_converged,
                f"the likelihood still rose after {best.nit} iterations",
                "more iterations, or some of the numbers given",
            )
        return np.asarray(best.x), evaluations, result

    def _finite(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = self.slope(jnp.asarray(logs, jnp.zeros(()).dtype))
        if not np.isfinite(float(value)):
            return 1e300, np.zeros(len(logs))
        return float(value), np.nan_to_num(np.asarray(slope, float))

    def deviations(self, logs: np.ndarray) -> np.ndarray:
        """Standard deviations of logarithms by the curvature of the likelihood; NaN where it
        has no maximum."""
        count, step = len(logs), 1e-3
        curvature = np.zeros((count, count))
        for i in range(count):
            ahead, back = (logs + s * step * np.eye(count)[i] for s in (1, -1))
            curvature[i] = (self._finite(ahead)[1] - self._finite(back)[1]) / (2 * step)
        curvature = (curvature + curvature.T) / 2
        values, vectors = np.linalg.eigh(curvature) if count else (np.ones(0), np.zeros((0, 0)))
        flat = values <= 1e-6 * np.max(np.abs(values), initial=0.0)
        inverse = np.where(flat, 0.0, 1 / np.where(flat, 1.0, values))
        variance = (vectors**2) @ inverse
        # A number with a share in a direction that the data leave open has no deviation.
        open_ones = (vectors**2) @ flat.astype(float) > 1e-3
        return np.where(open_ones, np.nan, np.sqrt(variance))

    @functools.cached_property
    def smoothed(self) -> Callable:
        """Logarithms to what `_Fit` keeps."""
        dtype = jnp.zeros(()).dtype

        def program(logs):
            own, noise = self.split(jnp.exp(logs))
            system = self.method.model.system(own, self.group.scales)
            moves = jax.vmap(system.transition)(jnp.asarray(self.group.steps, dtype))

            def one(index, values):
                found = filtered(system, moves, index, values, noise)
                vector, matrix = later(system, moves, index, values, found)
                return found.mean, found.covariance, vector, matrix, found.log_likelihood

            data = jnp.asarray(self.group.values, dtype)
            *rest, total = jax.vmap(one)(jnp.asarray(self.group.index), data)
            return *rest, jnp.sum(total)

        return jax.jit(program)


@dataclasses.dataclass(frozen=True, eq=False)
class Smoothed:
    """Means or deviations at any time: between measurements, at them, and beyond.

    Points are times, with the number of the series before them where there are several.
    Before the first measurement there are values where the model is stationary.

    **Arguments:**

    - `model`: the linear stochastic differential equation.
    - `fits`: a copy of it for each variable, or one for all of them.
    - `offset`: the mean of each variable.
    - `log`: whether logarithms were modelled.
    - `deviation`: whether calls give standard deviations of measurements.
    """

    model: AbstractStateSpace
    fits: tuple[_Fit, ...]
    offset: np.ndarray
    log: bool
    deviation: bool = False

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, d)`."""
        points = np.asarray(points, float)
        t = points[:, -1]
        series = np.rint(points[:, 0]).astype(int) if points.shape[1] > 1 else 0 * t.astype(int)
        pairs = [self._one(fit, series, t) for fit in self.fits]
        mean = np.concatenate([m for m, _ in pairs], axis=1) + self.offset
        value = np.exp(mean) if self.log else mean
        if not self.deviation:
            return value
        noise = np.concatenate([fit.noise for fit in self.fits])
        variance = np.concatenate([v for _, v in pairs], axis=1)
        width = np.sqrt(np.maximum(variance, 0.0) + noise**2)
        return width * value if self.log else width

    def _one(self, fit: _Fit, series: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of `H x` of one copy, `(m, c)`."""
        size = 1 << max(int(np.ceil(np.log2(max(len(t), 1)))), 4)  # few programs for all sizes
        places = np.zeros((size, 4), float)
        for r in np.unique(series):
            mine = series == r
            times = fit.times[r]
            k = np.searchsorted(times, t[mine], side="right") - 1
            ahead = np.append(times, np.inf)[k + 1] - t[mine]
            since = np.where(k >= 0, t[mine] - times[np.maximum(k, 0)], 0.0)
            rows = np.flatnonzero(mine)
            places[rows] = np.stack([np.full(len(k), float(r)), k, since, ahead], axis=-1)
        mean, variance = _at(self.model, fit, places)
        mean, variance = mean[: len(t)].copy(), variance[: len(t)].copy()
        if not self.model.stationary:
            mean[places[: len(t), 1] < 0] = np.nan
            variance[places[: len(t), 1] < 0] = np.nan
        return mean, variance


def _at(model: AbstractStateSpace, fit: _Fit, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance at places: series, last measurement, time since and to the next."""
    dtype = jnp.zeros(()).dtype
    logs = jnp.asarray(list(fit.numbers.values()), dtype)
    arrays = (fit.mean, fit.covariance, fit.vector, fit.matrix)
    arrays = tuple(jnp.asarray(x, dtype) for x in arrays)
    index = jnp.asarray(places[:, :2].astype(int))
    found = _program(model, tuple(fit.numbers), fit.scales)(
        logs, arrays, index, jnp.asarray(places[:, 2:], dtype)
    )
    return np.array(found[0], float), np.array(found[1], float)


@functools.lru_cache(maxsize=32)
def _program(model: AbstractStateSpace, names: tuple[str, ...], scales: Scales) -> Callable:
    """Places to means and variances, compiled once for each model."""

    def one(numbers, arrays, index, times):
        own = dict(zip(names, numbers, strict=True))
        system = model.system({k: v for k, v in own.items() if "noise." not in k}, scales)
        means, covariances, vectors, matrices = (x[index[0]] for x in arrays)
        k, last = index[1], means.shape[0] - 1
        before, end, here = k < 0, k >= last, jnp.maximum(k, 0)
        # From the measurement before, and on to the one after it.
        (a, back), (q, _) = jax.vmap(system.transition)(jnp.where(jnp.isfinite(times), times, 0.0))
        m = jnp.where(before, system.mean, a @ means[here])
        p = jnp.where(before, system.covariance, a @ covariances[here] @ a.T + q)
        follow = jnp.minimum(k + 1, last)
        vector = jnp.where(end, 0.0, back.T @ vectors[follow])
        matrix = jnp.where(end, 0.0, back.T @ matrices[follow] @ back)
        m, p = m - p @ vector, p - p @ matrix @ p
        return system.output @ m, jnp.einsum("cn,nm,cm->c", system.output, p, system.output)

    return jax.jit(jax.vmap(one, in_axes=(None, None, 0, 0)))
