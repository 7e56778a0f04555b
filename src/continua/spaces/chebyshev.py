"""Functions between walls by their values at Chebyshev nodes."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.spaces.base import AbstractSpace, along_axis
from continua.spaces.fourier import check_box
from continua.spaces.walls import WallCondition


@dataclasses.dataclass(frozen=True)
class ChebyshevSpace(AbstractSpace):
    r"""Polynomials through values at the extrema of Chebyshev's polynomials, ends included.

        x_j = (lower + upper)/2 - (upper - lower)/2 cos(pi j / (N - 1))

    Derivatives are those of the polynomial, by dense matrices; values in between are read
    off it by the barycentric formula. Errors of smooth functions fall faster than any
    power of the number of nodes.

    **Arguments:**

    - `names`: the coordinates.
    - `lower`, `upper`: the box, one entry a coordinate.
    - `shape`: nodes of each axis.

    **Raises:** `InputError` for sizes that do not fit each other.

    **Reference:** weideman2000matlab, berrut2004barycentric
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    shape: tuple[int, ...]

    def __post_init__(self):
        check_box(self)

    def nodes(self, axis: int) -> np.ndarray:
        low, high, n = self.lower[axis], self.upper[axis], self.shape[axis]
        # Sines of angles around zero: symmetric to the last bit.
        return (low + high) / 2 + (high - low) / 2 * np.sin(_angles(n) - np.pi / 2)

    def matrix(self, axis: int, order: int) -> np.ndarray:
        """A derivative along one axis: `(N, N)`.

        **Arguments:**

        - `axis`: of the space.
        - `order`: of the derivative; 0 is the identity.
        """
        scale = (2 / (self.upper[axis] - self.lower[axis])) ** order
        return _differentiation(self.shape[axis], order) * scale

    def derivative(self, field: Float[Array, "*N"], orders: tuple[int, ...]) -> Float[Array, "*N"]:
        for axis, n in enumerate(orders):
            if n:
                matrix = jnp.asarray(self.matrix(axis, n).T, field.dtype)
                field = along_axis(
                    lambda u, m=matrix: jnp.matmul(u, m, precision="highest"), field, axis
                )
        return field

    def project(self, field: Float[Array, "*N"]) -> Float[Array, "*N"]:
        return field

    def weights(self, axis: int, places: np.ndarray) -> np.ndarray:
        gaps = np.asarray(places, float)[:, None] - self.nodes(axis)
        exact = np.abs(gaps) <= 1e-14 * (self.upper[axis] - self.lower[axis])
        rows = _barycentric(self.shape[axis]) / np.where(exact, 1.0, gaps)
        found = np.where(exact.any(axis=1, keepdims=True), exact, rows)
        return found / found.sum(axis=1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class ChebyshevBoundary:
    r"""Wall conditions of a system between two walls, as rows of the derivatives there.

        sum_k a_k d^k u / dx^k = g

    The conditions of a state on both walls set as many of its outermost nodes on each
    side, from one small linear system.

    **Arguments:**

    - `space`: a `ChebyshevSpace` in one coordinate.
    - `conditions`: any number of `WallCondition`.
    - `time`: the name of time, `None` for a steady system.

    **Raises:** `InputError` for more coordinates than one.
    """

    space: ChebyshevSpace
    conditions: tuple[WallCondition, ...]
    time: str | None = None

    def __post_init__(self):
        if len(self.space.shape) != 1:
            raise InputError(
                f"got {len(self.space.shape)} coordinates, expected one", where="ChebyshevBoundary"
            )

    def of_state(self, state: int) -> tuple[tuple[WallCondition, ...], np.ndarray]:
        """The conditions of a state, and the nodes that they set.

        **Arguments:**

        - `state`: its number.
        """
        own = sorted((c for c in self.conditions if c.state == state), key=lambda c: c.side)
        low = sum(c.side == 0 for c in own)
        high, n = len(own) - low, self.space.shape[0]
        return tuple(own), np.r_[:low, n - high : n]

    def free(self, states: int) -> np.ndarray:
        """Which nodes no condition sets: `(s, N)` of `bool`.

        **Arguments:**

        - `states`: how many.
        """
        free = np.ones((states, *self.space.shape), bool)
        for state in range(states):
            free[state, self.of_state(state)[1]] = False
        return free

    def rows(self, state: int, t: Any, parameters: Mapping[str, Any], dtype: Any):
        """The conditions of a state as rows on its nodes `(K, N)` and their values `(K,)`.

        **Arguments:**

        - `state`: its number.
        - `t`: the time.
        - `parameters`: a scalar for each.
        - `dtype`: of the numbers.
        """
        rows, values = [], []
        for condition in self.of_state(state)[0]:
            place = (self.space.upper if condition.side else self.space.lower)[0]
            where = {self.space.names[0]: jnp.asarray(place, dtype)}
            if self.time is not None:
                where[self.time] = jnp.asarray(t, dtype)
            row = jnp.zeros(self.space.shape, dtype)
            for order, coefficient in condition.coefficients:
                weights = self.space.matrix(0, order)[-condition.side]
                row = row + jnp.asarray(coefficient(where, parameters), dtype) * jnp.asarray(
                    weights, dtype
                )
            rows.append(row)
            values.append(jnp.asarray(condition.value(where, parameters), dtype))
        return jnp.stack(rows), jnp.stack(values)

    def impose(
        self, t: Any, y: Float[Array, "s N"], parameters: Mapping[str, Any]
    ) -> Float[Array, "s N"]:
        """The state with its outermost nodes set by the conditions."""
        for state in range(len(y)):
            nodes = self.of_state(state)[1]
            if len(nodes):
                rows, values = self.rows(state, t, parameters, y.dtype)
                rest = y[state].at[nodes].set(0.0)
                known = values - jnp.matmul(rows, rest, precision="highest")
                y = y.at[state, nodes].set(jnp.linalg.solve(rows[:, nodes], known))
        return y


def _angles(size: int) -> np.ndarray:
    return np.pi * np.arange(size) / (size - 1)


def _barycentric(size: int) -> np.ndarray:
    """Barycentric weights of the nodes."""
    weights = (-1.0) ** np.arange(size)
    weights[[0, -1]] /= 2
    return weights


@functools.lru_cache(maxsize=64)
def _differentiation(size: int, order: int) -> np.ndarray:
    """A derivative on `[-1, 1]`, `(N, N)`.

    Differences of nodes come from products of sines, rows of the second half from those of
    the first by symmetry, and diagonals from rows that sum to zero, each against rounding.
    """
    if order == 0:
        return np.eye(size)
    t, w, half = _angles(size), _barycentric(size), (size + 1) // 2
    gaps = 2 * np.sin((t[:, None] + t) / 2) * np.sin((t[:, None] - t) / 2)
    gaps[half:] = -gaps[: size - half][::-1, ::-1]
    np.fill_diagonal(gaps, 1.0)
    ratio, found = w / w[:, None], np.eye(size)
    for k in range(1, order + 1):
        found = k * (ratio * np.diag(found)[:, None] - found) / gaps
        np.fill_diagonal(found, 0.0)
        np.fill_diagonal(found, -found.sum(axis=1))
    return found
