"""Functions by their values on a uniform grid, derivatives by finite differences."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.spaces.base import AbstractSpace, along_axis, at_nodes
from continua.spaces.fourier import check_box
from continua.spaces.stencils import centred, closure, reach, summation_by_parts

ORDERS = (2, 4, 6)


@dataclasses.dataclass(frozen=True)
class FiniteDifferenceSpace(AbstractSpace):
    r"""Finite differences on a box, each axis periodic or between walls.

        u^(n)(x_i) ~ h^-n sum_j w_j u(x_{i+j})

    Stencils are centred; next to walls they are one-sided and of the same order, or first
    derivatives of half the order that can be summed by parts.

    **Arguments:**

    - `names`: the coordinates.
    - `lower`, `upper`: the box, one entry a coordinate.
    - `shape`: nodes of each axis; both ends are nodes, but a periodic axis leaves its
      upper end out.
    - `periodic`: for each axis, whether it is.
    - `order`: of accuracy, 2, 4 or 6; 4.
    - `by_parts`: whether first derivatives can be summed by parts, with which first-order
      systems between walls are stable; `False`.

    **Raises:** `InputError` for another order and sizes that do not fit each other.

    **Reference:** fornberg1988generation
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    shape: tuple[int, ...]
    periodic: tuple[bool, ...]
    order: int = 4
    by_parts: bool = False

    def __post_init__(self):
        check_box(self)
        if self.order not in ORDERS:
            raise InputError(
                f"got order {self.order}, expected one of 2, 4, 6",
                where="FiniteDifferenceSpace.order",
            )
        if len(self.periodic) != len(self.shape):
            raise InputError(
                f"{len(self.periodic)} entries for {len(self.shape)} axes",
                where="FiniteDifferenceSpace.periodic",
            )

    def spacing(self, axis: int) -> float:
        """Distance of two nodes of an axis."""
        cells = self.shape[axis] if self.periodic[axis] else self.shape[axis] - 1
        return (self.upper[axis] - self.lower[axis]) / cells

    def nodes(self, axis: int) -> np.ndarray:
        low, high, n = self.lower[axis], self.upper[axis], self.shape[axis]
        return np.linspace(low, high, n, endpoint=not self.periodic[axis])

    def derivative(self, field: Float[Array, "*N"], orders: tuple[int, ...]) -> Float[Array, "*N"]:
        for axis, n in enumerate(orders):
            if n:
                field = along_axis(lambda u, a=axis, n=n: self._apply(u, a, n), field, axis)
        return field

    def project(self, field: Float[Array, "*N"]) -> Float[Array, "*N"]:
        return field

    def _apply(self, u, axis: int, n: int):
        """The `n`-th derivative along the last axis, which is `axis` of the space."""
        size, width = self.shape[axis], self._reach(axis, n)
        scale = self.spacing(axis) ** -n
        weights = [w * scale for w in centred(n, self.order)]
        if self.periodic[axis]:
            u = jnp.concatenate([u[..., size - width :], u, u[..., :width]], axis=-1)
            return _correlate(u, weights, size)
        rows = self._closure(n) * scale
        near, count = rows.shape
        middle = _correlate(u[..., near - width :], weights, size - 2 * near)
        low = u[..., :count] @ jnp.asarray(rows.T, u.dtype)
        flipped = (-1) ** n * rows[::-1, ::-1]
        high = u[..., size - count :] @ jnp.asarray(flipped.T, u.dtype)
        return jnp.concatenate([low, middle, high], axis=-1)

    def _closure(self, n: int) -> np.ndarray:
        """Rows of the nodes next to a lower wall."""
        if n == 1 and self.by_parts:
            return summation_by_parts(self.order)[0]
        return np.array(closure(n, self.order))

    def _reach(self, axis: int, n: int) -> int:
        size, width = self.shape[axis], reach(n, self.order)
        needed = 2 * width + 1
        if not self.periodic[axis]:
            near, count = self._closure(n).shape
            needed = max(count, 2 * near + 1)
        if size < needed:
            raise InputError(
                f"{size} nodes are too few for derivative {n} at order {self.order}",
                where=f"FiniteDifferenceSpace.{self.names[axis]}",
                fix=f"{needed} at least",
            )
        return width

    def matrix(self, orders: tuple[int, ...]) -> Any:
        """A partial derivative as a sparse matrix on fields in C order.

        **Returns:** `scipy.sparse.csr_array`, `(prod(N), prod(N))`.
        """
        from scipy import sparse

        total = sparse.eye_array(1, format="csr")
        for axis, n in enumerate(orders):
            total = sparse.kron(total, self.axis_matrix(axis, n), format="csr")
        return total

    def axis_matrix(self, axis: int, n: int) -> Any:
        """The `n`-th derivative along one axis as a sparse `(N, N)` matrix."""
        from scipy import sparse

        size = self.shape[axis]
        if n == 0:
            return sparse.eye_array(size, format="csr")
        width, scale = self._reach(axis, n), self.spacing(axis) ** -n
        i, w = np.arange(size), np.array(centred(n, self.order))
        ends = self._closure(n)
        near = 0 if self.periodic[axis] else len(ends)
        i = i[near : size - near]
        offsets = np.arange(-width, width + 1)
        rows = [np.repeat(i, len(w))]
        columns = [np.mod(i[:, None] + offsets, size).ravel()]
        values = [np.tile(w, len(i))]
        if not self.periodic[axis]:
            from_wall = np.broadcast_to(np.arange(ends.shape[1]), ends.shape)
            beside = np.broadcast_to(np.arange(near)[:, None], ends.shape)
            for side, sign in ((False, 1), (True, (-1) ** n)):
                rows.append((size - 1 - beside if side else beside).ravel())
                columns.append((size - 1 - from_wall if side else from_wall).ravel())
                values.append(sign * ends.ravel())
        parts = (np.concatenate(values) * scale, (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csr_array(parts, shape=(size, size))

    def weights(self, axis: int, places: np.ndarray) -> np.ndarray:
        size, count = self.shape[axis], self.order + 2
        index = (np.asarray(places) - self.lower[axis]) / self.spacing(axis)
        if self.periodic[axis]:
            index = np.mod(index, size)
        count = min(count, size)
        first = np.floor(index).astype(int) - (count - 1) // 2
        if not self.periodic[axis]:
            first = np.clip(first, 0, size - count)
        local = index - first
        table = np.ones((len(index), count))
        for j in range(count):
            for i in range(count):
                if i != j:
                    table[:, j] *= (local - i) / (j - i)
        exact = at_nodes(index)
        table[exact] = np.arange(count) == np.rint(local[exact])[:, None]
        rows = np.zeros((len(index), size))
        columns = np.mod(first[:, None] + np.arange(count), size)
        rows[np.arange(len(index))[:, None], columns] = table
        return rows


def _correlate(u, weights, size: int):
    """`sum_j w_j u_{i+j}` for `i < size`, as sums of shifted slices."""
    terms = [u[..., j : j + size] * w for j, w in enumerate(weights) if w]
    return sum(terms[1:], terms[0]) if terms else jnp.zeros_like(u[..., :size])
