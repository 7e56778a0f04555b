r"""Conditions on walls: which nodes they set, and to what.

    sum_k a_k d^k u / dx^k = g   on a wall,

with one-sided differences there. `K` conditions of one state on one side set the `K`
nodes next to that wall, from a linear system in them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.spaces.finite_difference import FiniteDifferenceSpace
from continua.spaces.stencils import stencil

Value = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


@dataclasses.dataclass(frozen=True)
class WallCondition:
    """One condition of one state on one side of an axis.

    **Arguments:**

    - `state`: the number of the state.
    - `axis`, `side`: which wall; side 0 is the lower, 1 the upper.
    - `coefficients`: pairs of a derivative along the axis and its coefficient.
    - `value`: the right-hand side. Values and coefficients are callables of the
      coordinates on the wall (by name, time included) and the parameters.
    - `steady`: whether the coefficients are the same at all times.
    - `constant`: whether the value is.
    """

    state: int
    axis: int
    side: int
    coefficients: tuple[tuple[int, Value], ...]
    value: Value
    steady: bool = True
    constant: bool = False


@dataclasses.dataclass(frozen=True)
class Boundary:
    """All wall conditions of a system on a space.

    **Arguments:**

    - `space`: a `FiniteDifferenceSpace`.
    - `conditions`: any number of `WallCondition`; a side without one keeps its nodes.
    - `time`: the name of time, `None` for a steady system.

    **Raises:** `InputError` for a condition on a periodic axis.
    """

    space: FiniteDifferenceSpace
    conditions: tuple[WallCondition, ...]
    time: str | None = None

    def __post_init__(self):
        for condition in self.conditions:
            if self.space.periodic[condition.axis]:
                name = self.space.names[condition.axis]
                raise InputError(f"a periodic axis has no walls ('{name}')", where="Boundary")

    def groups(self) -> list[tuple[WallCondition, ...]]:
        """Conditions of one state on one side together, axis by axis; where two walls
        meet, those of the later axis hold."""
        found: dict[tuple, list] = {}
        for condition in sorted(self.conditions, key=lambda c: (c.axis, c.state, c.side)):
            key = condition.axis, condition.state, condition.side
            found.setdefault(key, []).append(condition)
        return [tuple(group) for group in found.values()]

    def free(self, states: int) -> np.ndarray:
        """Which nodes no condition sets: `(s, *N)` of `bool`."""
        free = np.ones((states, *self.space.shape), bool)
        for group in self.groups():
            free[self._place(group)] = False
        return free

    def impose(
        self, t: Any, y: Float[Array, "s *N"], parameters: Mapping[str, Any]
    ) -> Float[Array, "s *N"]:
        """The state with its wall nodes set by the conditions."""
        for group in self.groups():
            first = group[0]
            count, size = len(group), self.space.shape[first.axis]
            field = jnp.moveaxis(y[first.state], first.axis, 0)
            near = field[::-1] if first.side else field
            known = [self.row(c, t, parameters, y.dtype) for c in group]
            width = max(len(weights) for weights, _ in known)
            matrix, right = [], []
            for weights, value in known:
                weights = [*weights, *[jnp.zeros_like(weights[0])] * (width - len(weights))]
                matrix.append(weights[:count])
                right.append(
                    value - sum(w * near[count + i] for i, w in enumerate(weights[count:]))
                )
            new = _solve(matrix, right)
            # Concatenated rather than written in place: the walls are a thin layer.
            near = jnp.concatenate([jnp.stack(new), near[count:size]], axis=0)
            field = near[::-1] if first.side else near
            y = y.at[first.state].set(jnp.moveaxis(field, 0, first.axis))
        return y

    def row(self, condition: WallCondition, t, parameters, dtype) -> tuple[list, Any]:
        """Weights of a condition on the nodes from the wall inwards, and its value,
        each broadcast over the wall."""
        space, axis = self.space, condition.axis
        where = self.wall_coordinates(axis, condition.side, t, dtype)
        shape = space.shape[:axis] + space.shape[axis + 1 :]
        widths = [n + space.order if n else 1 for n, _ in condition.coefficients]
        weights = [jnp.zeros(shape, dtype)] * max(widths)
        for (n, coefficient), width in zip(condition.coefficients, widths, strict=True):
            a = jnp.broadcast_to(jnp.asarray(coefficient(where, parameters), dtype), shape)
            # Seen from the upper wall inwards, odd derivatives change their sign.
            scale = space.spacing(axis) ** -n * (-1) ** (n * condition.side)
            for i, w in enumerate(stencil(0, width, n)):
                weights[i] = weights[i] + a * (w * scale)
        value = jnp.asarray(condition.value(where, parameters), dtype)
        return weights, jnp.broadcast_to(value, shape)

    def wall_coordinates(self, axis: int, side: int, t, dtype) -> dict[str, Any]:
        """Every coordinate on a wall, broadcastable to its nodes."""
        space, found = self.space, {}
        others = [i for i in range(len(space.shape)) if i != axis]
        if self.time is not None:
            found[self.time] = jnp.asarray(t, dtype)
        for i, name in enumerate(space.names):
            if i == axis:
                place = (space.upper if side else space.lower)[axis]
                found[name] = jnp.asarray(place, dtype)
            else:
                widths = [-1 if j == i else 1 for j in others]
                found[name] = jnp.asarray(space.nodes(i).reshape(widths), dtype)
        return found

    def _place(self, group) -> tuple:
        first, count = group[0], len(group)
        index: list[Any] = [slice(None)] * len(self.space.shape)
        index[first.axis] = slice(-count, None) if first.side else slice(0, count)
        return (first.state, *index)


def _solve(matrix: list[list], right: list) -> list:
    """A small linear system at every node of a wall: one row and column a condition."""
    if len(right) == 1:
        return [right[0] / matrix[0][0]]
    system = jnp.stack([jnp.stack(row, axis=-1) for row in matrix], axis=-2)
    vector = jnp.stack(right, axis=-1)[..., None]
    return list(jnp.moveaxis(jnp.linalg.solve(system, vector)[..., 0], -1, 0))
