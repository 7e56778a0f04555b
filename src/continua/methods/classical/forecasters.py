r"""Forecasters of statistics, by statsmodels: what measured series are otherwise given to.

`ARIMA(p, d, q)`, with seasons `(P, D, Q)_s`:

    phi(B) Phi(B^s) (1 - B)^d (1 - B^s)^D y = theta(B) Theta(B^s) e,

`B` the shift by one row, `e` white noise; its likelihood is that of a Kalman filter, so
that gaps are no matter. `ETS`: a level, perhaps a trend (damped or not) and seasons, each
corrected by a share of the error of the forecast of one row,

    y_i = l + b + s + e,   l <- l + b + alpha e,   b <- phi b + beta e,   s <- s + gamma e.

Orders and parts that are not given are those of the least AICc; the order of the
differences, which AICc cannot compare, is 1 where a KPSS test finds no level. Variables
are forecast each by itself, positive ones that span a wide range by their logarithms.
"""

import dataclasses
import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.base import AbstractDirectMethod, Prepared, Support, asked
from continua.methods.dynamics.even import even_series, evenly_spaced
from continua.methods.dynamics.observations import scaling_of
from continua.methods.dynamics.rows import Rows
from continua.problems import SeriesProblem

_BEYOND = 0.5  # spans of the data that are forecast beyond the last measurement
_MOST = 5  # autoregressive and moving average terms that are tried
_FEWEST = 8  # rows of a series


@dataclasses.dataclass(frozen=True)
class ARIMA(AbstractDirectMethod):
    """An autoregressive, integrated moving average of each variable.

    **Arguments:**

    - `order`: `(p, d, q)`; `None` searches from `(2, d, 2)` by steps of one to the least
      AICc, `p` and `q` up to 5.
    - `season`: rows in a season, `None` for none.
    - `seasonal_order`: `(P, D, Q)`, where there is a season; `(1, 0, 1)`.
    - `positive`: forecast logarithms; `None` decides by the data.

    **Reference:** box1970time
    """

    order: tuple[int, int, int] | None = None
    season: int | None = None
    seasonal_order: tuple[int, int, int] = (1, 0, 1)
    positive: bool | None = None

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "box1970time"

    def supports(self, problem) -> Support:
        return _even(problem, self.name)

    def ladder(self, problem) -> tuple["ARIMA", ...]:
        """Itself: there is nothing to refine."""
        return (self,)

    def prepare(self, problem, *, key) -> Prepared:
        return _prepared(self, problem, self._fit)

    def _fit(self, y: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray, float]:
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        seasonal = (*self.seasonal_order, self.season) if self.season else (0, 0, 0, 0)

        def model(order) -> Any:
            # A mean where nothing is differenced away.
            trend = "c" if order[1] == 0 and seasonal[1] == 0 else "n"
            return SARIMAX(y, order=order, seasonal_order=seasonal, trend=trend)

        def fit(order) -> Any:
            return model(order).fit(disp=0, maxiter=100, cov_type="none")

        best = _search(fit, _differences(y)) if self.order is None else _least(fit, [self.order])
        found = best.get_prediction(0, len(y) + ahead - 1, information_set="smoothed")
        variance = np.maximum(found.var_pred_mean, 0.0)  # 0 where measured, but for rounding
        return found.predicted_mean, np.sqrt(variance), float(best.aicc)


@dataclasses.dataclass(frozen=True)
class ETS(AbstractDirectMethod):
    """Exponential smoothing of each variable, with additive errors.

    **Arguments:**

    - `trend`: `"none"`, `"linear"` or `"damped"`; `None` takes that of the least AICc.
    - `season`: rows in a season, `None` for none.
    - `positive`: forecast logarithms; `None` decides by the data.

    **Reference:** hyndman2021forecasting
    """

    trend: str | None = None
    season: int | None = None
    positive: bool | None = None

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "hyndman2021forecasting"

    def __post_init__(self):
        if self.trend not in (None, "none", "linear", "damped"):
            raise InputError(
                f"got '{self.trend}'", where="ETS.trend", fix="give none, linear or damped"
            )

    def supports(self, problem) -> Support:
        if not (known := _even(problem, self.name)).ok:
            return known
        if any(not np.isfinite(s.y).all() for s in problem.training()):
            return Support(False, "ETS takes no gaps, ARIMA and KalmanSmoother do")
        return known

    def ladder(self, problem) -> tuple["ETS", ...]:
        """Itself: there is nothing to refine."""
        return (self,)

    def prepare(self, problem, *, key) -> Prepared:
        return _prepared(self, problem, self._fit)

    def _fit(self, y: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray, float]:
        import pandas as pd
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel

        trends = [self.trend] if self.trend else ["none", "linear", "damped"]

        def model(trend) -> Any:
            return ETSModel(
                pd.Series(y),
                trend=None if trend == "none" else "add",
                damped_trend=trend == "damped",
                seasonal="add" if self.season else None,
                seasonal_periods=self.season,
            )

        best = _least(lambda trend: model(trend).fit(disp=0, maxiter=500), trends)
        found = best.get_prediction(0, len(y) + ahead - 1)
        mean, variance = np.asarray(found.predicted_mean), np.asarray(found.forecast_variance)
        return mean, np.sqrt(variance), float(best.aicc)


