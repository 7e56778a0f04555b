"""Fixed steps between the times that are saved, for every method of one step."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from continua.integrate.lanes import spread_over, where
from continua.integrate.trajectory import NON_FINITE, Found


class _State(NamedTuple):
    """Where the last save was reached, and the steps to the next."""

    t: Any
    y: Any
    memory: Any
    steps: Any
    code: Any
    dt: Any
    count: Any


class _Failed(NamedTuple):
    """The last finite state of what failed, and what the step after it computed."""

    t: Any
    y: Any
    memory: Any
    suspect: Any
    steps: Any
    code: Any


def march(method: Any, field: Any, t0: Any, ends: Any, y0: Any, counts: Any, early: bool) -> Found:
    """Integrate a flat state with fixed steps, or many of them side by side.

    **Arguments:**

    - `method`: an `AbstractOneStep`; for many states one whose steps are `on_lanes`.
    - `field`: `(t, y) -> dy/dt`, or a flat `AbstractField`.
    - `t0`: the initial time; `ends`: times of the saves, increasing, `(k,)`.
    - `y0`: `(n,)`, or `(n, m)`.
    - `counts`: steps between two saves; one number for all, known when compiling, or
      one for each.
    - `early`: whether the first save is the initial time itself.
    """
    memory = method.begin(field, t0, y0)
    none = jnp.zeros(y0.shape[1:], jnp.int32)
    t = jnp.broadcast_to(t0, none.shape)
    state = _State(t, y0, memory, none, none, jnp.zeros_like(t), none)
    state = spread_over(state, t0, ends, y0, memory)
    first = (y0[None], method.slope(field, t0, y0, memory)[None], (none == 0)[None])

    def advance(state, item):
        start, end, count = item
        state = _advance(method, field, state, start, end, count)
        slope = method.slope(field, end, state.y, state.memory)
        return state, (state.y, slope, state.code == 0)

    ahead = ends[1:] if early else ends
    starts = jnp.concatenate([t0[None], ahead])[:-1]
    if isinstance(counts, int):  # a loop that can be differentiated in reverse mode
        known = counts
        state, rows = jax.lax.scan(
            lambda state, item: advance(state, (*item, known)), state, (starts, ahead)
        )
    else:
        items = (starts, ahead, counts[1:] if early else counts)
        state, rows = jax.lax.scan(advance, state, items)
    if early:
        rows = tuple(jnp.concatenate(pair) for pair in zip(first, rows, strict=True))
    ys, slopes, reached = rows
    unknown = jnp.full((), jnp.nan, y0.dtype)
    failed = _failed(method, field, state)
    worst = jnp.argmax(jnp.where(jnp.isfinite(failed.suspect), failed.suspect, jnp.inf), axis=0)
    steps = state.steps + failed.steps
    return Found(
        jnp.where(reached[:, None], ys, unknown),
        jnp.where(reached[:, None], slopes, unknown),
        steps,
        none,
        state.code,
        jnp.where(state.code == 0, state.t, failed.t),
        jnp.where(state.code == 0, 0, worst).astype(jnp.int32),
        state.dt,
        1 + method.evaluations * steps,
        jnp.where(state.code == 0, state.y, failed.y),
    )


def _finite(y: Any, memory: Any) -> Any:
    """Whether all numbers are, of each trajectory."""
    leaves = (y, *jax.tree.leaves(memory))
    return functools.reduce(jnp.logical_and, (jnp.all(jnp.isfinite(x), axis=0) for x in leaves))


def _advance(method: Any, field: Any, state: _State, start: Any, target: Any, count: Any) -> _State:
    """`count` equal steps to `target`; where they fail, the state remains.

    Numbers that are not finite stay so, so that it is enough to look at the last.
    """
    dt = (target - start) / jnp.asarray(count, start.dtype)
    weights = method.weights(field, dt)

    def body(i, of):
        t = start + i.astype(start.dtype) * dt
        return method.move(field, weights, t, *of, dt)

    y, memory = jax.lax.fori_loop(0, count, body, (state.y, state.memory))
    before = state.code == 0
    good = before & _finite(y, memory)
    t, y, memory = where(good, (target, y, memory), (state.t, state.y, state.memory))
    return _State(
        t,
        y,
        memory,
        state.steps + jnp.where(good, count, 0),
        jnp.where(before & ~good, NON_FINITE, state.code),
        jnp.where(before, dt, state.dt),
        jnp.where(before, count, state.count),
    )


def _failed(method: Any, field: Any, state: _State) -> _Failed:
    """What failed once more, from its last save to its last finite step; without gradients,
    so that the number of steps need not be known when compiling."""
    again = eqx.filter_closure_convert(functools.partial(_again, method, field), state)
    arrays, rest = eqx.partition(again, eqx.is_array)
    arrays, state = jax.lax.stop_gradient((arrays, state))
    return eqx.combine(arrays, rest)(state)


def _again(method: Any, field: Any, state: _State) -> _Failed:
    dt = state.dt
    weights = method.weights(field, dt)

    def body(i, s: _Failed) -> _Failed:
        t = state.t + i.astype(state.t.dtype) * dt
        y, memory = method.move(field, weights, t, s.y, s.memory, dt)
        going = s.code != 0
        good = going & _finite(y, memory)
        return _Failed(
            jnp.where(good, t + dt, s.t),
            jnp.where(good, y, s.y),
            where(good, memory, s.memory),
            jnp.where(going, jnp.abs(y), s.suspect),
            s.steps + good.astype(jnp.int32),
            jnp.where(good, s.code, 0),
        )

    none = jnp.zeros_like(state.steps)
    begin = _Failed(state.t, state.y, state.memory, jnp.abs(state.y), none, state.code)
    begin = spread_over(begin, state)
    most = jnp.max(jnp.where(state.code != 0, state.count, 0))
    return jax.lax.fori_loop(0, most, body, begin)
