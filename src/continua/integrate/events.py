r"""Events: where a condition crosses zero, the solve ends or the state is changed.

The event is found by steps of its own length: the last step, in which a condition
changed its sign, is taken again, its length corrected by Newton's iteration

    h <- h - g / (dg/dt),   dg/dt = g_t + g_y f,

kept within the bracket, until the correction is a few units of rounding. So an event is
never on a rejected step, and as exact as the method.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError

MOST_EVENTS = 15


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happens where a function of the state crosses zero.

    **Arguments:**

    - `condition`: `(t, y, args)` to a number whose sign changes there.
    - `change`: `(t, y, args)` to the state after it, with which the solve goes on;
      `None` ends the solve.
    - `direction`: 1 where the condition rises through zero on the way from `t0` to `t1`,
      -1 where it falls, 0 both.

    A condition that crosses zero twice within one step is not seen; `PID(largest=...)`
    keeps steps short.

    **Raises:** `InputError` for another direction.
    """

    condition: Callable[[Any, Any, Any], Any]
    change: Callable[[Any, Any, Any], Any] | None = None
    direction: int = 0

    def __post_init__(self):
        if self.direction not in (-1, 0, 1):
            raise InputError(
                f"got {self.direction!r}",
                where="integrate.Event.direction",
                fix="give 1 (rising), -1 (falling) or 0 (both)",
            )


class Flat(NamedTuple):
    """Events of a flat state: `condition(t, y)` to numbers `(e,)`, and `change(t, y)` to
    the states after each of them, `(e, n)`."""

    condition: Callable
    change: Callable


def flat(events: tuple[Event, ...], unravel: Callable, sign: Any, args: Any) -> Flat:
    """Events of trees as those of flat states, in the direction of time `sign`."""

    def condition(s, y):
        state = unravel(y)
        return jnp.stack([jnp.asarray(e.condition(sign * s, state, args)) for e in events])

    def change(s, y):
        state = unravel(y)
        after = [state if e.change is None else e.change(sign * s, state, args) for e in events]
        return jnp.stack([ravel_pytree(a)[0].astype(y.dtype) for a in after])

    return Flat(jax.jit(condition), jax.jit(change))


def check(events: tuple[Event, ...], y0: Any, t0: Any, args: Any) -> None:
    """Whether conditions and changes have the shapes that they must have."""
    if len(events) > MOST_EVENTS:
        raise InputError(
            f"got {len(events)} events, at most {MOST_EVENTS} are possible",
            where="integrate.solve.events",
            fix="put several conditions into one event",
        )
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), y0)
    for i, event in enumerate(events):
        value = jax.eval_shape(lambda y, e=event: e.condition(t0, y, args), state)
        if getattr(value, "shape", ()) != () or not jnp.issubdtype(value.dtype, jnp.floating):
            raise InputError(
                f"the condition of event {i} gives {value.dtype}{list(value.shape)}, "
                "expected one real number",
                where="integrate.solve.events",
                fix="return a number whose sign changes where the event is, such as y[0]",
            )
        change = event.change
        if change is None:
            continue
        after = jax.eval_shape(lambda y, change=change: change(t0, y, args), state)
        if jax.tree.map(lambda x: x.shape, after) != jax.tree.map(lambda x: x.shape, state):
            raise InputError(
                f"the change of event {i} gives another shape than the state",
                where="integrate.solve.events",
                fix="return the whole state after the event",
            )


class Watch(NamedTuple):
    """What each lane knows of its events; `e` of them, `w` lanes.

    **Arguments:**

    - `side`: the signs of the conditions since the last event, `(e, w)`.
    - `hunting`: whether a sign changed in the step that is being tried.
    - `low`, `high`: lengths of that step between which the first change is.
    - `suspects`: which conditions changed their sign before `high`, `(e, w)`.
    - `dt`: the length to be tried next.
    - `count`: events that the trajectory has had.
    """

    side: Any
    hunting: Any
    low: Any
    high: Any
    suspects: Any
    dt: Any
    count: Any


class Verdict(NamedTuple):
    """What a tried step means for the events of its lane.

    **Arguments:**

    - `watch`: what is known now.
    - `held`: whether the step is not kept, for an event lies in it.
    - `fired`: whether it ends at an event; `which` one.
    """

    watch: Watch
    held: Any
    fired: Any
    which: Any


def begin(g: Any, rate: Any, tolerance: Any) -> Watch:
    """Before the first step, or after an event; conditions that are zero by rounding get
    the sign that they are about to have.

    **Arguments:**

    - `g`, `rate`: the conditions and their derivatives in time, `(e, w)`.
    - `tolerance`: of the time of an event, `(w,)`.
    """
    near = jnp.abs(g) <= jnp.abs(rate) * tolerance
    zero = jnp.zeros(g.shape[1:], g.dtype)
    return Watch(
        jnp.sign(jnp.where(near, rate, g)),
        zero > 0,
        zero,
        zero,
        jnp.zeros(g.shape, bool),
        zero,
        jnp.zeros(g.shape[1:], jnp.int32),
    )


def judged(
    watch: Watch, directions: tuple[int, ...], g: Any, rate: Any, dt: Any, good: Any, tolerance: Any
) -> Verdict:
    """Judge a step by the conditions at its end.

    **Arguments:**

    - `watch`: what is known.
    - `directions`: of the events.
    - `g`, `rate`: the conditions and their derivatives in time where it ends, `(e, w)`.
    - `dt`: its length.
    - `good`: whether its numbers can be trusted.
    - `tolerance`: of the time of an event.
    """
    allowed = jnp.asarray(directions)[:, None]
    rises = (watch.side < 0) & (g >= 0) & (allowed >= 0)
    falls = (watch.side > 0) & (g <= 0) & (allowed <= 0)
    crossed = (rises | falls) & good
    any_crossed = jnp.any(crossed, axis=0)
    hunting = watch.hunting | any_crossed
    # A hunt step that failed is too long.
    beyond = any_crossed | (watch.hunting & ~good)
    high = jnp.where(beyond, dt, watch.high)
    low = jnp.where(watch.hunting & ~beyond, dt, jnp.where(watch.hunting, watch.low, 0))
    suspects = jnp.where(any_crossed, crossed, watch.suspects)

    correction = jnp.where(rate == 0, jnp.inf, -g / jnp.where(rate == 0, 1, rate))
    away = jnp.where(suspects & good, jnp.abs(correction), jnp.inf)
    met = away <= tolerance
    earlier = jnp.any(crossed & ~met, axis=0)
    closed = any_crossed & (high - low <= tolerance)
    fired = hunting & good & ((jnp.any(met, axis=0) & ~earlier) | closed)
    which = jnp.argmin(jnp.where(closed & ~crossed, jnp.inf, away), axis=0).astype(jnp.int32)

    next_dt = dt + correction
    inside = suspects & (next_dt > low) & (next_dt < high)
    newton = jnp.min(jnp.where(inside, next_dt, jnp.inf), axis=0)
    guess = jnp.where(jnp.isfinite(newton), newton, 0.5 * (low + high))
    side = jnp.where(hunting | ~good | (g == 0), watch.side, jnp.sign(g))
    held = hunting & ~fired
    guess = jax.lax.stop_gradient(guess)
    known = Watch(side, held, low, high, suspects, guess, watch.count)
    return Verdict(known, held, fired, which)
