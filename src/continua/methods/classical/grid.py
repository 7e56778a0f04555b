"""Solutions on grids as functions of points."""

import dataclasses
from typing import Any

import numpy as np

from continua.spaces.base import on_product, product_in_time

_NEIGHBOURS = 4  # frames that a value in time is made of
_AT_FRAME = 1e-9  # distance, in steps between frames, within which a time is a frame


@dataclasses.dataclass(frozen=True, eq=False)
class GridEvaluator:
    """Frames on a grid, joined in time by Hermite polynomials and in space as it does.

    In time the polynomial of degree 7 goes through the values and slopes of the four
    frames around; it is the frame itself where the time is one. Outside the frames, and
    where a solve failed, values are NaN.

    **Arguments:**

    - `frames`: `(T, c, *N)`; a steady solution has one.
    - `times`, `slopes`: `(T,)`, and `dy/dt` as `frames`; `None` where steady.
    - `space`: an `AbstractSpace`, where the nodes lie; `None` for an ordinary equation.
    - `time_axis`: which column of the points is time.
    """

    frames: np.ndarray
    times: np.ndarray | None = None
    slopes: Any = None
    space: Any = None
    time_axis: int = 0

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, d)`."""
        points = np.asarray(points, float)
        if self.times is None:
            return self._in_space(self.frames[0], points)
        t = points[:, self.time_axis]
        first, weights = hermite(self.times, t)
        if self.space is None:
            return self._combine(first, weights)
        places = np.delete(points, self.time_axis, axis=1)
        product = product_in_time(t, places)
        if product is not None:
            order, shared = product
            rows = order[:: len(shared)]
            fields = np.stack([self._at_time(int(first[r]), weights[r]) for r in rows])
            return on_product(self.space, fields, order, shared)
        found = np.empty((len(t), self.frames.shape[1]))
        distinct, which, counts = np.unique(t, return_inverse=True, return_counts=True)
        join = self._at_one_time
        if len(distinct) > max(64, len(t) // 8):  # scattered: one block between two frames
            _, which, counts = np.unique(first, return_inverse=True, return_counts=True)
            join = self._scattered
        for rows in np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1]):
            found[rows] = join(int(first[rows[0]]), weights[rows], places[rows])
        return found

    def _combine(self, first: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Values of an ordinary equation: a weighted sum over the neighbours."""
        index = first[:, None] + np.arange(weights.shape[1])
        return _sum(weights[..., 0], self.frames[index]) + _sum(weights[..., 1], self.slopes[index])

    def _at_time(self, first: int, weights: np.ndarray) -> np.ndarray:
        """The field `(c, *N)` at one time, from the weights `(k, 2)` of its neighbours."""
        block = slice(first, first + len(weights))
        field = _sum(weights[None, :, 0], self.frames[None, block])
        return (field + _sum(weights[None, :, 1], self.slopes[None, block]))[0]

    def _at_one_time(self, first: int, weights: np.ndarray, places: np.ndarray) -> np.ndarray:
        return self._in_space(self._at_time(first, weights[0]), places)

    def _scattered(self, first: int, weights: np.ndarray, places: np.ndarray) -> np.ndarray:
        block = slice(first, first + weights.shape[1])
        parts = np.stack([self.frames[block], self.slopes[block]], axis=1)
        flat = parts.reshape(-1, *self.frames.shape[2:])
        values = self._in_space(flat, places).reshape(len(places), *parts.shape[:3])
        return np.einsum("mkv,mkvc->mc", weights, values)

    def _in_space(self, field: np.ndarray, places: np.ndarray) -> np.ndarray:
        return self.space.interpolate(field, places)


def _sum(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    # A weight of zero leaves out a frame that a failed solve did not reach.
    shape = (*weights.shape, *(1,) * (values.ndim - weights.ndim))
    weights = weights.reshape(shape)
    return np.sum(np.where(weights == 0, 0.0, weights * values), axis=1)


def hermite(times: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the values and slopes of neighbouring frames.

    **Arguments:**

    - `times`: of the frames `(T,)`, increasing.
    - `t`: `(m,)`.

    **Returns:** the first neighbour of each time `(m,)` and the weights `(m, k, 2)`,
    for values and for slopes; NaN outside the frames.
    """
    count = min(_NEIGHBOURS, len(times))
    left = np.clip(np.searchsorted(times, t, side="right") - 1, 0, max(len(times) - 2, 0))
    first = np.clip(left - (count // 2 - 1 if count > 1 else 0), 0, len(times) - count)
    nodes = times[first[:, None] + np.arange(count)]
    unit = (times[-1] - times[0]) / max(len(times) - 1, 1) if count > 1 else 1.0
    x, s = (t[:, None] - nodes) / unit, (nodes[:, :, None] - nodes[:, None, :]) / unit
    weights = np.empty((len(t), count, 2))
    for j in range(count):
        others = [i for i in range(count) if i != j]
        basis = np.prod([x[:, i] / s[:, j, i] for i in others], axis=0) * np.ones(len(t))
        bend = np.sum([1.0 / s[:, j, i] for i in others], axis=0) * np.ones(len(t))
        weights[:, j, 0] = (1.0 - 2.0 * bend * x[:, j]) * basis**2
        weights[:, j, 1] = x[:, j] * basis**2 * unit
    at_frame = np.abs(x) < _AT_FRAME
    exact = at_frame.any(axis=1)
    weights[exact, :, 0], weights[exact, :, 1] = at_frame[exact], 0.0
    outside = ~exact & ((t < times[0]) | (t > times[-1]))
    weights[outside] = np.nan
    return first, weights


def refined(times: np.ndarray, factor: int) -> np.ndarray:
    """Times with `factor - 1` more between each two."""
    if factor == 1:
        return times
    shares = np.arange(factor) / factor
    inner = times[:-1, None] + np.diff(times)[:, None] * shares
    return np.append(inner.ravel(), times[-1])


def frames_needed(
    times: np.ndarray, frames: np.ndarray, slopes: np.ndarray, factor: int, tolerance: float
) -> int:
    """How many frames there must be in each interval of the evaluation times.

    **Arguments:**

    - `times`, `frames`, `slopes`: with `factor` frames an interval, a power of two.
    - `factor`: as it is now.
    - `tolerance`: the relative error that interpolation may add.

    **Returns:** the smallest power of two that keeps it, `factor` where none does; 1
    where the solve failed.
    """
    if not np.all(np.isfinite(frames)):
        return 1
    size = max(float(np.sqrt(np.mean(frames**2))), np.finfo(float).tiny)
    found = 1
    while found < factor:
        stride = factor // found
        coarse = GridEvaluator(
            frames[::stride].reshape(len(times[::stride]), -1),
            times[::stride],
            slopes[::stride].reshape(len(times[::stride]), -1),
        )
        middle = slice(stride // 2, None, stride)
        gap = coarse(times[middle, None]) - frames[middle].reshape(len(times[middle]), -1)
        error = float(np.sqrt(np.mean(gap**2))) / size
        if error <= tolerance:
            return found
        found *= 2
    return factor
