"""Values at rows of time, straight lines between them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


def by_series(points: Any, channels: int, one: Callable[[int, np.ndarray], Any]) -> np.ndarray:
    """Values `(m, c)` at points `(m, d)`: times, with the number of the series before them
    where there are several.

    **Arguments:**

    - `points`: as above.
    - `channels`: `c`.
    - `one`: the number of a series and times `(k,)` to values `(k, c)`.
    """
    points = np.asarray(points, float)
    several = points.shape[1] > 1
    series = np.rint(points[:, 0]).astype(int) if several else np.zeros(len(points), int)
    found = np.full((len(points), channels), np.nan)
    for i in np.unique(series):
        found[series == i] = one(int(i), points[series == i, -1])
    return found


def between(t: np.ndarray, times: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Straight lines between rows of a table `(g, c)`, NaN outside, `(k, c)`.

    **Arguments:**

    - `t`: where, `(k,)`.
    - `times`: of the rows, increasing.
    - `table`: values there.
    """
    return np.stack([np.interp(t, times, c, np.nan, np.nan) for c in table.T], axis=-1)


def by_number(
    points: Any, times: np.ndarray, sample: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Values `(m, c)` at points `(m, 2)`, the number of a path that is made, and times.

    **Arguments:**

    - `points`: as above.
    - `times`: of the rows, `(T,)`.
    - `sample`: numbers `(n,)` to paths `(n, T, c)`; called once, for all in one program.
    """
    numbers = np.unique(np.rint(np.asarray(points, float)[:, 0]).astype(int))
    paths = sample(numbers)

    def one(number: int, t: np.ndarray) -> np.ndarray:
        return between(t, times, paths[np.searchsorted(numbers, number)])

    return by_series(points, paths.shape[2], one)


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Values at increasing times, straight lines between them, NaN outside.

    **Arguments:**

    - `times`: of each series.
    - `values`, `deviations`: for each, `(g, c)`; of logarithms where `log`.
    - `log`: whether values are logarithms.
    - `deviation`: whether calls give standard deviations in place of values.
    """

    times: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]
    deviations: tuple[np.ndarray, ...]
    log: bool
    deviation: bool = False

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, d)`: times, with the series before them."""
        return by_series(points, self.values[0].shape[1], self._one)

    def _one(self, i: int, t: np.ndarray) -> np.ndarray:
        value, wide = (between(t, self.times[i], x[i]) for x in (self.values, self.deviations))
        value = np.exp(value) if self.log else value
        if self.deviation:
            return value * wide if self.log else wide
        return value
