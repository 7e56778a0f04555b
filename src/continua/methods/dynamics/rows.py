"""Values at rows of time, straight lines between them."""

import dataclasses
from typing import Any

import numpy as np


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
        points = np.asarray(points, float)
        several = points.shape[1] > 1
        series = np.rint(points[:, 0]).astype(int) if several else np.zeros(len(points), int)
        found = np.full((len(points), self.values[0].shape[1]), np.nan)
        for i in np.unique(series):
            here, t = series == i, self.times[i]
            at = points[here, -1]
            value, wide = (
                np.stack([np.interp(at, t, c, np.nan, np.nan) for c in table[i].T], axis=-1)
                for table in (self.values, self.deviations)
            )
            value = np.exp(value) if self.log else value
            if self.deviation:
                value = value * wide if self.log else wide
            found[here] = value
        return found
