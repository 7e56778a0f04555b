r"""Fixed steps of equations with jumps, which end where jumps are.

A path goes from the end of a piece to that of the next one, of which it has as many as
there are cells and candidates for jumps. Paths that are integrated side by side are in
different cells at a time, so that all need no more steps than the one with the most jumps.

**Reference:** platen2010numerical
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate.lanes import spread_over
from continua.integrate.stochastic import brownian
from continua.integrate.stochastic.brownian import Increment
from continua.integrate.stochastic.fixed import Steps, repeat
from continua.integrate.stochastic.jumps import Candidates, after, cut, land
from continua.integrate.trajectory import (
    NON_FINITE,
    STEP_LIMIT,
    Found,
    all_finite,
    hide_unreached,
    worst_component,
)


class _State(NamedTuple):
    y: Any
    memory: Any
    t: Any
    interval: Any  # between saves, as many as there are at the end
    cell: Any  # of the interval
    candidates: Any  # that were passed
    rest: Any  # the increment over what is left of the cell, after a candidate
    broken: Any  # whether there was one in the cell
    saved: Any  # states at `t0` and all saves, `None` for a single save
    tried: Any  # what the last step computed, finite or not
    code: Any
    steps: Any
    dt: Any


class _Grid(NamedTuple):
    """Intervals between saves, some of which may have no cells."""

    starts: Any
    ends: Any
    h: Any
    counts: Any
    first_cells: Any
    following: Any  # the next interval with cells, for `t0` and all of them

    @classmethod
    def of(cls, t0: Any, ends: Any, steps: Steps) -> "_Grid":
        starts = jnp.concatenate([t0[None], ends[:-1]])
        h = (ends - starts) / jnp.maximum(steps.counts, 1).astype(ends.dtype)
        at = jnp.arange(ends.size, dtype=jnp.int32)
        own = jnp.where(steps.counts > 0, at, ends.size)
        following = jnp.append(jax.lax.cummin(own, reverse=True), jnp.int32(ends.size))
        return cls(starts, ends, h, steps.counts, steps.first_cells, following)

    def rows(self) -> Any:
        """For each save that of the last interval with cells before it, 0 for `t0`."""
        at = jnp.arange(self.ends.size, dtype=jnp.int32)
        return jax.lax.cummax(jnp.where(self.counts > 0, at + 1, 0))


def march(
    method: Any, sde: Any, seed: Any, t0: Any, ends: Any, y0: Any, steps: Steps,
    drawn: Candidates,
) -> Found:  # fmt: skip
    """Integrate a flat state of one path with fixed steps and jumps.

    **Arguments:**

    - `method`, `sde`, `seed`, `t0`, `ends`, `y0`, `steps`: as for `fixed.march`, of one path.
    - `drawn`: what is drawn of the jumps.

    **Returns:** what was found, without slopes.
    """
    grid = _Grid.of(t0, ends, steps)
    count = drawn.times.shape[0]
    zero, nothing = jnp.zeros((), jnp.int32), jnp.zeros(seed.shape[1:], y0.dtype)
    single = ends.size == 1
    state = _State(
        y=y0,
        memory=method.begin(sde, t0, y0),
        t=t0,
        interval=grid.following[0],
        cell=zero,
        candidates=zero,
        rest=Increment(nothing, nothing),
        broken=jnp.zeros((), bool),
        saved=None if single else jnp.zeros((ends.size + 1, y0.size), y0.dtype).at[0].set(y0),
        tried=jax.lax.stop_gradient(y0),
        code=jnp.where(all_finite(y0), zero, NON_FINITE).astype(jnp.int32),
        steps=zero,
        dt=jnp.zeros_like(t0),
    )

    state = spread_over(state, y0)

    def step(state, _):
        return _step(method, sde, seed, grid, drawn, steps.halvings, state)

    total = (jnp.sum(steps.counts) + count).astype(jnp.int32)
    most = None if steps.total is None else steps.total + count
    state = repeat(step, state, total, most, even=True)
    ys = state.y[None] if single else state.saved[grid.rows()]
    reached = grid.rows() <= state.interval
    return Found(
        hide_unreached(ys, reached),
        None,
        state.steps,
        zero,
        state.code,
        state.t,
        jnp.where(state.code == 0, 0, worst_component(state.tried)).astype(jnp.int32),
        state.dt,
        method.evaluations * state.steps,
        state.y,
    )


def _step(method, sde, seed, grid: _Grid, drawn, halvings: int, s: _State) -> _State:
    """To the end of the piece that the path is at the beginning of."""
    size = grid.ends.size
    j = jnp.minimum(s.interval, size - 1)
    running = (s.interval < size) & (s.code == 0)
    h = jnp.where(running, grid.h[j], 1.0)
    last = s.cell + 1 >= grid.counts[j]
    next_cell = grid.starts[j] + (s.cell + 1).astype(h.dtype) * h
    end = jnp.where(last, grid.ends[j], next_cell)
    end = jnp.where(running, end, s.t + h)  # what is over goes on beside those that are not
    cell = (grid.first_cells[j] + s.cell).astype(jnp.uint32)
    number = jnp.where(s.broken, after(jnp.maximum(s.candidates, 1)), cell)
    fresh = brownian.of_cell(seed, cell, h, area=True)
    whole = jax.tree.map(lambda a, b: jnp.where(s.broken, a, b), s.rest, fresh)
    piece = cut(drawn, s.candidates, s.t, end, number, whole)

    y, memory = _through(method, sde, seed, piece, halvings, s)
    landed, within = land(sde.jumps, drawn, s.candidates, y)
    y = jnp.where(piece.ends, landed, y)
    spent = s.candidates >= drawn.times.shape[0]
    k = jnp.minimum(s.candidates, drawn.times.shape[0] - 1)
    t = jnp.where(piece.ends, drawn.times[k], end)
    again = method.begin(sde, t, y)
    memory = jax.tree.map(lambda a, b: jnp.where(piece.ends, a, b), again, memory)

    tried = jax.lax.stop_gradient(y)
    few = spent | (piece.ends & ~within)
    code = jnp.where(all_finite(tried), jnp.where(few, STEP_LIMIT, 0), NON_FINITE)
    good = running & (code == 0)

    def kept(new, old):
        return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)

    over = ~piece.ends & last
    return _State(
        y=kept(y, s.y),
        memory=kept(memory, s.memory),
        t=kept(t, s.t),
        interval=kept(jnp.where(over, grid.following[j + 1], s.interval), s.interval),
        cell=kept(jnp.where(over, 0, s.cell + (~piece.ends).astype(jnp.int32)), s.cell),
        candidates=kept(s.candidates + piece.ends.astype(jnp.int32), s.candidates),
        rest=kept(piece.rest, s.rest),
        broken=kept(piece.ends, s.broken),
        saved=_save(s.saved, j + 1, y, good & over),
        tried=jnp.where(running, tried, s.tried),
        code=jnp.where(running, code, s.code).astype(jnp.int32),
        steps=s.steps + jnp.where(good, 2**halvings, 0).astype(jnp.int32),
        dt=jnp.where(running, jnp.ldexp(piece.length, -halvings), s.dt),
    )


def _save(saved, row, y, over):
    """Saved states with one more at the end of an interval."""
    if saved is None:
        return None
    return saved.at[row].set(jnp.where(over, y, saved[row]))


def _through(method, sde, seed, piece, halvings: int, s: _State) -> tuple[Any, Any]:
    """State and memory after the steps of a piece."""
    dt, parts = jnp.ldexp(piece.length, -halvings), 2**halvings

    def part(i, state):
        dw = piece.dw
        if halvings:
            dw = brownian.of_piece(seed, piece.number, piece.length, halvings, i, dw)
        if method.levy:
            dw = brownian.with_levy_area(seed, piece.number, parts + i, dt, dw)
        return method.move(sde, piece.t + i.astype(dt.dtype) * dt, *state, dt, dw)[:2]

    if halvings == 0:
        return part(jnp.zeros((), jnp.int32), (s.y, s.memory))
    return jax.lax.fori_loop(0, parts, part, (s.y, s.memory))
