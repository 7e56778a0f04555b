"""A line search for the strong Wolfe conditions, with cubic interpolation."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class LineSearch(NamedTuple):
    """Where a line search ended.

    **Arguments:**

    - `length`: the accepted step length, 0 where none was found.
    - `value`, `gradient`: of the function there.
    - `evaluations`: how often the function and its gradient were evaluated.
    """

    length: Float[Array, ""]
    value: Float[Array, ""]
    gradient: Float[Array, " p"]
    evaluations: Int[Array, ""]


class _Bracket(NamedTuple):
    low: Array  # best point so far: satisfies sufficient decrease
    low_value: Array
    low_slope: Array
    high: Array  # other end, infinite as long as there is none
    high_value: Array
    high_slope: Array
    trial: Array
    gradient: Array  # at `low`
    done: Bool[Array, ""]
    evaluations: Int[Array, ""]


def strong_wolfe(
    function: Callable[[Float[Array, " p"]], tuple[Array, Array]],
    start: Float[Array, " p"],
    direction: Float[Array, " p"],
    value: Float[Array, ""],
    gradient: Float[Array, " p"],
    first: Float[Array, ""] | float = 1.0,
    *,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    limit: int = 20,
) -> LineSearch:
    """A length `a` with enough decrease and a flat enough slope.

    `f(x + a p) <= f(x) + decrease a f'` and `|f'(x + a p)| <= curvature |f'(x)|`,
    slopes along `p`. Points where the function is not finite are walked back from.

    **Arguments:**

    - `function`: `(p,)` to value and gradient.
    - `start`, `direction`, `value`, `gradient`: `x`, `p`, `f(x)`, its gradient.
    - `first`: the first length that is tried, 1.
    - `limit`: most evaluations; after them the best point that decreases is taken.

    **Reference:** nocedal2006numerical
    """
    slope = jnp.dot(gradient, direction)
    zero = jnp.zeros((), start.dtype)
    infinite = jnp.full((), jnp.inf, start.dtype)
    initial = _Bracket(
        low=zero,
        low_value=value,
        low_slope=slope,
        high=infinite,
        high_value=infinite,
        high_slope=zero,
        trial=jnp.asarray(first, start.dtype),
        gradient=gradient,
        done=~(slope < 0),
        evaluations=jnp.zeros((), int),
    )

    def go_on(b):
        return ~b.done & (b.evaluations < limit)

    def body(b):
        new_value, new_gradient = function(start + b.trial * direction)
        new_slope = jnp.dot(new_gradient, direction)
        bad = ~(jnp.isfinite(new_value) & jnp.isfinite(new_slope))
        bad |= new_value > value + decrease * b.trial * slope
        bad |= (new_value >= b.low_value) & (b.low > 0)
        flat = ~bad & (jnp.abs(new_slope) <= -curvature * slope)
        return _narrow(b, new_value, new_slope, new_gradient, bad, flat)

    end = jax.lax.while_loop(go_on, body, initial)
    return LineSearch(end.low, end.low_value, end.gradient, end.evaluations)


def _narrow(b: _Bracket, value, slope, gradient, bad, flat) -> _Bracket:
    width = jnp.where(jnp.isfinite(b.high), b.high - b.low, 1.0)
    turn = ~bad & (slope * width >= 0)  # the minimum lies back towards `low`
    choose = jnp.where
    high = choose(bad, b.trial, choose(turn, b.low, b.high))
    high_value = choose(bad, value, choose(turn, b.low_value, b.high_value))
    high_slope = choose(bad, slope, choose(turn, b.low_slope, b.high_slope))
    low = choose(bad, b.low, b.trial)
    low_value = choose(bad, b.low_value, value)
    low_slope = choose(bad, b.low_slope, slope)
    inside = _cubic(low, low_value, low_slope, high, high_value, high_slope)
    trial = choose(jnp.isfinite(high), inside, 3.0 * b.trial)
    return _Bracket(
        low,
        low_value,
        low_slope,
        high,
        high_value,
        high_slope,
        trial,
        choose(bad, b.gradient, gradient),
        flat,
        b.evaluations + 1,
    )


def _cubic(a, fa, da, b, fb, db):
    """The minimum of the cubic through both ends, kept off them; else the middle."""
    width = b - a
    finite = jnp.isfinite(fb) & jnp.isfinite(db) & jnp.isfinite(width)
    safe = jnp.where(finite & (width != 0), width, 1.0)
    fb, db = jnp.where(finite, fb, fa), jnp.where(finite, db, da)
    d1 = da + db - 3 * (fa - fb) / (-safe)
    square = d1 * d1 - da * db
    d2 = jnp.sign(safe) * jnp.sqrt(jnp.maximum(square, 0.0))
    denominator = db - da + 2 * d2
    share = 1 - (db + d2 - d1) / jnp.where(denominator == 0, 1.0, denominator)
    good = finite & (square >= 0) & (denominator != 0) & jnp.isfinite(share)
    share = jnp.clip(jnp.where(good, share, 0.5), 0.1, 0.9)
    return a + share * jnp.where(jnp.isfinite(width), width, 0.0)
