r"""The Kalman filter, the fixed-interval smoother and the likelihood of irregular series.

    dx = F x dt + L dW,   y_k = H x(t_k) + e_k,   e_k ~ N(0, noise^2),
    m <- A m, P <- A P A' + Q;   v = y - H m, S = H P H' + noise^2, K = P H' / S,
    m <- m + K v, P <- (I - K H) P (I - K H)' + K noise^2 K'   (Joseph's form),
    log p(y) = -1/2 sum (log 2 pi S + v^2 / S).

Values between measurements and beyond them are exact as well. Backwards go `l` and `V`,
which say what later measurements know, in the form of Bryson and Frazier of the
fixed-interval smoother, which inverts no covariance:

    l <- A' l, V <- A' V A;   l <- (I - K H)' l - H' v / S, V <- (I - K H)' V (I - K H) + H' H / S,
    m_s = m - P l,   P_s = P - P V P.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from continua.methods.classical.state_space import AbstractStateSpace, Scales, System

_ALIKE = 1e-12  # of the span, by which steps may differ and count as one
_PERIODS = 3
_FREQUENCIES = 2000


@dataclasses.dataclass(frozen=True)
class Group:
    """Series of the variables that one copy of a model explains, of one length.

    **Arguments:**

    - `times`: `(r, T)`, the last one repeated behind the end.
    - `values`: `(r, T, c)`, NaN in gaps and behind the end.
    - `steps`: `(d,)`, each distinct step from one time to the next.
    - `index`: which of them leads to each time, `(r, T)`.
    - `scales`: of the values.
    """

    times: np.ndarray
    values: np.ndarray
    steps: np.ndarray
    index: np.ndarray
    scales: Scales


def group_of(series: list[tuple[np.ndarray, np.ndarray]], columns: list[int]) -> Group:
    """Some columns of series, brought to one length.

    **Arguments:**

    - `series`: times `(T,)` and values `(T, C)` of each, NaN in gaps.
    - `columns`: which of the values; rows without any are left out.
    """
    kept = []
    for t, y in series:
        there = np.isfinite(y[:, columns]).any(axis=1)
        kept.append((t[there], y[there][:, columns]))
    longest = max(len(t) for t, _ in kept)
    times = np.stack([_padded(t, longest, t[-1] if len(t) else 0.0) for t, _ in kept])
    values = np.stack([_padded(y, longest, np.nan) for _, y in kept])
    between = np.diff(times, axis=1, prepend=times[:, :1])
    span = max(float(np.max(times[:, -1] - times[:, 0])), 1e-300)
    _, first, index = np.unique(
        np.round(between / (_ALIKE * span)), return_index=True, return_inverse=True
    )
    steps = between.reshape(-1)[first]
    # The first step, to the first time, is none: it is among them, as it is 0.
    positive = between[between > 0]
    spread = float(np.nanstd(values)) or 1.0
    step = float(np.median(positive)) if len(positive) else 1.0
    scales = Scales(spread, span if len(positive) else 1.0, step, _periods(kept, span, step))
    return Group(times, values, steps, index.reshape(times.shape), scales)


def _padded(x: np.ndarray, length: int, value: float) -> np.ndarray:
    rest = np.full((length - len(x), *x.shape[1:]), value)
    return np.concatenate([x, rest])


def _periods(series: list[tuple[np.ndarray, np.ndarray]], span: float, step: float):
    """The strongest periods, by least squares of a sine at each frequency."""
    count = int(np.clip(8 * span / step, 8, _FREQUENCIES))
    frequency = (
        np.linspace(1 / span, 0.5 / step, count) if span > 2 * step else np.array([1 / span])
    )
    power = np.zeros(len(frequency))
    for t, y in series:
        for column in y.T:
            there = np.isfinite(column)
            z = column[there] - np.mean(column[there]) if there.any() else column[there]
            turn = 2j * np.pi * np.outer(frequency, t[there])
            power += np.abs(np.exp(turn) @ z) ** 2
    inner = np.concatenate([[-np.inf], power, [-np.inf]])
    peaks = np.flatnonzero((inner[1:-1] >= inner[:-2]) & (inner[1:-1] >= inner[2:]))
    best = peaks[np.argsort(-power[peaks], kind="stable")][:_PERIODS]
    return tuple(float(1 / f) for f in frequency[best])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Filtered:
    """What a filter leaves of one series, after each time.

    **Arguments:**

    - `mean`, `covariance`: given the measurements so far, `(T, n)` and `(T, n, n)`.
    - `gap`, `variance`, `gain`: `v`, `S` and `K` of each measurement, `(T, c)`, `(T, c)` and
      `(T, c, n)`.
    - `log_likelihood`: of all measurements.
    """

    mean: Any
    covariance: Any
    gap: Any
    variance: Any
    gain: Any
    log_likelihood: Any


def filtered(system: System, transitions: Any, index: Any, values: Any, noise: Any) -> Filtered:
    """The Kalman filter over one series, its measurements one number after the other.

    **Arguments:**

    - `system`: the model; its mean and covariance are those before the first step.
    - `transitions`: `A` and `Q` of each distinct step, `(d, n, n)`.
    - `index`: which of them leads to each time, `(T,)`.
    - `values`: `(T, c)`, NaN in gaps.
    - `noise`: standard deviation of each variable, `(c,)`.
    """
    a, q = transitions
    there, values = jnp.isfinite(values), jnp.nan_to_num(values)
    eye = jnp.eye(system.mean.shape[0], dtype=values.dtype)

    def advance(carry, row):
        m, p = carry
        k, y, seen = row
        m, p = a[k] @ m, a[k] @ p @ a[k].T + q[k]
        kept, total = [], jnp.zeros((), values.dtype)
        for c in range(values.shape[1]):
            h = system.output[c]
            gap, ph = y[c] - h @ m, p @ h
            variance = h @ ph + noise[c] ** 2
            gain = jnp.where(seen[c], ph / variance, 0.0)
            left = eye - jnp.outer(gain, h)
            m = m + gain * gap
            p = left @ p @ left.T + noise[c] ** 2 * jnp.outer(gain, gain)
            log = -0.5 * (jnp.log(2 * jnp.pi * variance) + gap**2 / variance)
            total = total + jnp.where(seen[c], log, 0.0)
            kept.append((gap, variance, gain))
        gaps, variances, gains = (jnp.stack(x) for x in zip(*kept, strict=True))
        return (m, p), (m, p, gaps, variances, gains, total)

    rows = (index, values, there)
    _, found = jax.lax.scan(advance, (system.mean, system.covariance), rows)
    return Filtered(*found[:5], jnp.sum(found[5]))


def later(
    system: System, transitions: Any, index: Any, values: Any, found: Filtered
) -> tuple[Any, Any]:
    """What each measurement and those after it know, `l` `(T, n)` and `V` `(T, n, n)`.

    **Arguments:**

    - `system`, `transitions`, `index`, `values`: as `filtered`.
    - `found`: what it returned.
    """
    a, _ = transitions
    n, dtype = system.mean.shape[0], found.mean.dtype
    eye, there = jnp.eye(n, dtype=dtype), jnp.isfinite(values)

    def retreat(carry, row):
        vector, matrix, step = carry
        k, seen, gap, variance, gain = row
        vector, matrix = a[step].T @ vector, a[step].T @ matrix @ a[step]
        for c in reversed(range(values.shape[1])):
            h, left = system.output[c], eye - jnp.outer(gain[c], system.output[c])
            share = jnp.where(seen[c], 1 / variance[c], 0.0)
            vector = left.T @ vector - h * gap[c] * share
            matrix = left.T @ matrix @ left + jnp.outer(h, h) * share
        return (vector, matrix, k), (vector, matrix)

    start = (jnp.zeros(n, dtype), jnp.zeros((n, n), dtype), index[-1])
    rows = (index, there, found.gap, found.variance, found.gain)
    _, (vectors, matrices) = jax.lax.scan(retreat, start, rows, reverse=True)
    return vectors, matrices


def log_likelihood(
    model: AbstractStateSpace, values: Mapping[str, Any], noise: Any, group: Group
) -> Any:
    """`log p(y)` of all series, which JAX can differentiate.

    **Arguments:**

    - `model`: a state-space model.
    - `values`: of its free numbers.
    - `noise`: `(c,)`.
    - `group`: the data.
    """
    system = model.system(values, group.scales)
    dtype = jnp.zeros(()).dtype
    moves = jax.vmap(system.transition)(jnp.asarray(group.steps, dtype))
    data = jnp.asarray(group.values, dtype)
    each = jax.vmap(lambda i, y: filtered(system, moves, i, y, noise).log_likelihood)
    return jnp.sum(each(jnp.asarray(group.index), data))
