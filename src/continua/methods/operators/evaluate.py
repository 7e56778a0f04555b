"""Trained operators as functions of points."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.nets import Fixed

_MARGIN = 8  # cells of a periodic axis that are repeated beyond its ends


class Operator(eqx.Module):
    """A network between functions, in the units of the data.

    `u = mean_u + std_u net((a - mean_a) / std_a)`, one mean and deviation a channel, so
    that nothing depends on the grid.

    **Arguments:**

    - `net`: one input function `(c, *n)` to one output function `(c', *n)`.
    - `statistics`: `mean_a, std_a, mean_u, std_u`, each `(c, 1, ..)`, `Fixed`.
    """

    net: Any
    statistics: Fixed

    def __call__(self, a: Float[Array, "c *n"]) -> Float[Array, "k *n"]:
        mean_a, std_a, mean_u, std_u = self.statistics.value
        return mean_u + std_u * self.net((a - mean_a) / std_a)


class FamilyEvaluator(eqx.Module):
    """An operator on a set of inputs: points `(sample, *x)` to values.

    `predict` gives whole functions, for inputs of any resolution.

    **Arguments:**

    - `operator`: a trained `Operator`.
    - `inputs`: `(n, c, *N)`; the first coordinate of a point is a row of it.
    - `lower`, `upper`: the box.
    - `periodic`: for each axis, whether it is.
    """

    operator: Operator
    inputs: Fixed
    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)

    def predict(self, inputs: Any) -> Float[Array, "n k *x"]:
        """Output functions `(n, k, *N)` for input functions `(n, c, *N)`."""
        inputs = jnp.asarray(inputs, jnp.zeros(()).dtype)
        return jax.lax.map(self.operator, inputs, batch_size=20)

    def __call__(self, points: Any) -> Float[Array, "m k"]:
        points = np.asarray(points)
        rows = np.rint(points[:, 0]).astype(int)
        values = np.empty((len(points), 0))
        for row in np.unique(rows):
            function = self.predict(self.inputs.value[row : row + 1])[0]
            chosen = rows == row
            found = interpolate(
                np.asarray(function),
                points[chosen, 1:],
                self.lower,
                self.upper,
                self.periodic,
            )
            if not values.size:
                values = np.empty((len(points), found.shape[1]))
            values[chosen] = found
        return jnp.asarray(values, jnp.zeros(()).dtype)


class FrameEvaluator(eqx.Module):
    """An operator on one initial state: points `(t, *x)` to values.

    The network gives the states at some times; in between they are joined by cubic
    splines, from the exact initial state on.

    **Arguments:**

    - `operator`: a trained `Operator`, whose outputs are frames of `k` unknowns.
    - `initial`: the initial state on the grid `(s, *N)`; its first `k` are unknowns.
    - `times`: `t_0` and the times of the frames.
    - `lower`, `upper`: the box.
    """

    operator: Operator
    initial: Fixed
    times: tuple[float, ...] = eqx.field(static=True)
    unknowns: int = eqx.field(static=True)
    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)

    def frames(self) -> np.ndarray:
        """States at all times: `(T, k, *N)`."""
        first = self.initial.value
        outputs = np.asarray(self.operator(jnp.asarray(first, jnp.zeros(()).dtype)))
        rest = outputs.reshape(len(self.times) - 1, self.unknowns, *first.shape[1:])
        return np.concatenate([np.asarray(first)[None, : self.unknowns], rest])

    def __call__(self, points: Any) -> Float[Array, "m k"]:
        from scipy.interpolate import CubicSpline

        points, frames = np.asarray(points), self.frames()
        spline = CubicSpline(np.asarray(self.times), frames, axis=0)
        periodic = (True,) * (points.shape[1] - 1)
        values = np.empty((len(points), self.unknowns))
        times, which = np.unique(points[:, 0], return_inverse=True)
        for i, t in enumerate(times):
            chosen = which == i
            values[chosen] = interpolate(
                spline(t), points[chosen, 1:], self.lower, self.upper, periodic
            )
        return jnp.asarray(values, jnp.zeros(()).dtype)


def interpolate(
    function: np.ndarray,
    points: np.ndarray,
    lower: tuple[float, ...],
    upper: tuple[float, ...],
    periodic: tuple[bool, ...],
) -> np.ndarray:
    """A function on a uniform grid, at points.

    Trigonometric interpolation where all axes are periodic and the points are few,
    cubic splines otherwise.

    **Arguments:**

    - `function`: `(k, *N)`; the end point of periodic axes is left out.
    - `points`: `(m, d)`.
    - `lower`, `upper`, `periodic`: one entry an axis.

    **Returns:** `(m, k)`.
    """
    from scipy.ndimage import map_coordinates

    shape = np.array(function.shape[1:])
    low, high = np.array(lower), np.array(upper)
    cells = np.where(periodic, shape, shape - 1)
    index = (points - low) / (high - low) * cells
    if all(periodic) and len(shape) == 1:
        return _trigonometric(function, index[:, 0])
    if all(periodic):
        rows = [map_coordinates(f, index.T, order=3, mode="grid-wrap") for f in function]
        return np.stack(rows, axis=-1)
    return _splines(function, index, periodic)


def _splines(function: np.ndarray, index: np.ndarray, periodic) -> np.ndarray:
    from scipy.interpolate import RegularGridInterpolator

    margins = [_MARGIN if p else 0 for p in periodic]
    wide = np.pad(function, [(0, 0), *((m, m) for m in margins)], mode="wrap")
    axes = [np.arange(n) - m for n, m in zip(wide.shape[1:], margins, strict=True)]
    values = np.moveaxis(wide, 0, -1)
    spline = RegularGridInterpolator(axes, values, method="cubic", bounds_error=False)
    return spline(index)


def _trigonometric(function: np.ndarray, index: np.ndarray) -> np.ndarray:
    n = function.shape[-1]
    nodes = np.rint(index)
    if np.all(np.abs(index - nodes) < 1e-9):  # points of the grid itself
        return function[:, nodes.astype(int) % n].T
    spectrum = np.fft.rfft(function) / n
    k = np.arange(spectrum.shape[-1])
    twice = np.where((k == 0) | (2 * k == n), 1.0, 2.0)
    places, back = np.unique(np.mod(index, n), return_inverse=True)
    waves = np.exp(2j * np.pi * np.outer(places, k) / n) * twice
    return (waves @ spectrum.T).real[back]
