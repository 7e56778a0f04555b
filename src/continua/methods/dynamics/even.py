"""Series at even times as rows, which maps from one row to the next are learned from."""

from typing import Any

import numpy as np

from continua.methods.base import YES, Support

_EVEN = 0.1  # a step may be off by this share of the spacing: months are not equal


def evenly_spaced(problem: Any, name: str, least: int, instead: str) -> Support:
    """Whether series have one spacing, missing rows apart.

    **Arguments:**

    - `problem`: of series.
    - `name`: of the method, as its answers call it.
    - `least`: rows that a series must have.
    - `instead`: a method that takes any times.
    """
    step = None
    for series in problem.training():
        t = series.t[np.isfinite(series.y).any(axis=1)]
        if len(t) < least:
            return Support(False, f"{name} needs {least} rows or more, '{series.name}' has fewer")
        gaps = np.diff(t)
        step = float(np.median(gaps)) if step is None else step
        rows = gaps / step
        if np.any(np.abs(rows - np.rint(rows)) > _EVEN) or rows.min() < 0.5:
            reason = f"{name} needs even times, {instead} takes any: rows are not evenly spaced"
            return Support(False, reason)
    return YES


def even_series(problem: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times `(T,)` and values `(T, C)` of each training series, a row for every step.

    Rows that are missing, and gaps, are NaN; rows before the first and after the last
    measurement are left out.

    **Arguments:**

    - `problem`: one that `evenly_spaced` agrees to.
    """
    step, found = None, []
    for series in problem.training():
        measured = np.isfinite(series.y).any(axis=1)
        t, y = series.t[measured], series.y[measured]
        step = float(np.median(np.diff(t))) if step is None else step
        # Steps that are not quite equal must not add up to a row.
        rows = np.append(0, np.cumsum(np.rint(np.diff(t) / step))).astype(int)
        values = np.full((rows[-1] + 1, y.shape[1]), np.nan)
        values[rows] = y
        # Rounding adds up over many rows: times that were measured stay as they are.
        found.append((np.interp(np.arange(rows[-1] + 1.0), rows, t), values))
    return found


def without_gaps(y: np.ndarray) -> np.ndarray:
    """Values `(T, C)` with gaps filled by straight lines, 0 where a column has none.

    **Arguments:**

    - `y`: NaN in gaps.
    """
    rows, filled = np.arange(len(y)), np.zeros_like(y)
    for i, column in enumerate(y.T):
        there = np.isfinite(column)
        if there.any():
            filled[:, i] = np.interp(rows, rows[there], column[there])
    return filled


def delayed(x: Any, dimension: int, delay: int) -> Any:
    """Delay embedding: each row with those `delay`, `2 delay`, ... rows before it.

    **Arguments:**

    - `x`: `(T, C)`, NumPy or JAX.
    - `dimension`: rows that are put together.
    - `delay`: between them.

    **Returns:** `(T - (dimension - 1) delay, C dimension)`, present values first.

    **Reference:** takens1981detecting
    """
    if dimension == 1:
        return x
    module = np if isinstance(x, np.ndarray) else _jax_numpy()
    lost = (dimension - 1) * delay
    parts = [x[lost - i * delay : len(x) - i * delay] for i in range(dimension)]
    return module.concatenate(parts, axis=-1)


def _jax_numpy():
    import jax.numpy as jnp

    return jnp