def _differences(y: np.ndarray) -> int:
    """1 where a test rejects at 5 % that the series keeps about one level, else 0."""
    from statsmodels.tsa.stattools import kpss

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values beyond the table of the test
        return int(kpss(y[np.isfinite(y)], regression="c", nlags="auto")[1] < 0.05)


def _search(fit: Callable[[Any], Any], d: int) -> Any:
    """The model of the least AICc, by steps of one from the best of four simple ones."""
    known: dict[tuple, Any] = {}

    def best_of(orders) -> tuple:
        for order in orders:
            if order not in known:
                known[order] = _tried(fit, order)
        return min(known, key=lambda o: np.inf if known[o] is None else known[o].aicc)

    best = best_of([(2, d, 2), (0, d, 0), (1, d, 0), (0, d, 1)])
    while True:
        p, _, q = best
        steps = [(p + i, d, q + j) for i, j in itertools.product((-1, 0, 1), repeat=2)]
        better = best_of([o for o in steps if 0 <= o[0] <= _MOST and 0 <= o[2] <= _MOST])
        if better == best:
            return _checked(known[best])
        best = better


def _least(fit: Callable[[Any], Any], choices: Sequence[Any]) -> Any:
    """The fit of the least AICc; models that cannot be fitted do not count."""
    found = [one for one in (_tried(fit, c) for c in choices) if one is not None]
    return _checked(min(found, key=lambda f: f.aicc, default=None))


def _tried(fit: Callable[[Any], Any], choice: Any) -> Any:
    # What statsmodels warns of (starts, convergence) shows in the AICc.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = fit(choice)
        except (ValueError, np.linalg.LinAlgError):
            return None
    return found if np.isfinite(found.aicc) else None


def _checked(found: Any) -> Any:
    if found is None:
        raise InputError(
            "no model could be fitted", where="forecast", fix="give a lower order, or more rows"
        )
    return found


def _even(problem: Any, name: str) -> Support:
    """Whether a problem has series at even times."""
    if not (known := asked(problem, name)).ok:
        return known
    return evenly_spaced(problem, name, _FEWEST, "KalmanSmoother")


def _prepared(method: Any, problem: SeriesProblem, fit: Any) -> Prepared:
    try:
        import statsmodels  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{method.name} needs statsmodels",
            where="method",
            fix="run: pip install 'continua[forecast]'",
        ) from error
    log = scaling_of(problem, tuple(problem.variables), method.positive).log

    def program(series) -> list:
        return [_rows(t, y, log, fit) for t, y in series]

    def finish(found: list) -> Solution:
        grid = problem.evaluation_grid()
        times, values, deviations, criteria = zip(*found, strict=True)
        evaluator = Rows(times, values, deviations, log)
        return Solution(
            method=method.name,
            unknowns=tuple(problem.variables),
            coordinates=tuple(grid),
            grid=grid,
            evaluator=evaluator,
            spread=dataclasses.replace(evaluator, deviation=True),
            stats={"aicc": float(np.sum(criteria))},
        )

    return Prepared(program, even_series(problem), finish, traced=False)


def _rows(
    t: np.ndarray, y: np.ndarray, log: bool, fit
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """What is told of the rows of a series, and of those behind them."""
    ahead = max(1, int(np.ceil(_BEYOND * len(t))))
    found = [fit(column, ahead) for column in (np.log(y) if log else y).T]
    mean, deviation, criteria = (np.stack(part, axis=-1) for part in zip(*found, strict=True))
    step = (t[-1] - t[0]) / (len(t) - 1)
    beyond = t[-1] + step * np.arange(1, ahead + 1)
    return np.append(t, beyond), mean, deviation, float(np.sum(criteria))
