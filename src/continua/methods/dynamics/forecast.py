"""Trajectories of learned dynamics as functions of time, with their spread."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.methods.dynamics.observations import Segments, training_series
from continua.methods.dynamics.rollout import rollout
from continua.methods.dynamics.rows import by_series
from continua.nets import Fixed, compiled

_LONGEST = 20_000
_BEYOND = 0.5  # how far past the last time, as a share of the whole span


class Forecast(eqx.Module):
    """Trajectories on fine time grids, joined by cubic Hermite polynomials.

    Points are times, with the number of the series before them where there are
    several. Outside the grids values are NaN.

    **Arguments:**

    - `model`: the dynamics, for simulations from other starts (`simulate`).
    - `times`: `(r, g)`, one row a series.
    - `values`, `slopes`: scaled states and their derivatives `(r, k, g, s)`, `k`
      members.
    - `noise`: standard deviation of what the fit left, scaled, `(s,)`.
    - `columns`: which states are the variables.
    - `deviation`: whether calls give standard deviations in place of values.
    """

    model: Any
    times: Fixed
    values: Fixed
    slopes: Fixed
    noise: Fixed
    columns: tuple[int, ...] = eqx.field(static=True)
    deviation: bool = eqx.field(static=True, default=False)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """`t`, with `series` before it where there are several."""
        return ("t",) if self.times.value.shape[0] == 1 else ("series", "t")

    def grid(self, problem: Any) -> dict[str, np.ndarray]:
        """All times at which anything was measured, held-out ones included."""
        times = np.unique(np.concatenate([np.asarray(s.t, float) for s in problem.series]))
        if len(self.coordinates) == 1:
            return {"t": times}
        return {"series": np.arange(float(len(problem.series))), "t": times}

    def __call__(self, points: Any) -> Float[Array, "n c"]:
        return jnp.asarray(by_series(points, len(self.columns), self._one), jnp.zeros(()).dtype)

    def first(self) -> "Forecast":
        """That of the first member alone."""
        arrays, rest = eqx.partition(self.model, eqx.is_array)
        model = eqx.combine(jax.tree.map(lambda x: x[:1], arrays), rest)
        values, slopes = (Fixed(x.value[:, :1]) for x in (self.values, self.slopes))
        return dataclasses.replace(self, model=model, values=values, slopes=slopes)

    def _one(self, r: int, t: np.ndarray) -> np.ndarray:
        scaling = self.model.scaling
        z = self._hermite(r, t)
        mean = z.mean(axis=0)
        center = np.asarray(scaling.decode(mean))
        if not self.deviation:
            return center[:, list(self.columns)]
        spread = np.sqrt(z.var(axis=0) + np.asarray(self.noise.value, float) ** 2)
        width = spread * np.asarray(scaling.std)
        return (width * center if scaling.log else width)[:, list(self.columns)]

    def _hermite(self, r: int, t: np.ndarray) -> np.ndarray:
        grid = np.asarray(self.times.value[r], float)
        values = np.asarray(self.values.value[r], float)
        slopes = np.asarray(self.slopes.value[r], float)
        i = np.clip(np.searchsorted(grid, t, side="right") - 1, 0, len(grid) - 2)
        h = (grid[i + 1] - grid[i])[:, None]
        s = (t - grid[i])[:, None] / h
        a, b = values[:, i], values[:, i + 1]
        da, db = slopes[:, i] * h, slopes[:, i + 1] * h
        z = (
            (1 + 2 * s) * (1 - s) ** 2 * a
            + s * (1 - s) ** 2 * da
            + s**2 * (3 - 2 * s) * b
            + s**2 * (s - 1) * db
        )
        outside = (t < grid[0] - 1e-9) | (t > grid[-1] + 1e-9)
        z[:, outside] = np.nan
        return z

    def simulate(
        self, start: Any, times: Any, *, substeps: int = 10, inputs: Any = None
    ) -> np.ndarray:
        """Mean trajectory from another start.

        **Arguments:**

        - `start`: a state `(s,)` in the units of the data.
        - `times`: increasing, the first is that of the start.
        - `substeps`: Runge-Kutta steps between two times.
        - `inputs`: known ones at these times `(T, d)`, where the model has any.

        **Returns:** `(T, s)`.

        **Raises:** `InputError` where inputs are missing.
        """
        known = self._inputs(np.asarray(times), inputs)
        dtype = jnp.zeros(()).dtype
        times = jnp.asarray(np.asarray(times), dtype)
        scaling = self.model.scaling
        z0 = jnp.asarray(scaling.encode(np.asarray(start, float)), dtype)

        def run(member):
            return rollout(member.scaled_field, times, z0, substeps, u)

        u = None if known is None else jnp.asarray(known, dtype)
        z = _each_member(run, self.model)
        return np.asarray(scaling.decode(np.asarray(z).mean(axis=0)))

    def _inputs(self, times: np.ndarray, inputs: Any) -> np.ndarray | None:
        """Scaled inputs at some times, `None` where the model has none."""
        scaling = getattr(self.model, "inputs", None)
        if scaling is None:
            return None
        shape = (len(times), len(scaling.mean))
        given = np.empty((0, shape[1])) if inputs is None else np.asarray(inputs, float)
        if given.shape != shape or not np.all(np.isfinite(given)):
            got = "none were given" if inputs is None else f"got {given.shape}"
            got = got if given.shape != shape else "some are not finite"
            raise InputError(
                f"future covariates missing: {got}",
                where="simulate.inputs",
                fix=f"give the known inputs at all times of the run, an array {shape}",
            )
        return scaling.encode(given)


def _each_member(run: Callable, model: Any) -> Any:
    """What `run(member)` gives for all members."""
    return compiled(model, eqx.filter_vmap(run, in_axes=(eqx.if_array(0),)))()


def forecast_of(model: Any, problem: Any, segments: Segments, substeps: int) -> Forecast:
    """Roll a trained model out over the data and beyond.

    Within the data each segment runs from its own start; from the last start on the
    trajectory goes freely through all held-out times and half a span further, or as far as
    inputs are known where there are any.

    **Arguments:**

    - `model`: `Dynamics` or a `SparseField`, with members.
    - `problem`: its times, held-out ones included, say how far.
    - `segments`: those the model was trained on.
    - `substeps`: Runge-Kutta steps between two measurements.
    """
    dtype = jnp.zeros(()).dtype
    program = _program(model, 2 if substeps else 0)
    count = len(problem.series)
    found = [_roll(program, model, problem, segments, substeps, r, dtype) for r in range(count)]
    longest = max(len(t) for t, _, _ in found)

    def pad(x, axis):
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, longest - x.shape[axis])
        return np.pad(x, widths, mode="edge")

    times = np.stack([_extend(t, longest) for t, _, _ in found])
    values = np.stack([pad(z, 1) for _, z, _ in found])
    slopes = np.stack(
        [pad(d, 1) * (np.arange(longest) < d.shape[1])[None, :, None] for _, _, d in found]
    )
    columns = tuple(model.states.index(v) for v in problem.variables)
    plain = Forecast(
        model,
        Fixed(jnp.asarray(times, dtype)),
        Fixed(jnp.asarray(values, dtype)),
        Fixed(jnp.asarray(slopes, dtype)),
        Fixed(jnp.zeros(len(model.states), dtype)),
        columns,
    )
    noise = _noise(plain, problem)
    return eqx.tree_at(lambda f: f.noise, plain, Fixed(jnp.asarray(noise, dtype)))


def _extend(t: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([t, t[-1] + 1e-6 * (1 + np.arange(length - len(t)))])


def _roll(program, model, problem, segments, substeps, r, dtype):
    mine = np.flatnonzero(segments.series == r)
    observed = np.unique(np.asarray(problem.series[r].t, float))
    heads = [float(segments.times[i, 0]) for i in mine]
    scaling, series = getattr(model, "inputs", None), problem.series[r]
    beyond = _BEYOND if scaling is None else 0.0
    fine = _fine_grid(observed[observed >= heads[0]], substeps or 8, beyond)
    pieces = []
    for j, i in enumerate(mine):
        final = j + 1 == len(heads)
        end = np.inf if final else heads[j + 1]
        grid = fine[(fine >= heads[j]) & (fine <= end)]
        u = None
        if scaling is not None:
            columns = [np.interp(grid, series.t, c) for c in scaling.encode(series.inputs).T]
            u = jnp.asarray(np.stack(columns, axis=-1), dtype)
        z, slopes = program(jnp.asarray(grid, dtype), u, jnp.asarray(i))
        keep = slice(None) if final else slice(None, -1)  # the next head takes over
        pieces.append((grid[keep], np.asarray(z)[:, keep], np.asarray(slopes)[:, keep]))
    times, values, slopes = zip(*pieces, strict=True)
    joined = (np.concatenate(values, axis=1), np.concatenate(slopes, axis=1))
    return np.concatenate(times), *joined


def _fine_grid(observed: np.ndarray, parts: int, share: float) -> np.ndarray:
    """Measured times, the gaps between them divided, and the same spacing for a share of the
    span beyond."""
    span = observed[-1] - observed[0]
    step = float(np.median(np.diff(observed)))
    beyond = observed[-1] + step * np.arange(1, int(np.ceil(share * span / step)) + 1)
    knots = np.concatenate([observed, beyond])
    parts = max(1, min(parts, _LONGEST // len(knots)))
    shares = np.arange(parts) / parts
    inner = knots[:-1, None] + np.diff(knots)[:, None] * shares
    return np.append(inner.ravel(), knots[-1])


def _program(model, substeps: int) -> Callable:
    """States and slopes of all members from the head of a segment: compiled once for all
    segments of one length."""

    def run(member, times, u, i):
        z = rollout(member.scaled_field, times, member.starts[i], substeps, u)
        given = (times, z) if u is None else (times, z, u)
        return z, jax.vmap(member.scaled_field)(*given)

    every = eqx.filter_vmap(run, in_axes=(eqx.if_array(0), None, None, None))
    return compiled(model, lambda model, times, u, i: every(model, times, u, i))


def _noise(forecast: Forecast, problem) -> np.ndarray:
    """Root mean square of the residuals of the training data, scaled."""
    squares, counts = (
        np.zeros(len(forecast.model.states)),
        np.zeros(len(forecast.model.states)),
    )
    for r, (t, y) in enumerate(training_series(problem)):
        z = forecast._hermite(r, t).mean(axis=0)
        full = np.ones_like(z)
        full[:, list(forecast.columns)] = y
        gap = forecast.model.scaling.encode(full) - z
        for c in forecast.columns:
            there = np.isfinite(gap[:, c])
            squares[c] += (gap[there, c] ** 2).sum()
            counts[c] += there.sum()
    return np.sqrt(squares / np.maximum(counts, 1))
