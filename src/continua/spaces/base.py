"""What a space is: nodes, derivatives there, and values in between."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_CHUNK = 4_000_000  # numbers of one block of interpolation weights
_GAUSS = 8  # points of a cell in the mean of an interpolation
_AT_NODE = 1e-9  # distance, in cells, within which a point counts as a node


class AbstractSpace(abc.ABC):
    """Functions of space held by values at the nodes of a product grid.

    Subclasses state `names`, `lower`, `upper` and `shape`, one entry a coordinate.
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    shape: tuple[int, ...]

    @abc.abstractmethod
    def nodes(self, axis: int) -> np.ndarray:
        """Nodes of one axis: `(N,)`."""

    @abc.abstractmethod
    def derivative(self, field: Float[Array, "*N"], orders: tuple[int, ...]) -> Float[Array, "*N"]:
        """A partial derivative, `orders[i]` times along axis `i`."""

    @abc.abstractmethod
    def project(self, field: Float[Array, "*N"]) -> Float[Array, "*N"]:
        """The part of a product that the space can hold."""

    @abc.abstractmethod
    def weights(self, axis: int, places: np.ndarray) -> np.ndarray:
        """Interpolation weights of the nodes of one axis at places `(m,)`: `(m, N)`."""

    @property
    def points(self) -> dict[str, Float[Array, "..."]]:
        """Each coordinate at the nodes, broadcastable to `shape`."""
        dtype = jnp.zeros(()).dtype
        found = {}
        for axis, name in enumerate(self.names):
            widths = [-1 if i == axis else 1 for i in range(len(self.shape))]
            found[name] = jnp.asarray(self.nodes(axis).reshape(widths), dtype)
        return found

    def axes(self) -> dict[str, np.ndarray]:
        """The nodes of each axis, one 1-d array a coordinate."""
        return {name: self.nodes(axis) for axis, name in enumerate(self.names)}

    def mean_weights(self, axis: int) -> np.ndarray:
        """Weights of the nodes of one axis in the mean of the function between them: `(N,)`.

        They are those of the interpolation, integrated: equal on a periodic axis, of Clenshaw
        and Curtis at Chebyshev's nodes, of the order of the stencils for finite differences.

        **Arguments:**

        - `axis`: of the space.
        """
        nodes, low, high = self.nodes(axis), self.lower[axis], self.upper[axis]
        # Where shifting by a cell changes nothing, and constants are held, all are equal.
        gaps = np.diff(np.concatenate([nodes, [nodes[0] + high - low]]))
        some = low + (high - low) * np.array([0.137, 0.561, 0.882])
        constant = np.allclose(self.weights(axis, some).sum(axis=1), 1.0, rtol=0, atol=1e-9)
        if constant and np.allclose(gaps, (high - low) / len(nodes), rtol=1e-9):
            return np.full(len(nodes), 1.0 / len(nodes))
        ends = np.unique(np.concatenate([[low], nodes, [high]]))
        gauss, shares = np.polynomial.legendre.leggauss(_GAUSS)
        total = np.zeros(len(nodes))
        block = max(1, _CHUNK // (_GAUSS * len(nodes)))
        for i in range(0, len(ends) - 1, block):
            left, right = ends[:-1][i : i + block, None], ends[1:][i : i + block, None]
            places = (left + right) / 2 + (right - left) / 2 * gauss
            there = ((right - left) / 2 * shares).ravel()
            total += there @ self.weights(axis, places.ravel())
        return total / (high - low)

    def interpolate(self, values: Any, points: Any) -> np.ndarray:
        """Functions on the grid, at any points; exact at nodes.

        Points that form a product grid are found out and cost one small matrix product
        an axis.

        **Arguments:**

        - `values`: `(c, *N)`.
        - `points`: `(m, d)`.

        **Returns:** `(m, c)`.
        """
        values, points = np.asarray(values), np.asarray(points, float)
        unique = [np.unique(column, return_inverse=True) for column in points.T]
        cells = np.prod([len(places) for places, _ in unique], dtype=float)
        if cells <= 4 * len(points):
            for axis, (places, _) in enumerate(unique):
                values = _along(self.weights(axis, places), values, axis + 1)
            return values[(slice(None), *(which for _, which in unique))].T
        block = max(1, _CHUNK // max(self.shape))
        starts = range(0, len(points), block)
        return np.concatenate([self._scattered(values, points[i : i + block]) for i in starts])

    def _scattered(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        found = np.einsum("mi,ci...->mc...", self.weights(0, points[:, 0]), values, optimize=True)
        for axis in range(1, len(self.shape)):
            found = np.einsum("mi,mci...->mc...", self.weights(axis, points[:, axis]), found)
        return found


def product_in_time(t: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Points in time and space that are the same places at each of their times.

    **Arguments:**

    - `t`: `(m,)`; `places`: `(m, d)`.

    **Returns:** the order of the points by time, equal times in the order given, `(m,)`,
    and the places `(m / times, d)` of each time; `None` where they differ.
    """
    _, which, counts = np.unique(t, return_inverse=True, return_counts=True)
    if np.any(counts != counts[0]):
        return None
    order = np.argsort(which, kind="stable")
    blocks = places[order].reshape(len(counts), counts[0], -1)
    same = np.array_equal(blocks, np.broadcast_to(blocks[0], blocks.shape))
    return (order, blocks[0]) if same else None


def on_product(space: Any, fields: np.ndarray, order: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Fields at the points of `product_in_time`, interpolation weights taken once.

    **Arguments:**

    - `space`: of the fields, with `shape` and `interpolate`.
    - `fields`: one for each time, `(T, c, *N)`.
    - `order`, `places`: as `product_in_time` returns them.

    **Returns:** `(m, c)`, the points in their own order.
    """
    values = space.interpolate(fields.reshape(-1, *space.shape), places)
    values = values.reshape(len(places), len(fields), -1).swapaxes(0, 1)
    found = np.empty((len(order), values.shape[2]), values.dtype)
    found[order] = values.reshape(found.shape)
    return found


def _along(matrix: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)


def at_nodes(index: np.ndarray) -> np.ndarray:
    """Which places, counted in cells, are nodes."""
    return np.abs(index - np.rint(index)) < _AT_NODE


def along_axis(function, field: jax.Array, axis: int) -> jax.Array:
    """Apply a function of the last axis along another one."""
    if axis == field.ndim - 1:
        return function(field)
    return jnp.moveaxis(function(jnp.moveaxis(field, axis, -1)), -1, axis)
