"""Known fields that were sampled on a grid: coefficients, forcings, bathymetries."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.problems.values import AbstractValue

_STENCIL = 4


@dataclasses.dataclass(frozen=True, eq=False)
class SampledField(AbstractValue):
    """A function on a product grid, interpolated by cubic polynomials an axis.

    Exact for cubics; constant beyond the grid. A coordinate that the samples do not
    have does not matter.

    **Arguments:**

    - `coordinates`: names of all coordinates of a point, in order.
    - `axes`: increasing nodes `(N,)` of each coordinate that matters, two at least.
    - `samples`: `(*N)`, in the order of `axes`.

    **Raises:** `InputError` for other shapes and values that are not finite.
    """

    coordinates: tuple[str, ...]
    axes: Mapping[str, np.ndarray]
    samples: np.ndarray

    def __post_init__(self):
        axes = {name: np.array(axis, float) for name, axis in self.axes.items()}
        samples = np.array(self.samples, float)
        for name, axis in axes.items():
            if name not in self.coordinates:
                raise InputError(f"'{name}' is no coordinate of the equation", where="fields")
            if axis.ndim != 1 or len(axis) < 2 or not np.all(np.diff(axis) > 0):
                raise InputError(
                    "nodes must increase, two at least", where=f"fields, axis '{name}'"
                )
        if samples.shape != tuple(len(axis) for axis in axes.values()):
            raise InputError(f"samples of shape {samples.shape} do not fit axes", where="fields")
        if not np.all(np.isfinite(samples)):
            raise InputError("samples are not all finite", where="fields")
        for name, value in (("axes", axes), ("samples", samples)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "coordinates", tuple(self.coordinates))

    def __call__(self, points: Float[Array | np.ndarray, "n d"]) -> Float[Array, " n"]:
        """Values at points; see the class."""
        points = jnp.asarray(points)
        parts = [
            _weights(jnp.asarray(axis, points.dtype), points[:, self.coordinates.index(name)])
            for name, axis in self.axes.items()
        ]
        samples = jnp.asarray(self.samples, points.dtype)
        total = jnp.zeros(points.shape[:1], points.dtype)
        for corner in itertools.product(*(range(w.shape[1]) for _, w in parts)):
            weight = jnp.ones(points.shape[:1], points.dtype)
            for (_, w), k in zip(parts, corner, strict=True):
                weight = weight * w[:, k]
            where = tuple(first + k for (first, _), k in zip(parts, corner, strict=True))
            total = total + weight * samples[where]
        return total


def _weights(axis, places) -> tuple[Any, Any]:
    """The first of the nodes around each place, and Lagrange weights of all of them."""
    count = min(_STENCIL, axis.shape[0])
    places = jnp.clip(places, axis[0], axis[-1])
    cell = jnp.searchsorted(axis, places, side="right") - 1
    first = jnp.clip(cell - (count - 1) // 2, 0, axis.shape[0] - count)
    nodes = axis[first[:, None] + jnp.arange(count, dtype=first.dtype)]
    weights = []
    for k in range(count):
        others = [j for j in range(count) if j != k]
        factors = [(places - nodes[:, j]) / (nodes[:, k] - nodes[:, j]) for j in others]
        product = factors[0]
        for factor in factors[1:]:
            product = product * factor
        weights.append(product)
    return first, jnp.stack(weights, axis=-1)
