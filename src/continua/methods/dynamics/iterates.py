"""Orbits of learned maps at even rows as functions of time, with their spread."""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.methods.dynamics.even import even_series, without_gaps
from continua.methods.dynamics.observations import Scaling
from continua.methods.dynamics.rows import between, by_series
from continua.nets import Fixed

_BEYOND = 0.5  # how far past the last row, as a share of all rows
_MOST = 20_000  # rows of a forecast
_STARTS = 100  # rows from which errors are measured by how far ahead they are
_FURTHEST = 2_000  # rows ahead for which they are


class AbstractMap(eqx.Module):
    """A learned map from row to row, arrays with a leading axis of members.

    Subclasses are modules with the fields `scaling`, `states` (names) and `interval`, the
    time between rows.
    """

    scaling: eqx.AbstractVar[Scaling]
    states: eqx.AbstractVar[tuple[str, ...]]
    interval: eqx.AbstractVar[float]

    @property
    @abc.abstractmethod
    def memory(self) -> int:
        """How many rows must have been measured before the first is told."""

    @abc.abstractmethod
    def read(self, x: Any, there: Any, rows: Any) -> tuple[Any, Any]:
        """Go along measured rows.

        **Arguments:**

        - `x`: scaled rows `(T, C)`, gaps filled; `there`: false in gaps.
        - `rows`: numbers of rows `(b,)`.

        **Returns:** what each row was told to be by those before it `(k, T, C)`, the first
        `memory` as they were, and the states at `rows`, `(k, b, ...)`.
        """

    @abc.abstractmethod
    def run(self, states: Any, steps: int) -> Any:
        """Run freely from states `(k, b, ...)`: the rows that follow, `(k, b, steps, C)`."""


