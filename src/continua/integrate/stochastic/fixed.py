"""Fixed steps of stochastic methods, on one path or many at once.

Steps are computed again when they are differentiated backwards: of up to 256 the state before
each is kept, more are scanned in chunks of about the square root of their number, whose first
states are. What a step computes on its way, the layers of a network, is more than its state, and
is never kept for all of them, nor is the noise, which is a function of its place.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate.lanes import spread_over
from continua.integrate.stochastic import brownian
from continua.integrate.trajectory import (
    NON_FINITE,
    Found,
    all_finite,
    hide_unreached,
    worst_component,
)

_KEPT = 256  # states


class Steps(NamedTuple):
    """How steps are laid between the saved times.

    **Arguments:**

    - `counts`: cells in each interval, integers `(T,)`.
    - `most`: the largest of them where it is known when compiling, else `None`.
    - `even`: whether all are known to be the same.
    - `halvings`: of each cell, so that it has `2**halvings` steps.
    - `total`: the number of cells where it is known when compiling, else `None`.
    """

    counts: Any
    most: int | None
    even: bool
    halvings: int = 0
    total: int | None = None

    @property
    def first_cells(self) -> Any:
        """The number of each interval's first cell."""
        return jnp.cumsum(self.counts) - self.counts


class _State(NamedTuple):
    y: Any
    memory: Any
    tried: Any  # what the last step computed, finite or not
    alive: Any
    steps: Any


def march(method: Any, sde: Any, seed: Any, t0: Any, ends: Any, y0: Any, steps: Steps) -> Found:
    """Integrate a flat state with fixed steps.

    **Arguments:**

    - `method`: an `AbstractStochastic`.
    - `sde`: flat, in the method's reading.
    - `seed`: keys of the channels, `(2, m, *paths)`.
    - `t0`: the initial time; `ends`: times of the saves, `(T,)`.
    - `y0`: `(n, *paths)`.
    - `steps`: how many lie between the saves.

    **Returns:** what was found, without slopes.
    """
    starts = jnp.concatenate([t0[None], ends[:-1]])
    lone = all_finite if y0.ndim == 1 else jax.vmap(all_finite, in_axes=-1)
    alive = lone(y0)
    state = _State(
        y0,
        method.begin(sde, t0, y0),
        jax.lax.stop_gradient(y0),
        alive,
        jnp.zeros(alive.shape, jnp.int32),
    )

    state = spread_over(state, y0)

    def advance(state, interval):
        start, end, count, cell = interval
        h = (end - start) / jnp.maximum(count, 1).astype(start.dtype)
        state = _advance(method, sde, seed, state, start, h, count, cell, steps)
        return state, (state.y, state.alive)

    intervals = (starts, ends, steps.counts, steps.first_cells)
    state, (ys, reached) = jax.lax.scan(advance, state, intervals)
    hide = hide_unreached if y0.ndim == 1 else jax.vmap(hide_unreached, -1, -1)
    worst = worst_component if y0.ndim == 1 else jax.vmap(worst_component, in_axes=-1)
    t_end, dt_last = _where(steps, starts, ends, state.steps)
    return Found(
        hide(ys, reached),
        None,
        state.steps,
        jnp.zeros_like(state.steps),
        jnp.where(state.alive, 0, NON_FINITE).astype(jnp.int32),
        t_end,
        jnp.where(state.alive, 0, worst(state.tried)).astype(jnp.int32),
        dt_last,
        method.evaluations * state.steps,
        state.y,
    )


def _where(steps: Steps, starts, ends, taken) -> tuple[Any, Any]:
    """The time after `taken` steps, and the length of the last one that was tried."""
    counts = steps.counts * 2**steps.halvings
    before = jnp.cumsum(counts) - counts
    h = (ends - starts) / jnp.maximum(counts, 1).astype(ends.dtype)
    k = jnp.clip(jnp.searchsorted(before, taken, side="right") - 1, 0, counts.size - 1)
    t = starts[k] + (taken - before[k]).astype(h.dtype) * h[k]
    return jnp.where(taken >= before[-1] + counts[-1], ends[-1], t), h[k]


def _advance(method, sde, seed, state: _State, start, h, count, cell, steps: Steps) -> _State:
    """The steps from `start` in `count` cells of length `h`, the first with number `cell`."""
    parts = 2**steps.halvings
    step_length = h / parts

    def step(state: _State, i) -> _State:
        t = start + i.astype(start.dtype) * step_length
        dw = increment(method, seed, cell, h, i, steps.halvings)
        new, memory, _ = method.move(sde, t, state.y, state.memory, step_length, dw)
        tried = jnp.where(state.alive, jax.lax.stop_gradient(new), state.tried)
        alive = jnp.all(jnp.isfinite(tried), axis=0)
        y = jnp.where(alive, new, state.y)
        return _State(y, memory, tried, alive, state.steps + alive.astype(jnp.int32))

    most = None if steps.most is None else steps.most * parts
    return repeat(step, state, count * parts, most, even=steps.even)


def increment(method: Any, seed: Any, cell: Any, h: Any, i: Any, halvings: int) -> Any:
    """What Brownian motion does in step `i` of an interval.

    **Arguments:**

    - `method`: says which areas it needs.
    - `seed`: keys of the channels.
    - `cell`: the number of the interval's first cell.
    - `h`: the length of cells, which have `2**halvings` steps.
    """
    parts = 2**halvings
    cell, position = cell + i // parts, i % parts
    if halvings == 0:
        dw = brownian.of_cell(seed, cell, h, area=method.area)
    else:
        dw = brownian.of_piece(seed, cell, h, halvings, position)
    if not method.levy:
        return dw
    return brownian.with_levy_area(seed, cell, parts + position, h / parts, dw)


def repeat(step: Any, state: Any, total: Any, most: int | None, *, even: bool) -> Any:
    """A step `(state, i) -> state` as many times as wanted.

    Where `most` is given this is differentiated backwards in memory like its root, or that of
    256 states.

    **Arguments:**

    - `step`, `state`: the step, and what it begins with.
    - `total`: how many times.
    - `most`: a number that `total` does not exceed, known when compiling, or `None`.
    - `even`: whether `total` is known to be `most`.
    """
    if most is None:
        return jax.lax.fori_loop(0, total, lambda i, s: step(s, i), state)
    size = 1 if most <= _KEPT else _chunk(most)
    exact = even and most % size == 0

    def guarded(i, run, state):
        return run(state) if exact else jax.lax.cond(i < total, run, lambda s: s, state)

    def one(state, i):
        return guarded(i, lambda s: step(s, i), state), None

    def several(state, first):
        def run(state):
            inside = first + jnp.arange(size, dtype=jnp.int32)
            return jax.lax.scan(one, state, inside)[0]

        return guarded(first, run, state), None

    # Loops keep both passes apart, which need no barriers.
    again = jax.checkpoint(one if size == 1 else several, prevent_cse=False)
    firsts = jnp.arange(-(-most // size), dtype=jnp.int32) * size
    return jax.lax.scan(again, state, firsts)[0]


def _chunk(count: int) -> int:
    """About the square root of a number, a divisor of it where there is one near."""
    root = math.isqrt(count)
    return next((d for d in range(root, root // 2, -1) if count % d == 0), root)
