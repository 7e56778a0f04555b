"""What is measured of a solution, for each kind of problem."""

import dataclasses
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods import best_classical
from continua.metrics import (
    autocorrelation_distance,
    marginal_distance,
    peak_signal_to_noise,
    signature_distance,
    two_sample_p_value,
)
from continua.problems.video import off_grid
from continua.solve import solve

_FEWEST = 200  # new series that a law is measured by


def main_metric(problem: Any) -> str:
    """The name of the error that methods are compared by.

    **Arguments:**

    - `problem`: of any kind.
    """
    if problem.kind == "series":
        if problem.task == "generate":
            return "signature_distance"
        measured = "error_rate" if problem.task == "classify" else "rmse"
        held_out = any(len(s.t) for s in problem.held_out())
        return f"{measured}_{'held_out' if held_out else 'training'}"
    if problem.kind == "video":
        return "rmse_held_out"
    if problem.kind == "inverse":
        return "data_misfit" if problem.truth is None else "relative_l2"
    unknown = problem.kind == "equation" and problem.unknown_parameters
    return "data_misfit" if unknown else "relative_l2"


def score(solution: Solution, problem: Any, reference: Any = None) -> dict[str, float]:
    """Errors of a solution by name.

    For an equation, and of the means and variances of a stochastic one,
    `|u - u_ref| / |u_ref|` and more (`Solution.error`) on the problem's
    grid, and the misfit of its data where it has any; for series the root mean square
    error on what was held out, or the share of series whose class was missed and the mean
    negative logarithm of the probability of their class, or how far new series are from them
    in law; for videos the root mean square error and the mean ratio of peak to error
    (`psnr`, decibels) of the frames that were seen and of those that follow; for a family
    the mean relative error over its test functions; for a cause behind a measurement
    `Solution.error` where the truth is known, and the misfit of the measurements.

    **Arguments:**

    - `solution`, `problem`: what is measured.
    - `reference`: of an equation; `None` measures against data alone.
    """
    if problem.kind == "series" and problem.task in ("classify", "regress"):
        return _target_errors(solution, problem)
    if problem.kind == "series" and problem.task == "generate":
        return _law_errors(solution, problem)
    if problem.kind == "series":
        return _series_errors(solution, problem)
    if problem.kind == "family":
        return _family_errors(solution, problem)
    if problem.kind == "video":
        return _video_errors(solution, problem)
    errors: dict[str, float] = {}
    if problem.kind == "inverse":
        errors |= _inverse_misfit(solution, problem)
        return errors if reference is None else {**_lasting(solution.error(reference)), **errors}
    if reference is not None:
        found = solution.error(reference)
        steady = problem.kind == "equation" and problem.equation.time is None
        errors |= _lasting(found) if steady else found
        errors["reference_error"] = float(reference.error)
        if problem.kind == "stochastic":
            errors |= _weak_errors(solution, reference)
    if problem.data is not None:
        errors |= _data_misfit(solution, problem)
    return errors


def _lasting(errors: dict[str, float]) -> dict[str, float]:
    """Errors without that at the last time, where there is no time."""
    return {name: value for name, value in errors.items() if name != "relative_l2_final"}


def _weak_errors(solution: Solution, reference: Any) -> dict[str, float]:
    """For each mean and variance, the root mean square over time of its error and of its
    standard error, and of their ratio, which is near 1 where sampling is all that errs."""
    (t,) = solution.grid.values()
    gap = solution.values(t) - reference.values(t)
    error = solution.deviation(t)
    errors: dict[str, float] = {}
    for name, g, e in zip(solution.unknowns, gap, error, strict=True):
        random = e > 0
        rows = {"weak_error": g, "standard_error": e, "weak_error_ratio": g[random] / e[random]}
        errors |= {f"{k}_{name}": _finite(np.sqrt(np.mean(row**2))) for k, row in rows.items()}
    return errors


def _data_misfit(solution: Solution, problem) -> dict[str, float]:
    """Root mean square misfit of the measurements, over the spread of each unknown."""
    points, values = np.asarray(problem.data.points, float), np.asarray(problem.data.values, float)
    gap = solution.values(*points.T).T - values
    there = np.isfinite(values)
    # An unknown that was never measured has no spread, and no gap either.
    columns = zip(values.T, there.T, strict=True)
    spread = np.array([float(np.std(v[t])) if t.any() else 1.0 for v, t in columns])
    relative = gap / np.where(spread > 0, spread, 1.0)
    return {"data_misfit": _finite(np.sqrt(np.mean(relative[there] ** 2)))}


