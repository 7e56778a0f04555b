"""What is known beside an equation: conditions on walls, measurements, unknown numbers."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.problems.values import AbstractValue


@dataclasses.dataclass(frozen=True)
class Unknown:
    """A number that is to be found from data.

    **Arguments:**

    - `start`: where a search begins, 1.
    - `lower`, `upper`: bounds, none by default.

    **Raises:** `InputError` where `lower <= start <= upper` does not hold.
    """

    start: float = 1.0
    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self):
        for name in ("start", "lower", "upper"):
            value = as_number(getattr(self, name), f"unknown.{name}", finite=name == "start")
            object.__setattr__(self, name, value)
        if not (self.lower <= self.start <= self.upper and self.lower < self.upper):
            raise InputError(
                f"start {self.start:g} does not lie between lower {self.lower:g} and "
                f"upper {self.upper:g}",
                where="unknown",
                fix="write lower <= start <= upper",
            )


@dataclasses.dataclass(frozen=True)
class Condition:
    """`sum_k a_k d^k u / dx^k = g` on a wall, derivatives along the coordinate.

    **Arguments:**

    - `unknown`: the name of `u`.
    - `coefficients`: `a_k` by `k`, numbers or text in parameters and coordinates.
    - `value`: `g`, text in coordinates and parameters; it may move in time.

    **Raises:** `InputError` for orders that are not whole numbers from 0 on.
    """

    unknown: str
    coefficients: Mapping[int, Any]
    value: Any = "0"

    def __post_init__(self):
        where = f"condition on '{self.unknown}'"
        if not self.coefficients:
            raise InputError("no coefficients", where=where, fix="write {0: 1.0} for a value")
        found: dict[int, float | str] = {}
        for order, a in self.coefficients.items():
            if isinstance(order, bool) or not isinstance(order, int) or order < 0:
                raise InputError(f"'{order}' is not an order of derivative", where=where)
            found[order] = a if isinstance(a, str) else as_number(a, f"{where}, order {order}")
        object.__setattr__(self, "coefficients", found)
        object.__setattr__(self, "value", as_formula(self.value, where))


@dataclasses.dataclass(frozen=True)
class FluxCondition:
    """`n . F = g` on a part of the boundary of a region, `n` the outward normal.

    `F` is what stands under `div(...)` in the equation of the unknown, everything taken to
    its left side: `-a grad(u)` in `-div(a*grad(u)) = f`.

    **Arguments:**

    - `unknown`: the name of the unknown whose equation it is.
    - `value`: `g`, text in coordinates and parameters; 0, nothing passes.
    """

    unknown: str
    value: Any = "0"

    def __post_init__(self):
        value = as_formula(self.value, f"condition on '{self.unknown}'")
        object.__setattr__(self, "value", value)


@dataclasses.dataclass(frozen=True)
class Walls:
    """Conditions on the two ends of an axis.

    **Arguments:**

    - `lower`, `upper`: tuples of `Condition`.
    """

    lower: tuple[Condition, ...] = ()
    upper: tuple[Condition, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements(AbstractValue):
    """Values of unknowns at points, with gaps.

    **Arguments:**

    - `points`: `(n, d)`, a column for each coordinate of the equation.
    - `values`: `(n, c)`, a column for each unknown, NaN where it was not measured.

    **Raises:** `InputError` for other shapes, places that are not finite, and where
    nothing was measured at all.
    """

    points: np.ndarray
    values: np.ndarray

    def __post_init__(self):
        for name in ("points", "values"):
            array = np.array(getattr(self, name), float)
            if array.ndim != 2:
                raise InputError(
                    f"{name} has {array.ndim} axes, expected 2: one row a measurement",
                    where=f"data.{name}",
                )
            object.__setattr__(self, name, array)
        if len(self.points) != len(self.values) or not len(self.points):
            raise InputError(
                f"{len(self.points)} points and {len(self.values)} values",
                where="data",
                fix="give one row of values for each point, and at least one",
            )
        if not np.all(np.isfinite(self.points)):
            row = int(np.argwhere(~np.isfinite(self.points))[0, 0])
            raise InputError("a coordinate is not a number", where=f"data, row {row + 1}")
        if np.any(np.isinf(self.values)):
            row = int(np.argwhere(np.isinf(self.values))[0, 0])
            raise InputError("a value is infinite", where=f"data, row {row + 1}")
        if not np.any(np.isfinite(self.values)):
            raise InputError("holds no measured value", where="data")


def as_number(value: Any, where: str, *, finite: bool = True) -> float:
    """A real number as `float`.

    **Arguments:**

    - `value`: what was given.
    - `where`: the place that an error names.
    - `finite`: whether infinity is refused too; NaN always is.

    **Raises:** `InputError` for anything else.
    """
    if isinstance(value, (bool, str)) or not np.isscalar(value):
        kind = "text" if isinstance(value, str) else type(value).__name__
        raise InputError(f"got {kind} ({value!r}), expected a number", where=where)
    number = float(value)  # type: ignore[arg-type]
    if math.isnan(number) or (finite and math.isinf(number)):
        raise InputError(f"{number} is not a finite number", where=where)
    return number


def as_formula(value: Any, where: str) -> str:
    """Text of a formula; a number becomes its text.

    **Arguments:**

    - `value`, `where`: as `as_number`.

    **Raises:** `InputError` for anything else.
    """
    return value if isinstance(value, str) else repr(as_number(value, where))
