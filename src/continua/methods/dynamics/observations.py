"""Series of measurements as arrays: scaled, cut into segments, with gaps masked."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scaling:
    """The coordinates in which dynamics are learned.

    `z = (y - mean) / std`, of `log y` in place of `y` where `log`.

    **Arguments:**

    - `mean`, `std`: one number a state.
    - `log`: whether states are positive and learned by their logarithms.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    log: bool

    def encode(self, y) -> Any:
        """States in the units of the data to scaled ones, `(*, s)`."""
        module = np if isinstance(y, np.ndarray) else _jax_numpy()
        y = module.log(y) if self.log else y
        return (y - module.asarray(self.mean, y.dtype)) / module.asarray(self.std, y.dtype)

    def decode(self, z) -> Any:
        """Scaled states to states in the units of the data."""
        module = np if isinstance(z, np.ndarray) else _jax_numpy()
        y = z * module.asarray(self.std, z.dtype) + module.asarray(self.mean, z.dtype)
        return module.exp(y) if self.log else y

    def rate(self, y, slope) -> Any:
        """`dz/dt` from `y` and `dy/dt`."""
        module = np if isinstance(y, np.ndarray) else _jax_numpy()
        slope = slope / y if self.log else slope
        return slope / module.asarray(self.std, y.dtype)


def _jax_numpy():
    import jax.numpy as jnp

    return jnp


def training_series(problem: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times and values `(T,)`, `(T, C)` of each series up to the split, empty rows
    left out."""
    found = []
    for series in problem.training():
        keep = np.any(np.isfinite(series.y), axis=1)
        found.append((series.t[keep], series.y[keep]))
    return found


def scaling_of(problem: Any, states: tuple[str, ...], log: bool | None) -> Scaling:
    """The scaling of the states; hidden ones are left as they are.

    **Arguments:**

    - `problem`: a `SeriesProblem`; data after its split are not looked at.
    - `states`: names of states, observed where they are variables.
    - `log`: `None` takes logarithms where all states are observed, positive, and
      span more than a factor of 3.
    """
    values = np.concatenate([y for _, y in training_series(problem)])
    hidden = [s for s in states if s not in problem.variables]
    if log is None:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        log = not hidden and bool(np.all(low > 0) and np.all(high > 3 * low))
    values = np.log(values) if log else values
    mean, std = [], []
    for state in states:
        if state in hidden:
            mean.append(0.0)
            std.append(1.0)
            continue
        column = values[:, problem.variables.index(state)]
        mean.append(float(np.nanmean(column)))
        std.append(float(np.nanstd(column)) or 1.0)
    return Scaling(tuple(mean), tuple(std), log)


def input_scaling(problem: Any) -> Scaling | None:
    """The scaling of known inputs, by those up to the split; `None` where there are none.

    **Arguments:**

    - `problem`: a `SeriesProblem`.
    """
    if not problem.inputs:
        return None
    values = np.concatenate([s.inputs for s in problem.training()])
    deviation = values.std(axis=0)
    mean, std = values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
    return Scaling(tuple(mean.tolist()), tuple(std.tolist()), False)


@dataclasses.dataclass(frozen=True)
class Segments:
    """Training data cut into pieces that meet at their ends.

    **Arguments:**

    - `times`: `(m, l)`, the last time repeated where a piece is shorter.
    - `values`: scaled states `(m, l, s)`, 0 in gaps.
    - `mask`: 1 where there is a value, else 0.
    - `starts`: a guess of the state at the head of each piece `(m, s)`.
    - `follows`: 1 where piece `i + 1` goes on where piece `i` ends, `(m - 1,)`.
    - `series`: the number of the series of each piece.
    - `inputs`: scaled known inputs `(m, l, d)`, at all of their times within a piece; `None`
      where there are none.
    """

    times: np.ndarray
    values: np.ndarray
    mask: np.ndarray
    starts: np.ndarray
    follows: np.ndarray
    series: np.ndarray
    inputs: np.ndarray | None = None


def segments_of(
    problem: Any,
    states: tuple[str, ...],
    scaling: Scaling,
    length: int,
    inputs: Scaling | None = None,
) -> Segments:
    """Cut the training data into pieces of `length` intervals.

    **Arguments:**

    - `problem`, `states`, `scaling`: as `scaling_of`.
    - `length`: intervals between measurements in a piece; 0 keeps series whole.
    - `inputs`: of known inputs, from `input_scaling`.
    """
    rows: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    known: list[np.ndarray] = []
    for number, one in enumerate(problem.training()):
        measured = np.flatnonzero(np.any(np.isfinite(one.y), axis=1))
        # Pieces end at measurements; between these inputs may have rows of their own.
        keep = np.arange(measured[0], measured[-1] + 1) if inputs else measured
        t, y, heads = one.t[keep], one.y[keep], np.searchsorted(keep, measured)
        z = np.full((len(t), len(states)), np.nan)
        full = np.ones((len(t), len(states)))
        for i, state in enumerate(states):
            if state in problem.variables:
                full[:, i] = y[:, problem.variables.index(state)]
        observed = [s in problem.variables for s in states]
        z[:, observed] = scaling.encode(full)[:, observed]
        filled = _fill(t, z)
        step = length or max(len(heads) - 1, 1)
        for begin in range(0, max(len(heads) - 1, 1), step):
            piece = slice(heads[begin], heads[min(begin + step, len(heads) - 1)] + 1)
            rows.append((number, t[piece], z[piece], filled[piece]))
            if inputs is not None:
                known.append(inputs.encode(one.inputs[keep][piece]))
    longest = max(len(t) for _, t, _, _ in rows)
    times = np.stack([np.pad(t, (0, longest - len(t)), mode="edge") for _, t, _, _ in rows])
    padded = [
        np.pad(z, ((0, longest - len(z)), (0, 0)), constant_values=np.nan) for _, _, z, _ in rows
    ]
    values = np.stack(padded)
    series = np.array([number for number, *_ in rows])
    return Segments(
        times,
        np.nan_to_num(values),
        np.isfinite(values).astype(float),
        np.stack([filled[0] for *_, filled in rows]),
        (series[1:] == series[:-1]).astype(float),
        series,
        np.stack([np.pad(u, ((0, longest - len(u)), (0, 0)), mode="edge") for u in known])
        if inputs
        else None,
    )


def _fill(t: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Gaps filled linearly in time, hidden states with 0."""
    filled = np.zeros_like(z)
    for i in range(z.shape[1]):
        there = np.isfinite(z[:, i])
        if there.any():
            filled[:, i] = np.interp(t, t[there], z[there, i])
    return filled