def _inverse_misfit(solution: Solution, problem) -> dict[str, float]:
    """Root mean square misfit of the measurements, over their spread."""
    mesh = np.meshgrid(*solution.grid.values(), indexing="ij")
    gap = problem.predicted(solution.values(*mesh)[0]) - problem.measurements
    spread = float(np.std(problem.measurements)) or 1.0
    return {"data_misfit": _finite(np.sqrt(np.mean(gap**2)) / spread)}


def _target_errors(solution: Solution, problem) -> dict[str, float]:
    """Errors of what each series is told to be, by those that are held out and the rest."""
    found = solution.values(np.arange(float(len(problem.series)))).T
    errors: dict[str, float] = {}
    for part, rows in {"held_out": problem.tested, "training": problem.learned}.items():
        if not rows:
            continue
        here, exact = found[list(rows)], [problem.targets[i] for i in rows]
        if problem.task == "regress":
            errors[f"rmse_{part}"] = _finite(np.sqrt(np.mean((here[:, 0] - exact) ** 2)))
            continue
        places = np.array([problem.classes.index(c) for c in exact])
        right = np.argmax(here, axis=1) == places
        errors[f"error_rate_{part}"] = float(np.mean(~right | np.isnan(here[:, 0])))
        likely = np.take_along_axis(here, places[:, None], axis=1)[:, 0]
        errors[f"log_loss_{part}"] = _finite(-np.mean(np.log(np.maximum(likely, 1e-300))))
    return errors


def _law_errors(solution: Solution, problem) -> dict[str, float]:
    """How far new series are in law from those that are held out, at times that all series
    of the problem reach."""
    real = problem.held_out() or problem.training()
    last = min(s.t[-1] - s.t[0] for s in problem.series)
    longest = max(real, key=lambda s: len(s.t))
    # Each series is counted from its own first time, new ones from the first of all.
    since = longest.t - longest.t[0]
    since = since[since <= last]
    times = min(s.t[0] for s in problem.series) + since
    rows = []
    for one in real:
        at = one.t[0] + since
        there = np.isfinite(one.y)
        columns = zip(one.y.T, there.T, strict=True)
        rows.append(np.stack([np.interp(at, one.t[k], c[k]) for c, k in columns], axis=-1))
    numbers = np.arange(float(max(len(real), _FEWEST)))
    new = np.moveaxis(solution.values(*np.meshgrid(numbers, times, indexing="ij")), 0, -1)
    old = np.stack(rows)
    if not np.isfinite(new).all():
        return {"signature_distance": float("inf")}
    return {
        "signature_distance": _finite(signature_distance(new, old)),
        "marginal_distance": _finite(marginal_distance(new, old)),
        "autocorrelation_distance": _finite(autocorrelation_distance(new, old)),
        "two_sample_p_value": two_sample_p_value(new, old),
    }


def _series_errors(solution: Solution, problem) -> dict[str, float]:
    errors: dict[str, float] = {}
    parts = {"held_out": problem.held_out(), "training": problem.training()}
    for part, series in parts.items():
        gaps, sizes = [], []
        for number, one in enumerate(series):
            if not len(one.t):
                continue
            several = len(solution.coordinates) > 1
            where = (np.full(len(one.t), float(number)), one.t) if several else (one.t,)
            gaps.append(solution.values(*where).T - one.y)
            sizes.append(one.y - np.nanmean(one.y, axis=0))
        if not gaps:
            continue
        gap, size = np.concatenate(gaps), np.concatenate(sizes)
        there = np.isfinite(size)
        errors[f"rmse_{part}"] = _finite(np.sqrt(np.mean(gap[there] ** 2)))
        spread = np.sqrt(np.nanmean(size**2, axis=0))
        relative = gap / np.where(spread > 0, spread, 1.0)
        errors[f"normalised_rmse_{part}"] = _finite(np.sqrt(np.mean(relative[there] ** 2)))
        for i, name in enumerate(problem.variables):
            column = there[:, i]
            if column.any():
                errors[f"rmse_{part}_{name}"] = _finite(np.sqrt(np.mean(gap[column, i] ** 2)))
    return errors


def _finite(value: Any) -> float:
    return float(value) if np.isfinite(value) else float("inf")


