r"""Gradients in reverse mode, back over the accepted steps of `lanes`.

For each step, the transpose of its derivative is applied to the gradient that has come
so far,

    l_k = (d y_{k+1} / d y_k)^T l_{k+1} + (gradient of what was saved in step k),

which is the exact gradient of the numbers that the accepted steps computed, their
lengths held fixed.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate import runge_kutta
from continua.integrate.lanes import Tape, Work, smooth, together, where
from continua.integrate.trajectory import Found


class _Back(NamedTuple):
    who: Any
    step: Any  # the step that is gone back over next
    y: Any  # the gradient in the state after it


def replay(work: Work, found: Found, tape: Tape, in_ys: Any, in_slopes: Any) -> tuple[Any, tuple]:
    """Gradients in the initial states and the arguments.

    **Arguments:**

    - `work`: what was integrated.
    - `found`, `tape`: what `lanes.integrate` returned.
    - `in_ys`, `in_slopes`: gradients in what was saved, `(k, n, m)`; `None` for the
      second leaves it out.

    **Returns:** gradients in `work.times.y0` and in `smooth(work.args)`.
    """
    moving = found.steps > 0
    count = moving.sum().astype(jnp.int32)
    # Those that took a step come before those that did not.
    rounds = _Rounds(work, found, tape, in_ys, in_slopes, jnp.argsort(~moving), count)
    lanes = rounds.taken_up(jnp.arange(work.lanes, dtype=jnp.int32))
    waiting, running = jnp.full((), work.lanes, jnp.int32), count
    nothing = jax.tree.map(jnp.zeros_like, smooth(work.args))
    carry = (lanes, waiting, running, jnp.zeros_like(work.times.y0), nothing)
    *_, at_start, in_args = jax.lax.while_loop(lambda c: c[2] > 0, rounds.round, carry)
    # What was asked for at the initial time is the initial state itself.
    early = work.early()[:, None]
    at_start = at_start + jnp.sum(jnp.where(early, in_ys, 0), axis=0)
    if in_slopes is not None:
        _, pull = jax.vjp(
            lambda y, moving: work.slope(work.times.t0, y, together(moving, work.args)),
            work.times.y0,
            smooth(work.args),
        )
        add, more = pull(jnp.sum(jnp.where(early, in_slopes, 0), axis=0))
        at_start, in_args = at_start + add, jax.tree.map(jnp.add, in_args, more)
    return at_start, in_args


@dataclasses.dataclass(frozen=True)
class _Rounds:
    """The rounds of all lanes backwards, over the trajectories in the order of `queue`."""

    work: Work
    found: Found
    tape: Tape
    in_ys: Any
    in_slopes: Any
    queue: Any
    count: Any

    def taken_up(self, place: Any) -> _Back:
        """Lanes at the end of the trajectories at a place of the queue."""
        who = jnp.take(self.queue, place, mode="clip")
        last = jnp.take(self.found.steps, who) - 1
        nothing = jnp.zeros((self.work.times.y0.shape[0], *place.shape), self.work.times.y0.dtype)
        who = jnp.where(place < self.count, who, self.work.count).astype(jnp.int32)
        return _Back(who, last, nothing)

    def asked(self, who, row, active, after) -> tuple:
        """Gradients in what a step computed: its state and slope at both ends, its bend."""
        tape, k = self.tape, self.work.saves
        t, dt, save = (a[row, who] for a in (tape.t, tape.dt, tape.save))
        met = jnp.where(active, tape.met[row, who], 0)
        size = jnp.where(dt > 0, dt, 1.0)

        def read(of):
            number, asked = of
            here = number < met
            at = jnp.minimum(save + number, k - 1)
            end = self.work.times.ends[at, who]
            share = jnp.where(here & (dt > 0), (end - t) / size, 1.0)
            values, slopes = runge_kutta.basis(share)
            in_y = jnp.where(here, self.in_ys[at, :, who].T, 0)
            asked = tuple(a + v * in_y for a, v in zip(asked, values, strict=True))
            if self.in_slopes is not None:
                in_slope = jnp.where(here, self.in_slopes[at, :, who].T, 0) / size
                asked = tuple(a + v * in_slope for a, v in zip(asked, slopes, strict=True))
            return number + 1, asked

        none = jnp.zeros_like(after)
        begin = (jnp.zeros((), jnp.int32), (none, none, jnp.where(active, after, 0), none, none))
        return jax.lax.while_loop(lambda of: jnp.any(of[0] < met), read, begin)[1]

    def round(self, carry):
        lanes, waiting, running, at_start, in_args = carry
        work, tape = self.work, self.tape
        active = lanes.who < work.count
        # A lane without work repeats the step of one that has some: its numbers are sound.
        model = jnp.argmax(active)
        row, who = (jnp.where(active, x, x[model]) for x in (lanes.step, lanes.who))
        t, dt, y = tape.t[row, who], tape.dt[row, who], tape.y[row, :, who].T

        def one(y, moving):
            args = together(moving, work.args)
            slope = work.slope(t, y, args)
            new, after, _, bend = work.step(t, y, slope, dt, args)
            return y, dt * slope, new, dt * after, jnp.zeros_like(y) if bend is None else bend

        _, pull = jax.vjp(one, y, smooth(work.args))
        before, more = pull(self.asked(who, row, active, lanes.y))
        moved = _Back(lanes.who, lanes.step - 1, before)
        finished = active & (moved.step < 0)
        lanes, waiting, running, at_start = jax.lax.cond(
            jnp.any(finished),
            lambda of: self.handed_over(finished, *of),
            lambda of: of,
            (moved, waiting, running, at_start),
        )
        return lanes, waiting, running, at_start, jax.tree.map(jnp.add, in_args, more)

    def handed_over(self, finished, moved: _Back, waiting, running, at_start):
        """Write down what is finished, and take up what waits."""
        place = jnp.where(finished, moved.who, self.work.count)
        at_start = at_start.at[:, place].set(moved.y, mode="drop")
        rank = jnp.cumsum(finished.astype(jnp.int32))
        lanes = where(finished, self.taken_up(waiting + rank - 1), moved)
        return lanes, waiting + rank[-1], running - rank[-1], at_start
