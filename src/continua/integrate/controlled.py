r"""Controlled differential equations, `dz = F(t, z) dX`, and the controls that drive them.

A control is a path through data, `X: [t_0, t_n] -> R^C`; the equation is solved as

    dz/dt = F(t, z, args) X'(t).

Over long series, a control of log-signatures sums up each window of the data in a few
numbers more than its increment, so that the solve takes few and long steps.
"""

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.integrate.lanes import spread_over

DEEPEST = 3


class LinearControl(eqx.Module):
    """Straight lines between knots.

    **Arguments:**

    - `ts`: increasing times `(T,)`.
    - `xs`: values `(T, C)`, without gaps; see `filled`.

    **Raises:** `InputError` for times that do not increase, or values with gaps.
    """

    ts: Float[Array, " T"]
    xs: Float[Array, "T C"]

    def __init__(self, ts, xs):
        self.ts, self.xs = _knots(ts, xs, "LinearControl")

    def __call__(self, t: Any) -> Float[Array, " C"]:
        """`X(t)`."""
        i = _interval(self.ts, t)
        return self.xs[i] + (t - self.ts[i]) * self.derivative(t)

    def derivative(self, t: Any) -> Float[Array, " C"]:
        """`X'(t)`, at a knot that of the interval after it."""
        i = _interval(self.ts, t)
        return (self.xs[i + 1] - self.xs[i]) / (self.ts[i + 1] - self.ts[i])


class HermiteControl(eqx.Module):
    r"""Cubic polynomials with the slopes of backward differences.

    `X(t_i + s) = x_i + b_i s + (D_i - b_i) (2 s^2/h_i - s^3/h_i^2)`, `D_i` the difference
    quotient of the interval and `b_i = D_{i-1}`: once differentiable, and looking one knot
    ahead at the most.

    **Arguments:** as `LinearControl`.

    **Raises:** as `LinearControl`.

    **Reference:** morrill2021neural
    """

    ts: Float[Array, " T"]
    xs: Float[Array, "T C"]

    def __init__(self, ts, xs):
        self.ts, self.xs = _knots(ts, xs, "HermiteControl")

    def __call__(self, t: Any) -> Float[Array, " C"]:
        """`X(t)`."""
        i, s, h, slope, before = self._here(t)
        return self.xs[i] + before * s + (slope - before) * (2 * s**2 / h - s**3 / h**2)

    def derivative(self, t: Any) -> Float[Array, " C"]:
        """`X'(t)`."""
        _, s, h, slope, before = self._here(t)
        return before + (slope - before) * (4 * s / h - 3 * s**2 / h**2)

    def _here(self, t):
        i = _interval(self.ts, t)
        j = jnp.maximum(i - 1, 0)
        h, h_before = self.ts[i + 1] - self.ts[i], self.ts[j + 1] - self.ts[j]
        slope = (self.xs[i + 1] - self.xs[i]) / h
        return i, t - self.ts[i], h, slope, (self.xs[j + 1] - self.xs[j]) / h_before


def rectilinear(ts: Float[Array, " T"], xs: Float[Array, "T C"]) -> LinearControl:
    """A control that never looks ahead: time moves on, then the values jump to the new ones.

    Its parameter is the number of a knot, 0 to `2 T - 2`; time is its channel 0. Gaps are
    filled with the last value before them, and with 0 before the first.

    **Arguments:**

    - `ts`: times `(T,)`.
    - `xs`: values `(T, C)`, with NaN in gaps.

    **Reference:** morrill2021neural
    """
    ts = jnp.asarray(ts)
    known = _last_known(jnp.asarray(xs))
    known = jnp.where(jnp.isnan(known), 0, known)
    times = jnp.repeat(ts, 2)[1:]
    values = jnp.repeat(known, 2, axis=0)[:-1]
    knots = jnp.arange(times.size).astype(times.dtype)
    return LinearControl(knots, jnp.concatenate([times[:, None], values], axis=1))


