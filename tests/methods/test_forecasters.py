"""ARIMA and exponential smoothing: what theory says of their forecasts."""

import dataclasses
import sys

import numpy as np
import pytest

import continua as ct
from continua.core.errors import InputError
from continua.methods.classical.forecasters import ARIMA, ETS
from continua.problems import Series, SeriesProblem

pytest.importorskip("statsmodels")


def series(y, *, t=None, split=None, **fields) -> SeriesProblem:
    t = np.arange(float(len(y))) if t is None else t
    return SeriesProblem(
        name="rows",
        title="Rows",
        variables=("y",),
        time="t",
        series=(Series("a", t, np.asarray(y, float)[:, None]),),
        split=split,
        **fields,
    )


def autoregressive(count=400, phi=0.8, seed=0):
    noise = np.random.default_rng(seed).standard_normal(count)
    y = np.zeros(count)
    for i in range(1, count):
        y[i] = phi * y[i - 1] + noise[i]
    return y + 5.0


def test_forecasts_of_an_autoregression_fall_to_the_mean():
    y = autoregressive()
    problem = series(y, split=349.0)
    solution = ct.solve(problem, ARIMA(order=(1, 0, 0)))
    ahead = 349.0 + np.arange(1.0, 40.0)
    gap = solution(ahead) - np.mean(y[:350])
    ratio = gap[1:6] / gap[:5]
    np.testing.assert_allclose(ratio, 0.8, atol=0.08)
    # The variance of k steps is s^2 (1 + phi^2 + ... + phi^(2 k - 2)).
    (wide,) = solution.deviation(ahead)
    grown = wide**2 / wide[0] ** 2
    phi = np.sqrt(grown[1] - 1)
    np.testing.assert_allclose(grown, np.cumsum(phi ** (2 * np.arange(39.0))), rtol=1e-6)
    np.testing.assert_allclose(solution(np.arange(350.0)), y[:350], atol=1e-9)
    assert np.isnan(solution(1e4))


def test_a_gap_is_filled_from_both_sides():
    y = np.sin(np.arange(120) * 0.3) + 0.01 * autoregressive(120)
    holed = y.copy()
    holed[50:54] = np.nan
    solution = ct.solve(series(holed), ARIMA(order=(3, 0, 0)))
    np.testing.assert_allclose(solution(np.arange(50.0, 54.0)), y[50:54], atol=0.1)
    (wide,) = solution.deviation(np.arange(48.0, 56.0))
    assert wide[[3, 4]].min() > wide[[2, 5]].max() > 0
    np.testing.assert_allclose(wide[[0, 1, 6, 7]], 0, atol=1e-6)
    # A row that is not there at all is the same as one of gaps.
    keep = np.isfinite(holed)
    short = series(y[keep], t=np.arange(120.0)[keep])
    again = ct.solve(short, ARIMA(order=(3, 0, 0)))
    np.testing.assert_allclose(again([51.0, 119.0, 130.0]), solution([51.0, 119.0, 130.0]))


def test_a_level_is_forecast_level_and_seasons_come_back():
    rng = np.random.default_rng(1)
    flat = ct.solve(series(rng.standard_normal(60)), ETS(trend="none"))
    np.testing.assert_allclose(np.diff(flat(np.arange(60.0, 80.0))), 0, atol=1e-12)
    season = np.tile([1.0, 4.0, 2.0, 8.0], 20) + 0.05 * rng.standard_normal(80)
    found = ct.solve(series(season), ETS(trend="none", season=4))
    np.testing.assert_allclose(found(np.arange(80.0, 88.0)), np.tile([1, 4, 2, 8], 2), atol=0.3)
    line = ct.solve(series(3.0 * np.arange(40.0) + 0.1 * rng.standard_normal(40)), ETS())
    np.testing.assert_allclose(np.diff(line(np.arange(40.0, 50.0))), 3.0, atol=0.1)


def test_bands_hold_what_they_say():
    inside = []
    for seed in range(20):
        y = autoregressive(140, seed=seed)
        solution = ct.solve(series(y, split=119.0), ARIMA(order=(1, 0, 0)))
        ahead = np.arange(120.0, 140.0)
        inside.append(np.abs(solution(ahead) - y[120:]) < 1.645 * solution.deviation(ahead)[0])
    assert 0.8 < np.mean(inside) < 0.97


def test_orders_are_found():
    y = np.cumsum(autoregressive(200, phi=0.0) - 5.0)
    walk = ct.solve(series(y), ARIMA())
    # A random walk is differenced once, so that its forecast keeps its last value.
    np.testing.assert_allclose(walk(np.arange(201.0, 220.0)), y[-1], atol=1.0)


def test_what_cannot_be_forecast_is_said():
    uneven = series(np.arange(9.0), t=np.arange(9.0) ** 2)
    assert "needs even times, KalmanSmoother takes any" in ARIMA().supports(uneven).reason
    assert "needs 8 rows or more" in ETS().supports(series(np.arange(5.0))).reason
    holed = series(np.where(np.arange(20) == 3, np.nan, np.arange(20.0)))
    assert "ETS takes no gaps" in ETS().supports(holed).reason
    months = series(np.arange(24.0), t=1949 + np.arange(24) / 12 + 1e-4)
    assert ARIMA().supports(months).ok
    with pytest.raises(InputError, match="got 'steep'; give none, linear or damped"):
        ETS(trend="steep")
    two = dataclasses.replace(uneven, task="generate")
    assert ARIMA().supports(two).reason == "ARIMA does not generate series"


def test_without_statsmodels_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels", None)
    with pytest.raises(
        InputError, match=r"needs statsmodels; run: pip install 'continua\[forecast\]"
    ):
        ct.solve(series(autoregressive(50)), ETS())
