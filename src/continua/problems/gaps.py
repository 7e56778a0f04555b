"""Series with fewer values: some taken away, or hidden so that answers can be measured."""

import dataclasses

import numpy as np

from continua.core.errors import InputError
from continua.problems.series import Series, SeriesProblem


def thin(problem: SeriesProblem, share: float, *, seed: int = 0, rows: bool = True):
    """The problem with some measurements taken away at random, of all of its series.

    **Arguments:**

    - `problem`: with several rows a series.
    - `share`: of the measurements that go, below 1.
    - `seed`: of the draw; the draw of a series depends on its number alone.
    - `rows`: whether whole rows go, all variables at a time; otherwise each value by
      itself, and rows stay. The first row always stays.

    **Returns:** a problem of the same task.

    **Raises:** `InputError` for a share that is not from 0 to 1.
    """
    _check(share, "thin.share")

    def one(number: int, series: Series) -> Series:
        draw = np.random.default_rng([seed, number, 0])
        if not rows:
            gone = _some(draw, series.y.shape, share)
            return dataclasses.replace(series, y=np.where(gone, np.nan, series.y))
        keep = ~_some(draw, (len(series.t), 1), share)[:, 0]
        return series.rows(keep)

    return _each(problem, one)


def hide(problem: SeriesProblem, share: float, *, seed: int = 0) -> SeriesProblem:
    """The problem of finding values that are hidden at random, each by itself.

    **Arguments:**

    - `problem`: of the task `"forecast"` or `"interpolate"`; a split is left out.
    - `share`: of the measurements that are hidden, above 0 and below 1.
    - `seed`: of the draw.

    **Returns:** a problem of the task `"interpolate"`.

    **Raises:** `InputError` for a share that is not from 0 to 1.
    """
    _check(share, "hide.share")

    def one(number: int, series: Series) -> Series:
        draw = np.random.default_rng([seed, number, 1])
        return dataclasses.replace(series, hidden=_some(draw, series.y.shape, share))

    return _each(problem, one, task="interpolate", split=None)


def _some(draw: np.random.Generator, shape: tuple[int, ...], share: float) -> np.ndarray:
    """A share of all places, to the nearest number of them, none in the first row."""
    rest = (shape[0] - 1) * shape[1]
    places = draw.permutation(rest)[: round(share * rest)] + shape[1]
    return np.isin(np.arange(shape[0] * shape[1]), places).reshape(shape)


def _each(problem, change, **fields):
    series = tuple(change(i, s) for i, s in enumerate(problem.series))
    return dataclasses.replace(problem, series=series, **fields)


def _check(share: float, where: str) -> None:
    if not 0 <= share < 1:
        raise InputError(f"got {share:g}", where=where, fix="give a share of 0 or more, below 1")