def filled(ts: Float[Array, " T"], xs: Float[Array, "T C"]) -> Float[Array, "T C"]:
    """Values with gaps filled by straight lines, and at the ends by the nearest value.

    **Arguments:**

    - `ts`: times `(T,)`.
    - `xs`: values `(T, C)`, with NaN in gaps; a channel without any value becomes 0.
    """
    ts, xs = jnp.asarray(ts), jnp.asarray(xs)
    there = ~jnp.isnan(xs)
    index = jnp.broadcast_to(jnp.arange(ts.size)[:, None], xs.shape)
    before = jax.lax.cummax(jnp.where(there, index, -1))
    after = jax.lax.cummin(jnp.where(there, index, ts.size), reverse=True)
    lower = jnp.where(before < 0, after, before)
    upper = jnp.where(after >= ts.size, before, after)
    lower, upper = (jnp.clip(i, 0, ts.size - 1) for i in (lower, upper))
    left, right = (jnp.take_along_axis(jnp.where(there, xs, 0), i, axis=0) for i in (lower, upper))
    gap = jnp.where(upper > lower, ts[upper] - ts[lower], 1)
    return left + (right - left) * (ts[:, None] - ts[lower]) / gap


def with_time(ts: Float[Array, " T"], xs: Float[Array, "T C"]) -> Float[Array, "T C1"]:
    """Values with time as channel 0, which tells a controlled equation how fast it goes.

    **Arguments:**

    - `ts`: times `(T,)`.
    - `xs`: values `(T, C)`.
    """
    return jnp.concatenate([jnp.asarray(ts)[:, None], jnp.asarray(xs)], axis=1)


def controlled(field: Callable[[Any, Any, Any], Any], control: Any = None) -> Callable:
    r"""The field of `dz = field(t, z, args) dX`, to hand to `integrate.solve`.

    Where the control jumps in its derivative, as linear ones do, save at its knots with
    `dense=False`, or take fixed steps.

    **Arguments:**

    - `field`: `(t, z, args)` to a tree like `z`, whose arrays have a last axis of channels.
    - `control`: something with `derivative(t)`, such as `HermiteControl`; by default
      `args` is the pair of a control and what `field` is handed, so that controls of many
      series can be mapped over.
    """

    def along(t, z, args):
        path, args = args if control is None else (control, args)
        rate = path.derivative(t)
        return jax.tree.map(lambda f: f @ rate.astype(f.dtype), field(t, z, args))

    return along


def signature(xs: Float[Array, "T C"], depth: int) -> Float[Array, " words"]:
    r"""The signature of a path of straight lines, `int_{s_1 < ... < s_k} dx (x) ... (x) dx`.

    `S = exp(dx_1) (x) ... (x) exp(dx_T)`, `exp(v) = sum_k v^{(x) k} / k!` (Chen). It sees no
    speed and no level: join time and a first point at 0 where these matter.

    **Arguments:**

    - `xs`: the points `(T, C)`.
    - `depth`: the longest words, 1 or more.

    **Returns:** all words but the empty one, short ones first, `sum_k C^k` numbers.

    **Reference:** morrill2021neuralrough
    """
    return jnp.concatenate([level.reshape(-1) for level in _signature(jnp.asarray(xs), depth)])


def log_signature(xs: Float[Array, "T C"], depth: int) -> Float[Array, " beta"]:
    r"""The log-signature of a path of straight lines, at Lyndon words.

    Signatures are multiplied up by Chen's identity, `S <- S (x) exp(dx)`, and
    `log S = (S - 1) - (S - 1)^2 / 2 + (S - 1)^3 / 3`.

    **Arguments:**

    - `xs`: the points `(T, C)`.
    - `depth`: 1, 2 or 3.

    **Returns:** the increments, then the words of length 2 and 3 of `lyndon_words`.

    **Raises:** `InputError` for another depth.

    **Reference:** morrill2021neuralrough
    """
    levels = _log(_signature(jnp.asarray(xs), depth))
    words = lyndon_words(xs.shape[1], depth)
    return jnp.stack([levels[len(word) - 1][word] for word in words])


def lyndon_words(channels: int, depth: int) -> list[tuple[int, ...]]:
    """Words that are smaller than all their rotations, short ones first.

    **Arguments:**

    - `channels`: letters, `C`.
    - `depth`: the longest word, 1 to 3.
    """
    if depth not in range(1, DEEPEST + 1):
        raise InputError(
            f"got {depth!r}, expected 1, 2 or 3",
            where="integrate.log_signature.depth",
            fix="deeper ones have too many entries to be of use",
        )
    return [
        word
        for length in range(1, depth + 1)
        for word in itertools.product(range(channels), repeat=length)
        if all(word < word[i:] + word[:i] for i in range(1, length))
    ]


