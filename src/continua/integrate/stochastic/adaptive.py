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

from continua.integrate.lanes import spread_over
from continua.integrate.runge_kutta import error_norm
from continua.integrate.stochastic import brownian
from continua.integrate.stochastic.fixed import Steps
from continua.integrate.stochastic.jumps import Candidates, Piece, after, cut, land
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
    left: Any  # whether the interval between saves is not over
    piece: Piece  # of the interval, where there are jumps
    candidates: Any  # for jumps, that were passed
    level: Any  # of the step: it is one of `2**level` parts of the piece
    position: Any  # which of them
    steps: Any
    rejected: Any
    code: Any
    suspect: Any
    dt_last: Any


def march(
    method: Any, sde: Any, seed: Any, t0: Any, ends: Any, y0: Any, steps: Steps,
    rtol: Any, atol: Any, max_steps: int, drawn: Candidates | None = None,
) -> Found:  # fmt: skip
    """Integrate a flat state of one path with steps of its own.

    **Arguments:**

    - `method`: an `AbstractEstimating`.
    - `sde`, `seed`, `t0`, `ends`, `y0`, `steps`: as for fixed steps, of one path.
    - `rtol`, `atol`: tolerances of the error of a step.
    - `max_steps`: accepted and rejected ones at the most.
    - `drawn`: what is drawn of the jumps, `None` without.

    **Returns:** what was found, without slopes.
    """
    starts = jnp.concatenate([t0[None], ends[:-1]])
    zero = jnp.zeros((), jnp.int32)
    first = _whole(seed, drawn, zero, starts[0], ends[0], zero)
    state = _begin(method, sde, t0, y0, first)

    def advance(state, interval):
        start, end, count, cell = interval

        def attempt(s: _State) -> _State:
            piece = s.piece
            dt = jnp.ldexp(piece.length, -s.level)
            t = piece.t + s.position.astype(dt.dtype) * dt
            dw = brownian.of_piece(seed, piece.number, piece.length, s.level, s.position, piece.dw)
            new, memory, error = method.move(sde, t, s.y, s.memory, dt, dw)
            size, _ = error_norm(error, s.y, new, rtol, atol)
            state, through = _decide(s, new, memory, size, dt)
            if drawn is None:
                return state._replace(left=~through)
            return _next(method, sde, drawn, end, state, through)

        def running(s: _State):
            return s.left & (s.code == 0) & (s.steps + s.rejected < max_steps)

        piece = _whole(seed, drawn, state.candidates, start, end, cell)
        state = spread_over(state._replace(left=count > 0, piece=piece), y0)
        state = jax.lax.while_loop(running, attempt, state)
        late = (state.code == 0) & state.left
        state = state._replace(code=jnp.where(late, STEP_LIMIT, state.code))
        done = jnp.ldexp(state.position.astype(start.dtype), -state.level)
        t = jnp.where(state.code == 0, end, state.piece.t + done * state.piece.length)
        return state, (state.y, state.code == 0, t)

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


def _begin(method, sde, t0, y0, piece: Piece) -> _State:
    zero = jnp.zeros((), jnp.int32)
    state = _State(
        y=y0,
        memory=method.begin(sde, t0, y0),
        left=jnp.zeros((), bool),
        piece=piece,
        candidates=zero,
        level=jnp.full((), _FIRST_LEVEL, jnp.int32),
        position=zero,
        steps=zero,
        rejected=zero,
        code=jnp.where(all_finite(y0), zero, NON_FINITE).astype(jnp.int32),
        suspect=jnp.abs(y0),
        dt_last=jnp.zeros_like(t0),
    )
    return spread_over(state, y0)


def _whole(seed, drawn, candidates, start, end, cell) -> Piece:
    """The first piece of an interval."""
    whole = brownian.of_cell(seed, cell, end - start, area=True)
    return cut(drawn, candidates, start, end, cell.astype(jnp.uint32), whole)


def _next(method, sde, drawn: Candidates, end, s: _State, through) -> _State:
    """After a step, that was the last one of its piece where it is `through`: the jump
    there, and the next piece."""
    lands = through & s.piece.ends
    landed, within = land(sde.jumps, drawn, s.candidates, s.y)
    k = jnp.minimum(s.candidates, drawn.times.shape[0] - 1)
    t = jnp.where(lands, drawn.times[k], s.piece.t)
    candidates = s.candidates + lands.astype(jnp.int32)
    number = after(jnp.maximum(candidates, 1))
    following = cut(drawn, candidates, t, end, number, s.piece.rest)
    piece = jax.tree.map(lambda a, b: jnp.where(lands, a, b), following, s.piece)
    finite = all_finite(landed)
    y = jnp.where(lands & finite & within, landed, s.y)
    few = ~within | (candidates >= drawn.times.shape[0])
    failed = jnp.where(finite, jnp.where(few, STEP_LIMIT, s.code), NON_FINITE)
    code = jnp.where(lands, failed, s.code)
    again = method.begin(sde, t, y)
    return s._replace(
        y=y,
        memory=jax.tree.map(lambda a, b: jnp.where(lands, a, b), again, s.memory),
        left=~through | lands,
        piece=piece,
        candidates=candidates,
        code=code.astype(jnp.int32),
    )


def _decide(s: _State, new, memory, size, dt) -> tuple[_State, Any]:
    """Go on after a step, or to its left half; and whether the piece is over."""
    finite = all_finite(new) & jnp.isfinite(size)
    accept = finite & (size <= 1.0)
    # Onwards: the next piece of the level, or the one twice as long that begins there.
    position = s.position + 1
    up = (size < _DOUBLE_BELOW) & (position % 2 == 0) & (s.level > 0)
    level = jnp.where(up, s.level - 1, s.level)
    position = jnp.where(up, position // 2, position)
    through = accept & (position == jnp.left_shift(1, level))
    stuck = ~accept & (s.level >= brownian.LEVELS)

    def kept(a, b):
        return jnp.where(accept, a, b)

    state = s._replace(
        y=kept(new, s.y),
        memory=jax.tree.map(kept, memory, s.memory),
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
    return state, through
