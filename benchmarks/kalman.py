"""Forecast and interpolation with gaps: error on what was held out, and coverage of bands.

Stochastic oscillators with noise, at uneven times: a gap in the middle is filled and the
last quarter forecast, by `KalmanSmoother` with the model that made the data, with one
that did not, by persistence and by the mean. Then the Hudson Bay pelt counts.
"""

import numpy as np

from benchmarks.common import run
from continua.core.solution import Solution
from continua.methods import Mean, Persistence
from continua.methods.classical.kalman import KalmanSmoother
from continua.methods.classical.state_space import Matern, Oscillator
from continua.problems import Series, SeriesProblem, pelt_counts

_QUANTILE = 1.6448536  # of 90 % bands
_PERIOD, _DECAY, _DEVIATION, _NOISE = 5.0, 40.0, 1.0, 0.2


def main(quick: bool = False) -> list[dict]:
    """Fit every method for every seed and return flat records.

    **Arguments:**

    - `quick`: one seed.
    """
    rows = []
    for seed in range(1 if quick else 3):
        t, y, hidden = _oscillator(seed)
        seen = np.where(hidden, np.nan, y)
        problem = _problem(t, seen)
        for label, method in {
            "KalmanSmoother (Oscillator)": KalmanSmoother(Oscillator()),
            "KalmanSmoother (Matern)": KalmanSmoother(Matern(1.5)),
            "Persistence": Persistence(),
            "Mean": Mean(),
        }.items():
            solution, found = run(problem, method, label=label, seed=seed)
            rows += _told(found[0], solution, t, y, {"gap": hidden, "forecast": t > problem.split})
    pelts = pelt_counts()
    (after,) = pelts.held_out()
    for label, method in {
        "KalmanSmoother (Matern)": KalmanSmoother(Matern(1.5)),
        "Persistence": Persistence(),
        "Mean": Mean(),
    }.items():
        solution, found = run(pelts, method, label=label)
        rows += found
        if solution.spread is not None:
            rows.append(_row(found[0], "coverage_held_out", _coverage(solution, after.t, after.y)))
    return rows


def _oscillator(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, measurements, and which of them lie in the gap."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 60, 200))
    h = np.abs(t[:, None] - t)
    kernel = _DEVIATION**2 * np.exp(-h / _DECAY) * np.cos(2 * np.pi * h / _PERIOD)
    exact = np.linalg.cholesky(kernel + 1e-10 * np.eye(200)) @ rng.standard_normal(200)
    return t, exact + _NOISE * rng.standard_normal(200), (t > 18) & (t < 25)


def _problem(t: np.ndarray, y: np.ndarray) -> SeriesProblem:
    return SeriesProblem(
        name="oscillator with a gap",
        title="A stochastic oscillator with noise and a gap",
        variables=("x",),
        time="t",
        series=(Series(name="only", t=t, y=y[:, None]),),
        split=45.0,
    )


def _told(first: dict, solution: Solution, t, y, parts: dict[str, np.ndarray]) -> list[dict]:
    """Error and coverage on each part that was held out."""
    rows = []
    for name, there in parts.items():
        gap = solution(t[there]) - y[there]
        rows.append(_row(first, f"rmse_{name}", float(np.sqrt(np.mean(gap**2)))))
        if solution.spread is not None:
            value = _coverage(solution, t[there], y[there][:, None])
            rows.append(_row(first, f"coverage_{name}", value))
    return rows


def _coverage(solution: Solution, t: np.ndarray, y: np.ndarray) -> float:
    """The share of measurements within the bands; of logarithms where these are modelled."""
    value, width = solution.values(t).T, solution.deviation(t).T
    if getattr(solution.evaluator, "log", False):
        value, width, y = np.log(value), width / value, np.log(y)
    return float(np.mean(np.abs(y - value) <= _QUANTILE * width))


def _row(first: dict, metric: str, value: float) -> dict:
    return {**first, "metric": metric, "value": value}
