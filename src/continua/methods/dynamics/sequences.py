r"""Many series as arrays of one length, for networks that read them whole.

Channels are scaled by mean and deviation of the series to learn from, time to `[0, 1]` by
the longest of them. Series end at different times: behind its last row a series stands
still, so that whatever is driven by its increments stands still too.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from continua.core.errors import InputError
from continua.integrate.controlled import filled
from continua.problems import Series, SeriesProblem


class Sequence(eqx.Module):
    """One series, or many with a leading axis.

    **Arguments:**

    - `knots`: increasing in every row, `(L,)`: times of the rows, then on by their spacing.
    - `times`: as `knots`, but standing still behind the last row.
    - `values`: scaled, `(L, C)`; gaps keep the last value, 0 before the first.
    - `mask`: 1 where there is a measurement, `(L, C)`.
    - `inputs`: scaled known inputs `(L, D)`.
    - `statics`: scaled, `(S,)`.
    - `last`: the number of the last row.
    - `target`: the number of the class, or the scaled number; -1 where it is unknown.
    """

    knots: Float[Array, "*r L"]
    times: Float[Array, "*r L"]
    values: Float[Array, "*r L C"]
    mask: Float[Array, "*r L C"]
    inputs: Float[Array, "*r L D"]
    statics: Float[Array, "*r S"]
    last: Int[Array, "*r"]
    target: Float[Array, "*r"]

    def path(self, *, counts: float = 0.0, straight: bool = False) -> Float[Array, "*r L P"]:
        """Knots of a control: time, values, inputs, and how often each channel has been
        measured.

        **Arguments:**

        - `counts`: so many measurements make 1; 0 leaves their numbers out.
        - `straight`: whether gaps are filled by straight lines, which look ahead.
        """
        parts = [self.times[..., None], self.filled() if straight else self.values, self.inputs]
        if counts:
            parts.append(jnp.cumsum(self.mask, axis=-2) / counts)
        return jnp.concatenate(parts, axis=-1)

    def filled(self) -> Float[Array, "*r L C"]:
        """The values with gaps filled by straight lines."""
        gaps = jnp.where(self.mask > 0, self.values, jnp.nan)
        if gaps.ndim == 2:
            return filled(self.knots, gaps)
        return jax.vmap(filled)(self.knots, gaps)


def path_size(problem: SeriesProblem, *, counts: bool = False) -> int:
    """The number of channels of `Sequence.path`.

    **Arguments:**

    - `problem`, `counts`: as there.
    """
    variables = len(problem.variables)
    return 1 + variables + len(problem.inputs) + counts * variables


@dataclasses.dataclass(frozen=True)
class SequenceScaling:
    """How the series of a problem become arrays.

    **Arguments:**

    - `variables`: names of the channels.
    - `mean`, `std`: of variables, then inputs.
    - `static_mean`, `static_std`: of the statics.
    - `target_mean`, `target_std`: of numbers to tell, 0 and 1 for classes.
    - `duration`: the longest span of a series, in the units of its time.
    - `length`: rows of the longest series, those that are tested included.
    - `rows`: of a series to learn from, their mean.
    - `classes`: in their order, empty for numbers.
    """

    variables: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    static_mean: tuple[float, ...]
    static_std: tuple[float, ...]
    target_mean: float
    target_std: float
    duration: float
    length: int
    rows: float
    classes: tuple[str, ...]

    def arrays(self, series: Series, statics=(), target: Any = None, dtype=None) -> Sequence:
        """One series.

        **Arguments:**

        - `series`: of the same channels.
        - `statics`, `target`: of it, in their units.
        - `dtype`: of the numbers; that of the process by default.

        **Raises:** `InputError` for other channels, or a series longer than the longest.
        """
        dtype = jnp.zeros(()).dtype if dtype is None else dtype
        found = self.rows_of(series, statics, target)
        return Sequence(**{k: _device(x, dtype) for k, x in found.items()})

    def rows_of(self, series: Series, statics=(), target: Any = None) -> dict[str, np.ndarray]:
        """The fields of `arrays`, not yet on a device.

        **Arguments:** as `arrays`.
        """
        inputs = np.empty((len(series.t), 0)) if series.inputs is None else series.inputs
        columns = np.concatenate([series.y, inputs], axis=1)
        if columns.shape[1] != len(self.mean):
            raise InputError(
                f"{series.y.shape[1]} variables and {inputs.shape[1]} inputs, but the series "
                f"learned from have {', '.join(self.variables)} and "
                f"{len(self.mean) - len(self.variables)} inputs",
                where=f"series '{series.name}'",
                fix="give it the same channels in the same order",
            )
        count, rows = len(series.t), max(self.length, len(series.t))
        scaled = (columns - self.mean) / self.std
        there = np.isfinite(scaled)
        mask = np.pad(there.astype(float), ((0, rows - count), (0, 0)))
        values = np.pad(_last_known(scaled, there), ((0, rows - count), (0, 0)), mode="edge")
        times = (series.t - series.t[0]) / self.duration
        step = float(np.median(np.diff(times))) if count > 1 else 1.0
        knots = np.append(times, times[-1] + step * np.arange(1, rows - count + 1))
        here = len(self.variables)
        times = np.pad(times, (0, rows - count), mode="edge")
        rest = (np.asarray(statics, float) - self.static_mean) / self.static_std
        return {
            "knots": knots,
            "times": times,
            "values": values[:, :here],
            "mask": mask[:, :here],
            "inputs": values[:, here:],
            "statics": rest,
            "last": np.asarray(count - 1),
            "target": np.asarray(self.number(target)),
        }

    def number(self, target: Any) -> float:
        """A target as the number that networks are trained on."""
        if target is None:
            return -1.0
        if self.classes:
            return float(self.classes.index(target))
        return (float(target) - self.target_mean) / self.target_std


def _last_known(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Gaps filled by the last value before them, 0 before the first."""
    rows = np.maximum.accumulate(np.where(there, np.arange(len(values))[:, None], -1))
    filled = np.take_along_axis(values, np.maximum(rows, 0), axis=0)
    return np.where(rows >= 0, filled, 0.0)


