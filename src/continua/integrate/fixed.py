"""Fixed steps between the times that are saved, for every method of one step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate.trajectory import NON_FINITE, Found


class _State(NamedTuple):
    t: Any
    y: Any
    memory: Any
    dt_last: Any
    suspect: Any  # what the last step computed
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
    state = _State(t, y0, memory, jnp.zeros_like(t), jnp.zeros_like(jnp.abs(y0)), none, none)
    first = (y0[None], method.slope(field, t0, y0, memory)[None], (none == 0)[None])

    def advance(state, item):
        start, end, count = item
        count = counts if isinstance(counts, int) else count
        state = _advance(method, field, state, start, end, count)
        slope = method.slope(field, end, state.y, state.memory)
        return state, (state.y, slope, state.code == 0)

    ahead = ends[1:] if early else ends
    starts = jnp.concatenate([t0[None], ahead])[:-1]
    late = counts if isinstance(counts, int) else counts[1:] if early else counts
    items = (starts, ahead, ahead if isinstance(counts, int) else late)
    state, rows = jax.lax.scan(advance, state, items)
    if early:
        rows = tuple(jnp.concatenate(pair) for pair in zip(first, rows, strict=True))
    ys, slopes, reached = rows
    unknown = jnp.full((), jnp.nan, y0.dtype)
    worst = jnp.argmax(jnp.where(jnp.isfinite(state.suspect), state.suspect, jnp.inf), axis=0)
    return Found(
        jnp.where(reached[:, None], ys, unknown),
        jnp.where(reached[:, None], slopes, unknown),
        state.steps,
        none,
        state.code,
        state.t,
        jnp.where(state.code == 0, 0, worst).astype(jnp.int32),
        state.dt_last,
        1 + method.evaluations * state.steps,
        state.y,
    )


def _advance(method: Any, field: Any, state: _State, start: Any, target: Any, count: Any) -> _State:
    """`count` equal steps to `target`; the last finite state is kept on a failure."""
    dt = (target - start) / jnp.asarray(count, start.dtype)
    weights = method.weights(field, dt)

    def body(i, s: _State) -> _State:
        t = start + i.astype(start.dtype) * dt
        new, memory = method.move(field, weights, t, s.y, s.memory, dt)
        finite = jnp.all(jnp.isfinite(new), axis=0)
        for leaf in jax.tree.leaves(memory):
            finite = finite & jnp.all(jnp.isfinite(leaf), axis=0)
        good = finite & (s.code == 0)

        def kept(a, b):
            return jnp.where(good, a, b)

        return s._replace(
            t=kept(t + dt, s.t),
            y=kept(new, s.y),
            memory=jax.tree.map(kept, memory, s.memory),
            dt_last=jnp.broadcast_to(dt, s.t.shape),
            suspect=jnp.where(s.code == 0, jnp.abs(new), s.suspect),
            steps=s.steps + good.astype(s.steps.dtype),
            code=jnp.where((s.code == 0) & ~good, NON_FINITE, s.code),
        )

    after = jax.lax.fori_loop(0, count, body, state)
    return after._replace(t=jnp.where(after.code == 0, target, after.t))
