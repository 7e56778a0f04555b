"""Fixed steps between the times that are saved, for every method of one step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate.trajectory import (
    NON_FINITE,
    Found,
    all_finite,
    hide_unreached,
    worst_component,
)


class _State(NamedTuple):
    t: Any
    y: Any
    memory: Any
    dt_last: Any
    suspect: Any  # what the last step computed
    steps: Any
    code: Any


def march(method: Any, field: Any, t0: Any, ends: Any, y0: Any, counts: Any, early: bool) -> Found:
    """Integrate a flat state with fixed steps.

    **Arguments:**

    - `method`: an `AbstractOneStep`.
    - `field`: `(t, y) -> dy/dt`, or a flat `AbstractField`.
    - `t0`: the initial time; `ends`: times of the saves, increasing, `(k,)`.
    - `y0`: `(n,)`.
    - `counts`: steps between two saves; one number for all, known when compiling, or
      one for each.
    - `early`: whether the first save is the initial time itself.
    """
    memory = method.begin(field, t0, y0)
    zero = jnp.zeros((), jnp.int32)
    state = _State(t0, y0, memory, jnp.zeros_like(t0), jnp.zeros_like(jnp.abs(y0)), zero, zero)
    first = (y0[None], method.slope(field, t0, y0, memory)[None], jnp.ones((1,), bool))

    def advance(state, item):
        end, count = item
        count = counts if isinstance(counts, int) else count
        state = _advance(method, field, state, end, count)
        slope = method.slope(field, state.t, state.y, state.memory)
        return state, (state.y, slope, state.code == 0)

    ahead = ends[1:] if early else ends
    items = (ahead, ahead if isinstance(counts, int) else counts)
    state, rows = jax.lax.scan(advance, state, items)
    if early:
        rows = tuple(jnp.concatenate(pair) for pair in zip(first, rows, strict=True))
    ys, slopes, reached = rows
    return Found(
        hide_unreached(ys, reached),
        hide_unreached(slopes, reached),
        state.steps,
        zero,
        state.code,
        state.t,
        jnp.where(state.code == 0, 0, worst_component(state.suspect)).astype(jnp.int32),
        state.dt_last,
        1 + method.evaluations * state.steps,
        state.y,
    )


def _advance(method: Any, field: Any, state: _State, target: Any, count: Any) -> _State:
    """`count` equal steps to `target`; the last finite state is kept on a failure."""
    start = state.t
    dt = (target - start) / jnp.asarray(count, start.dtype)
    weights = method.weights(field, dt)

    def body(i, s: _State) -> _State:
        t = start + i.astype(start.dtype) * dt
        new, memory = method.move(field, weights, t, s.y, s.memory, dt)
        finite = all_finite(new)
        for leaf in jax.tree.leaves(memory):
            finite = finite & all_finite(leaf)
        good = finite & (s.code == 0)

        def kept(a, b):
            return jnp.where(good, a, b)

        return s._replace(
            t=kept(t + dt, s.t),
            y=kept(new, s.y),
            memory=jax.tree.map(kept, memory, s.memory),
            dt_last=dt,
            suspect=jnp.where(s.code == 0, jnp.abs(new), s.suspect),
            steps=s.steps + good.astype(s.steps.dtype),
            code=jnp.where((s.code == 0) & ~good, NON_FINITE, s.code),
        )

    after = jax.lax.fori_loop(0, count, body, state)
    return after._replace(t=jnp.where(after.code == 0, target, after.t))
