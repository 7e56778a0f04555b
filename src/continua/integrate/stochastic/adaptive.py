r"""Adaptive steps of stochastic methods on the dyadic tree of each cell.

A step is a piece of the tree. One whose error is too large is replaced by its left half,
given the increment that it had; after one with a small error, a step that may begin
there is twice as long. So the Brownian path is the same whatever steps are tried, and
choosing them by what it does brings it no bias. A piece that begins in the right half of
a rejected one does not reach beyond its end, so no time that was tried is passed over:
the condition under which methods like Heun's converge, for general noise too.

**Reference:** gaines1997variable, foster2023convergence
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate.runge_kutta import error_norm
from continua.integrate.stochastic import brownian
from continua.integrate.stochastic.fixed import Steps
from continua.integrate.trajectory import (
    NON_FINITE,
    STEP_LIMIT,
    Found,
    all_finite,
    hide_unreached,
    worst_component,
)

_FIRST_LEVEL = 4  # a long first step may look good by chance
_DOUBLE_BELOW = 0.25  # the error of a doubled step is about 2 to 3 times as large


class _State(NamedTuple):
    y: Any
    memory: Any
    cell: Any  # of the interval
    level: Any  # of the step: it is one of `2**level` pieces of the cell
    position: Any  # which of them
    steps: Any
    rejected: Any
    code: Any
    suspect: Any
    dt_last: Any


def march(
    method: Any, sde: Any, seed: Any, t0: Any, ends: Any, y0: Any, steps: Steps,
    rtol: Any, atol: Any, max_steps: int,
) -> Found:  # fmt: skip
    """Integrate a flat state of one path with steps of its own.

    **Arguments:**

    - `method`: an `AbstractEstimating`.
    - `sde`, `seed`, `t0`, `ends`, `y0`, `steps`: as for fixed steps, of one path.
    - `rtol`, `atol`: tolerances of the error of a step.
    - `max_steps`: accepted and rejected ones at the most.

    **Returns:** what was found, without slopes.
    """
    starts = jnp.concatenate([t0[None], ends[:-1]])
    zero = jnp.zeros((), jnp.int32)
    code = jnp.where(all_finite(y0), zero, NON_FINITE)
    level, position = jnp.full((), _FIRST_LEVEL, jnp.int32), jnp.zeros((), jnp.int32)
    memory = method.begin(sde, t0, y0)
    state = _State(
        y0, memory, zero, level, position, zero, zero, code, jnp.abs(y0), jnp.zeros_like(t0)
    )

    def advance(state, interval):
        start, end, count, first_cell = interval
        h = (end - start) / jnp.maximum(count, 1).astype(start.dtype)

        def attempt(s: _State) -> _State:
            dt = jnp.ldexp(h, -s.level)
            t = start + s.cell.astype(h.dtype) * h + s.position.astype(h.dtype) * dt
            dw = brownian.of_piece(seed, first_cell + s.cell, h, s.level, s.position)
            new, memory, error = method.move(sde, t, s.y, s.memory, dt, dw)
            size, _ = error_norm(error, s.y, new, rtol, atol)
            return _decide(s, new, memory, size, dt)

        def running(s: _State):
            return (s.cell < count) & (s.code == 0) & (s.steps + s.rejected < max_steps)

        state = state._replace(cell=jnp.zeros_like(state.cell))
        state = jax.lax.while_loop(running, attempt, state)
        late = (state.code == 0) & (state.cell < count)
        state = state._replace(code=jnp.where(late, STEP_LIMIT, state.code))
        cells = state.cell.astype(h.dtype) + jnp.ldexp(state.position.astype(h.dtype), -state.level)
        t = jnp.where(state.code == 0, end, start + cells * h)
        good = state.code == 0
        return state, (state.y, good, t)

    intervals = (starts, ends, steps.counts, steps.first_cells)
    state, (ys, reached, t_ends) = jax.lax.scan(advance, state, intervals)
    fail = jnp.argmin(reached)
    return Found(
        hide_unreached(ys, reached),
        None,
        state.steps,
        state.rejected,
        state.code,
        jnp.where(state.code == 0, ends[-1], t_ends[fail]),
        jnp.where(state.code == 0, 0, worst_component(state.suspect)).astype(jnp.int32),
        state.dt_last,
        method.evaluations * (state.steps + state.rejected),
        state.y,
    )


def _decide(s: _State, new, memory, size, dt) -> _State:
    """Go on after a step, or to its left half."""
    finite = all_finite(new) & jnp.isfinite(size)
    accept = finite & (size <= 1.0)
    # Onwards: the next piece of the level, or the one twice as long that begins there.
    position = s.position + 1
    up = (size < _DOUBLE_BELOW) & (position % 2 == 0) & (s.level > 0)
    level = jnp.where(up, s.level - 1, s.level)
    position = jnp.where(up, position // 2, position)
    through = position == jnp.left_shift(1, level)
    stuck = ~accept & (s.level >= brownian.LEVELS)

    def kept(a, b):
        return jnp.where(accept, a, b)

    return _State(
        y=kept(new, s.y),
        memory=jax.tree.map(kept, memory, s.memory),
        cell=s.cell + (accept & through).astype(jnp.int32),
        level=kept(level, jnp.where(stuck, s.level, s.level + 1)),
        position=kept(
            jnp.where(through, 0, position), jnp.where(stuck, s.position, 2 * s.position)
        ),
        steps=s.steps + accept.astype(jnp.int32),
        rejected=s.rejected + (~accept).astype(jnp.int32),
        code=jnp.where(stuck, NON_FINITE, s.code).astype(jnp.int32),
        suspect=jnp.abs(new),
        dt_last=dt,
    )