def sequence_scaling(problem: SeriesProblem) -> SequenceScaling:
    """The scaling of a problem, by the series to learn from.

    **Arguments:**

    - `problem`: of any task.

    **Raises:** `InputError` where a channel of them holds one value alone, or a series has
    one row.
    """
    training = problem.training()
    short = [s.name for s in training if len(s.t) < 2]
    if short:
        raise InputError(
            "one row, at least 2 are needed",
            where=f"series '{short[0]}'",
            fix="leave this series out",
        )
    empty = np.empty((0, 0))
    values = np.concatenate([s.y for s in training])
    inputs = [empty if s.inputs is None else s.inputs for s in training]
    columns = np.concatenate([values, np.concatenate(inputs)], axis=1) if problem.inputs else values
    for name, column in zip((*problem.variables, *problem.inputs), columns.T, strict=True):
        there = column[np.isfinite(column)]
        if not len(there) or there.min() == there.max():
            cause = f"is {there[0]:g} throughout" if len(there) else "holds no number"
            raise InputError(
                f"'{name}' {cause} in the series to learn from",
                where="series",
                fix="leave this channel out",
            )
    statics = np.array([[v[i] for v in problem.statics.values()] for i in problem.learned])
    told = [float(problem.targets[i]) for i in problem.learned] if problem.task == "regress" else []
    return SequenceScaling(
        variables=problem.variables,
        mean=tuple(np.nanmean(columns, axis=0).tolist()),
        std=tuple(np.nanstd(columns, axis=0).tolist()),
        static_mean=tuple(statics.mean(axis=0).tolist()),
        static_std=tuple(np.where(statics.std(axis=0) > 0, statics.std(axis=0), 1.0).tolist()),
        target_mean=float(np.mean(told)) if told else 0.0,
        target_std=(float(np.std(told)) or 1.0) if told else 1.0,
        duration=max(float(s.t[-1] - s.t[0]) for s in training),
        length=max(len(s.t) for s in problem.series),
        rows=float(np.mean([len(s.t) for s in training])),
        classes=problem.classes,
    )


def sequences_of(problem: SeriesProblem, scaling: SequenceScaling, numbers) -> Sequence:
    """Some series of a problem as arrays, stacked.

    **Arguments:**

    - `problem`: of any task.
    - `scaling`: from `sequence_scaling`.
    - `numbers`: of the series, such as `problem.learned`.
    """
    found = []
    for i in numbers:
        statics = [v[i] for v in problem.statics.values()]
        target = problem.targets[i] if problem.targets else None
        found.append(scaling.rows_of(problem.series[i].seen(), statics, target))
    dtype = jnp.zeros(()).dtype
    # Stacked before they go to a device: thousands of short arrays are slow there.
    return Sequence(**{k: _device(np.stack([f[k] for f in found]), dtype) for k in found[0]})


def _device(x: np.ndarray, dtype: Any) -> Array:
    return jnp.asarray(x, dtype if np.issubdtype(x.dtype, np.floating) else None)
