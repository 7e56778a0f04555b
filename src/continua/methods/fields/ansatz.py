r"""Fields that fulfil initial and wall values whatever the network says.

For an unknown of order `m` in time with values `u_0, .., u_{m-1}` at `t_0`, and values
`g` on some walls,

    u = E + s tau^m D N,   tau = (t - t_0) / (t_1 - t_0),

where `N` is the network, `D` vanishes on these walls, and `E` continues the given
values inwards: `E = b + P f` with `b = sum_k (t - t_0)^k u_k / k!`, `f = g - b` on the
walls, and `P` the transfinite interpolation of Gordon & Hall (the Boolean sum of
linear interpolations over the axes).
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.equations.expression import Expression


@dataclasses.dataclass(frozen=True)
class WallValues:
    """Given values on one or both walls of an axis.

    **Arguments:**

    - `axis`: the number of the coordinate.
    - `lower`, `upper`: the ends of the axis.
    - `at_lower`, `at_upper`: the value there, `None` where it is not given.
    """

    axis: int
    lower: float
    upper: float
    at_lower: Expression | None
    at_upper: Expression | None

    def sides(self) -> list[tuple[float, Expression]]:
        """Position and value of each wall with a given value."""
        pairs = [(self.lower, self.at_lower), (self.upper, self.at_upper)]
        return [(place, value) for place, value in pairs if value is not None]

    def blend(self, place: float, point: Float[Array, " d"]) -> Any:
        """1 on the wall at `place`, 0 on the other one where it has a value too."""
        if self.at_lower is None or self.at_upper is None:
            return 1.0
        share = (point[self.axis] - self.lower) * (1 / (self.upper - self.lower))
        return share if place == self.upper else 1 - share

    def distance(self, point: Float[Array, " d"]) -> Any:
        """A polynomial that vanishes on the walls with values and is at most 1."""
        share = (point[self.axis] - self.lower) * (1 / (self.upper - self.lower))
        if self.at_lower is None:
            return 1 - share
        if self.at_upper is None:
            return share
        return 4 * share * (1 - share)


@dataclasses.dataclass(frozen=True)
class Ansatz:
    """The form of one unknown; see the head of this file.

    **Arguments:**

    - `scale`: `s`, the size of the unknown.
    - `initial`: `u_0, ..`, empty for a steady problem.
    - `time`: number, start and end of the time coordinate, or `None`.
    - `walls`: walls whose values are built in.
    """

    scale: float
    initial: tuple[Expression, ...] = ()
    time: tuple[int, float, float] | None = None
    walls: tuple[WallValues, ...] = ()

    def __call__(
        self,
        output: Float[Array, ""],
        point: Float[Array, " d"],
        parameters: Mapping[str, Any],
    ) -> Float[Array, ""]:
        factor = self.scale
        if self.initial and self.time is not None:
            axis, start, end = self.time
            share = (point[axis] - start) * (1 / (end - start))
            factor = factor * share ** len(self.initial)
        for wall in self.walls:
            factor = factor * wall.distance(point)
        value = factor * output
        if self.initial or self.walls:
            value = value + self.extension(point, parameters)
        return value

    def base(self, point: Float[Array, " d"], parameters: Mapping[str, Any]) -> Any:
        """`b`, what the initial values alone say."""
        total = jnp.zeros((), point.dtype)
        for k, expression in enumerate(self.initial):
            term = expression(point, parameters)
            if k and self.time is not None:
                elapsed = point[self.time[0]] - self.time[1]
                term = term * elapsed**k * (1 / math.factorial(k))
            total = term if k == 0 else total + term
        return total

    def extension(self, point: Float[Array, " d"], parameters: Mapping[str, Any]) -> Any:
        """`E`, which has all given values."""
        total = self.base(point, parameters)
        # The Boolean sum: single axes count once, pairs of axes are taken off, ...
        for count in range(1, len(self.walls) + 1):
            for chosen in itertools.combinations(self.walls, count):
                total = total + (-1) ** (count + 1) * self._term(chosen, point, parameters)
        return total

    def _term(self, walls, point, parameters):
        total = jnp.zeros((), point.dtype)
        for sides in itertools.product(*(wall.sides() for wall in walls)):
            weight, moved = 1.0, point
            for wall, (place, _) in zip(walls, sides, strict=True):
                weight = weight * wall.blend(place, point)
                moved = _replace(moved, wall.axis, place)
            value = sides[-1][1](moved, parameters)
            gap = value - self.base(moved, parameters)
            total = total + weight * gap
        return total


def _replace(point, axis: int, value: float):
    unit = np.eye(point.shape[0])[axis]
    others = jnp.asarray(1 - unit, point.dtype)
    return point * others + jnp.asarray(value * unit, point.dtype)