def log_signature_control(
    ts: Float[Array, " T"], xs: Float[Array, "T C"], window: int, depth: int
) -> LinearControl:
    r"""A control whose increment over each window is the log-signature of the data there.

    With it, `controlled` solves the log-ODE `dz/dt = G(z) L_k / (r_{k+1} - r_k)`.

    **Arguments:**

    - `ts`: times `(T,)`.
    - `xs`: values without gaps `(T, C)`, time among them; see `with_time`.
    - `window`: intervals of the data in a window; the last may have fewer.
    - `depth`: of the log-signatures, 1 to 3.

    **Raises:** `InputError` for another depth, or a window without an interval.

    **Reference:** morrill2021neuralrough
    """
    ts, xs = _knots(ts, xs, "log_signature_control")
    if window < 1:
        raise InputError(
            f"got {window}",
            where="integrate.log_signature_control.window",
            fix="give the number of intervals in a window, such as 8",
        )
    count = -(-(ts.size - 1) // window)
    # A short last window is filled up with its last point, where the path stands still.
    at = np.minimum(np.arange(count)[:, None] * window + np.arange(window + 1), ts.size - 1)
    parts = jax.vmap(lambda part: log_signature(part, depth))(xs[at])
    total = jnp.concatenate([jnp.zeros_like(parts[:1]), jnp.cumsum(parts, axis=0)])
    return LinearControl(ts[np.append(at[:, 0], ts.size - 1)], total)


def _signature(xs, depth: int) -> tuple:
    """Levels 1 to `depth` of the signature of straight lines through points."""

    def add(levels, dx):
        return _grown(levels, dx), None

    zero = tuple(jnp.zeros((xs.shape[1],) * k, xs.dtype) for k in range(1, depth + 1))
    return jax.lax.scan(add, spread_over(zero, xs), jnp.diff(xs, axis=0))[0]


def _grown(levels: tuple, dx) -> tuple:
    """Levels of `S (x) exp(dx)`, by Horner's rule: for level 3
    `S_3 + (S_2 + (S_1 + dx / 3) (x) dx / 2) (x) dx`."""
    found = []
    for k in range(1, len(levels) + 1):
        part = dx / k
        for j in range(1, k):
            part = (levels[j - 1] + part)[..., None] * (dx / (k - j))
        found.append(levels[k - 1] + part)
    return tuple(found)


def _middle(a: tuple, b: tuple, k: int):
    """Level `k + 1` of the product of two series that begin with level 1."""
    total = jnp.zeros_like(a[k])
    for i in range(k):
        total = total + jnp.tensordot(a[i], b[k - 1 - i], axes=0)
    return total


def _log(s: tuple) -> tuple:
    """Levels of the logarithm of a series that begins with 1."""
    square = tuple(_middle(s, s, k) for k in range(len(s)))
    cube = tuple(_middle(square, s, k) for k in range(len(s)))
    return tuple(a - b / 2 + c / 3 for a, b, c in zip(s, square, cube, strict=True))


def _interval(ts, t):
    return jnp.clip(jnp.searchsorted(ts, t, side="right") - 1, 0, ts.size - 2)


def _last_known(xs):
    index = jnp.broadcast_to(jnp.arange(xs.shape[0])[:, None], xs.shape)
    last = jax.lax.cummax(jnp.where(jnp.isnan(xs), 0, index))
    return jnp.take_along_axis(xs, last, axis=0)


def _knots(ts, xs, where: str):
    ts, xs = jnp.asarray(ts), jnp.asarray(xs)
    if xs.ndim != 2 or ts.shape != xs.shape[:1] or ts.size < 2:
        raise InputError(
            f"got times {ts.shape} and values {xs.shape}",
            where=f"integrate.{where}",
            fix="give times (T,) and values (T, C), T at least 2; map over many series",
        )
    if isinstance(ts, Tracer) or isinstance(xs, Tracer):
        return ts, xs
    if not bool(jnp.all(jnp.diff(ts) > 0)):
        raise InputError(
            "the times do not increase", where=f"integrate.{where}.ts", fix="sort them"
        )
    if bool(jnp.any(jnp.isnan(xs))):
        raise InputError(
            "the values have gaps",
            where=f"integrate.{where}.xs",
            fix="fill them with filled(ts, xs), or take rectilinear(ts, xs)",
        )
    return ts, xs
