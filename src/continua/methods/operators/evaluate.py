"""Trained operators as functions of points."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.nets import Fixed, compiled
from continua.spaces import FourierSpace
from continua.spaces.base import on_product, product_in_time

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
        return self._program(jnp.asarray(inputs, jnp.zeros(()).dtype))

    @functools.cached_property
    def _program(self):
        return compiled(self.operator, lambda net, inputs: jax.lax.map(net, inputs, batch_size=20))

    def __call__(self, points: Any) -> Float[Array, "m k"]:
        points = np.asarray(points)
        rows = np.rint(points[:, 0]).astype(int)
        distinct = np.unique(rows)
        functions = np.asarray(self.predict(self.inputs.value[distinct]))
        values = np.empty((len(points), functions.shape[1]))
        for row, function in zip(distinct, functions, strict=True):
            chosen = rows == row
            places = points[chosen, 1:]
            values[chosen] = interpolate(function, places, self.lower, self.upper, self.periodic)
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
        outputs = np.asarray(self._program(jnp.asarray(first, jnp.zeros(()).dtype)))
        rest = outputs.reshape(len(self.times) - 1, self.unknowns, *first.shape[1:])
        return np.concatenate([np.asarray(first)[None, : self.unknowns], rest])

    @functools.cached_property
    def _program(self):
        return compiled(self.operator)

    def __call__(self, points: Any) -> Float[Array, "m k"]:
        from scipy.interpolate import CubicSpline

        points, frames = np.asarray(points), self.frames()
        spline = CubicSpline(np.asarray(self.times), frames, axis=0)
        space = _ring(self.lower, self.upper, frames.shape[2:])
        t, places = points[:, 0], points[:, 1:]
        product = product_in_time(t, places)
        if product is not None:
            order, shared = product
            values = on_product(space, spline(t[order[:: len(shared)]]), order, shared)
            return jnp.asarray(values, jnp.zeros(()).dtype)
        values = np.empty((len(points), self.unknowns))
        times, which = np.unique(t, return_inverse=True)
        for i, time in enumerate(times):
            values[which == i] = space.interpolate(spline(time), places[which == i])
        return jnp.asarray(values, jnp.zeros(()).dtype)


def _ring(lower, upper, shape) -> FourierSpace:
    return FourierSpace(tuple("xyz"[: len(shape)]), lower, upper, tuple(shape))


def interpolate(
    function: np.ndarray,
    points: np.ndarray,
    lower: tuple[float, ...],
    upper: tuple[float, ...],
    periodic: tuple[bool, ...],
) -> np.ndarray:
    """A function on a uniform grid, at points: a Fourier series where all axes are
    periodic, cubic splines otherwise.

    **Arguments:**

    - `function`: `(k, *N)`; the end point of periodic axes is left out.
    - `points`: `(m, d)`.
    - `lower`, `upper`, `periodic`: one entry an axis.

    **Returns:** `(m, k)`.
    """
    if all(periodic):
        return _ring(lower, upper, function.shape[1:]).interpolate(function, points)
    low, high = np.array(lower), np.array(upper)
    shape = np.array(function.shape[1:])
    cells = np.where(periodic, shape, shape - 1)
    return _splines(function, (points - low) / (high - low) * cells, periodic)


def _splines(function: np.ndarray, index: np.ndarray, periodic) -> np.ndarray:
    from scipy.interpolate import RegularGridInterpolator

    margins = [_MARGIN if p else 0 for p in periodic]
    wide = np.pad(function, [(0, 0), *((m, m) for m in margins)], mode="wrap")
    axes = [np.arange(n) - m for n, m in zip(wide.shape[1:], margins, strict=True)]
    values = np.moveaxis(wide, 0, -1)
    spline = RegularGridInterpolator(axes, values, method="cubic", bounds_error=False)
    return spline(index)