def _family_errors(solution: Solution, problem) -> dict[str, float]:
    _, exact = problem.data().test
    exact = np.asarray(exact, float)
    mesh = np.meshgrid(*(solution.grid[c] for c in solution.coordinates), indexing="ij")
    predicted = np.moveaxis(solution.values(*mesh), 0, 1)
    axes = tuple(range(1, exact.ndim))
    gap = np.sqrt(((predicted - exact) ** 2).sum(axis=axes))
    errors = gap / np.sqrt((exact**2).sum(axis=axes))
    return {
        "relative_l2": float(errors.mean()),
        "relative_l2_worst": float(errors.max()),
        "relative_l2_median": float(np.median(errors)),
    }


def _video_errors(solution: Solution, problem) -> dict[str, float]:
    axes = problem.evaluation_grid().values()
    found = off_grid(solution.values(*np.meshgrid(*axes, indexing="ij"))[0])
    first = problem.observed
    parts = {
        "held_out": (found[:, first:], problem.held_out()),
        "observed": (found[:, :first], problem.seen()),
    }
    errors: dict[str, float] = {}
    for part, (here, exact) in parts.items():
        errors[f"rmse_{part}"] = _finite(np.sqrt(np.mean((here - exact) ** 2)))
        errors[f"psnr_{part}"] = float(np.mean(peak_signal_to_noise(here, exact)))
    return errors


@dataclasses.dataclass(frozen=True)
class RefinedReference:
    """A classical solution as the reference, its error estimated by a coarser one.

    **Arguments:**

    - `solution`: the finest one.
    - `error`: relative L2 difference to the one before it.
    - `evidence`: how it was found, in words.
    """

    solution: Solution
    error: float
    evidence: str

    def values(self, *coordinates) -> np.ndarray:
        """As `Solution.values`."""
        return self.solution.values(*coordinates)

    def __call__(self, *coordinates) -> np.ndarray:
        return self.solution(*coordinates)


def reference_for(problem: Any) -> Any:
    """The problem's reference, or one from the dearest rungs of a classical method.

    **Arguments:**

    - `problem`: of any kind.

    **Returns:** a reference with `error` and `evidence`; `None` where there is nothing to
    solve without data (series, families, unknown parameters).

    **Raises:** `InputError` where the classical method fails.
    """
    if problem.kind == "inverse":
        return problem.reference
    if problem.kind not in ("equation", "stochastic") or problem.unknown_parameters:
        return None
    if problem.reference is not None or problem.kind == "stochastic":
        return problem.reference
    method = best_classical(problem)
    if method is None:
        return None
    # The dearest rung is the reference, the one before it tells how far it can be off.
    rungs = method.ladder(problem)[-2:]
    found = [solve(problem, rung) for rung in rungs]
    if not all(s.result.ok for s in found):
        raise InputError(
            f"the reference solution failed: {found[-1].result}",
            where=f"problem '{problem.name}'",
            fix="give the problem a reference, or make it easier",
        )
    error = max(found[0].error(found[1])["relative_l2"], 1e-15)
    evidence = (
        f"{method.name} with {rungs[1]!r}; the next cheaper rung differs by {error:.1e} "
        "(relative L2)"
    )
    return RefinedReference(found[-1], error, evidence)


@dataclasses.dataclass(frozen=True)
class StoredReference:
    """Values of a reference on one grid, for processes that need no others.

    **Arguments:**

    - `stored`: `(c, *shape)` on the problem's evaluation grid.
    - `error`, `evidence`: as of the reference that they come from.
    """

    stored: np.ndarray
    error: float
    evidence: str

    def values(self, *coordinates) -> np.ndarray:
        """The stored values.

        **Raises:** `InputError` for points on any other grid.
        """
        shape = np.broadcast_shapes(*(np.shape(c) for c in coordinates))
        if shape != self.stored.shape[1:]:
            raise InputError("the stored reference has values on the problem's grid alone")
        return self.stored


def stored_reference(problem: Any) -> StoredReference | None:
    """The reference of a problem, evaluated once on its grid; `None` where it has none.

    **Arguments:**

    - `problem`: of any kind.
    """
    reference = reference_for(problem)
    if reference is None:
        return None
    mesh = np.meshgrid(*problem.evaluation_grid().values(), indexing="ij")
    values = np.asarray(reference.values(*mesh), float)
    return StoredReference(values, float(reference.error), str(reference.evidence))