class Iterates(eqx.Module):
    """Orbits of a map along the data and freely beyond, straight lines between rows.

    Within the data each row is told by those before it. The deviation is that of the
    members, and how far free runs from rows of the training data came to be off after as
    many rows. Outside values are NaN.

    **Arguments:**

    - `model`: the map, for free runs from other starts (`simulate`).
    - `times`: of each series, `(g,)`.
    - `values`: scaled, for each series `(k, g, C)`, `k` members.
    - `errors`: scaled deviations `(h, C)` after 1, 2, ... rows.
    - `measured`: how many rows of each series were measured.
    - `deviation`: whether calls give standard deviations in place of values.
    """

    model: AbstractMap
    times: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]
    errors: np.ndarray
    measured: tuple[int, ...]
    deviation: bool = False

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, C)` at points `(m, d)`: times, with the series before them."""
        return by_series(points, self.values[0].shape[2], self._one)

    def _one(self, r: int, t: np.ndarray) -> np.ndarray:
        times, scaling = self.times[r], self.model.scaling
        center = scaling.decode(between(t, times, self.values[r].mean(axis=0)))
        if not self.deviation:
            return center
        ahead = np.arange(len(times)) - self.measured[r]
        off = self.errors[np.clip(ahead, 0, len(self.errors) - 1)]
        wide = between(t, times, np.sqrt(self.values[r].var(axis=0) + off**2))
        wide = wide * np.asarray(scaling.std)
        return wide * center if scaling.log else wide

    def simulate(self, start: Any, steps: int, *, member: int = 0) -> np.ndarray:
        """A free run in double precision.

        **Arguments:**

        - `start`: measured rows `(h, C)` in the units of the data, no gaps, at least
          `model.memory` of them; one state `(C,)` where one row is enough.
        - `steps`: how many rows.
        - `member`: which map of the ensemble, 0.

        **Returns:** `(steps, C)`, the rows that follow the last of `start`.

        **Raises:** `InputError` for too few rows, and gaps.
        """
        start = np.atleast_2d(np.asarray(start, float))
        if len(start) < self.model.memory or not np.isfinite(start).all():
            raise InputError(
                f"got {len(start)} rows with {np.isnan(start).sum()} gaps",
                where="simulate.start",
                fix=f"give {self.model.memory} rows or more, without gaps",
            )
        with precision("float64"):
            one = self.member(member)
            x = jnp.asarray(one.scaling.encode(start))
            last = np.array([len(start) - 1])
            _, states = _read(one, x, np.ones(x.shape, bool), last)
            found = np.asarray(_run(one, states, steps))[0, 0]
        return one.scaling.decode(found)

    def member(self, number: int) -> AbstractMap:
        """One map of the ensemble in double precision, its leading axis kept.

        **Arguments:**

        - `number`: which.
        """
        return jax.tree.map(lambda x: _cut(x, number) if eqx.is_array(x) else x, self.model)


def _cut(x: Any, number: int) -> Any:
    """One of the first axis; numbers of any precision in double."""
    part = np.asarray(x)[number : number + 1]
    return jnp.asarray(part, float) if eqx.is_inexact_array(x) else jnp.asarray(part)


@eqx.filter_jit
def _read(model: AbstractMap, x, there, rows):
    return model.read(x, there, rows)


@eqx.filter_jit
def _run(model: AbstractMap, states, steps: int):
    return model.run(states, steps)


def iterates_of(model: AbstractMap, problem: Any) -> Iterates:
    """Take a learned map along the data of a problem, and freely on.

    The free runs go through all held-out times and half as many rows as there were data,
    up to 20,000 rows.

    **Arguments:**

    - `model`: of the states that are the variables.
    - `problem`: a `SeriesProblem` that is evenly spaced.
    """
    times, values, measured, found = [], [], [], []
    for (t, y), whole in zip(even_series(problem), problem.series, strict=True):
        told, states, rows, z = _along(model, y)
        left = (whole.t[-1] - t[-1]) / model.interval
        ahead = int(min(_MOST, np.ceil(max(left, _BEYOND * len(t)))))
        last = jax.tree.map(lambda s: s[:, -1:], states)
        beyond = np.asarray(_run(model, last, ahead), float)[:, 0]
        times.append(np.append(t, t[-1] + model.interval * np.arange(1.0, ahead + 1)))
        values.append(np.concatenate([np.asarray(told, float), beyond], axis=1))
        measured.append(len(t))
        found.append(_squares(model, z, rows, states, min(_FURTHEST, len(z) // 2)))
    squares, counts = (_total(parts) for parts in zip(*found, strict=True))
    # Where the data are too short for more, what was found last goes on.
    errors = np.sqrt(squares / np.maximum(counts, 1))[: _enough(counts)]
    return Iterates(model, tuple(times), tuple(values), errors, tuple(measured))


def forecast_error(model: AbstractMap, problem: Any, steps: int = 20) -> float:
    """The mean squared error, scaled, of free runs of some rows within the training data.

    **Arguments:**

    - `model`, `problem`: as `iterates_of`.
    - `steps`: rows ahead, 20.
    """
    found = []
    for _, y in even_series(problem):
        _, states, rows, z = _along(model, y)
        found.append(_squares(model, z, rows, states, min(steps, len(z) // 2)))
    squares, counts = (_total(parts) for parts in zip(*found, strict=True))
    error = float(squares.sum() / max(counts.sum(), 1))
    return error if np.isfinite(error) else float("inf")


def _along(model: AbstractMap, y: np.ndarray) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """What rows were told to be, states at rows where free runs begin (the last row is one
    more), these rows, and the scaled rows."""
    z = np.asarray(model.scaling.encode(y))
    earliest = max(model.memory, len(y) // 5)  # hidden states have settled by then
    rows = np.linspace(earliest, max(earliest, len(y) - 2), _STARTS).astype(int)
    rows = np.append(np.unique(rows), len(y) - 1)
    x = jnp.asarray(without_gaps(z), jnp.zeros(()).dtype)
    return *_read(model, x, np.isfinite(z), rows), rows, z


def _squares(model, z, rows, states, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of squared errors of free runs by how many rows they are ahead, and counts."""
    found = np.asarray(_run(model, states, ahead), float).mean(axis=0)
    squares, counts = np.zeros((2, ahead, z.shape[1]))
    for row, free in zip(rows[:-1], found[:-1], strict=True):
        exact = z[row + 1 : row + 1 + ahead]
        gap = free[: len(exact)] - exact
        there = np.isfinite(gap)
        squares[: len(gap)] += np.where(there, gap, 0.0) ** 2
        counts[: len(gap)] += there
    return squares, counts


def _total(parts: Any) -> np.ndarray:
    """The sum of tables of different length."""
    whole = np.zeros((max(len(p) for p in parts), parts[0].shape[1]))
    for part in parts:
        whole[: len(part)] += part
    return whole


def _enough(counts: np.ndarray) -> int:
    """How many rows ahead there are errors of more than a few starts."""
    few = np.flatnonzero(counts.min(axis=1) < min(10, counts.max()))
    return int(few[0]) if len(few) and few[0] > 0 else len(counts)


def with_deviation(evaluator: Iterates) -> Iterates:
    """The deviations of what an evaluator tells.

    **Arguments:**

    - `evaluator`: of values.
    """
    return dataclasses.replace(evaluator, deviation=True)


def fixed_number(value: Any, members: int) -> Fixed:
    """A number for each member that training leaves alone.

    **Arguments:**

    - `value`, `members`: the number, and how many.
    """
    return Fixed(jnp.full(members, value, jnp.zeros(()).dtype))
