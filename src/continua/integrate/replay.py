r"""Gradients in reverse mode, back over the rounds that were recorded.

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

from continua.integrate import runge_kutta, segments
from continua.integrate.lanes import Work, pick, smooth, spread_over, together
from continua.integrate.rounds import KEPT_EVENTS, SAVES, Rounds, Row
from continua.integrate.segments import Tape


class Asked(NamedTuple):
    """Gradients in what a solve returned.

    **Arguments:**

    - `ys`: `(k, n, m)`.
    - `y_end`: `(n, m)`.
    - `t_end`: `(m,)`.
    - `event_ts`: `(32, m)`; none without events.
    - `history`: `(h, m)` in errors and stiffness, `None` where nobody wants it; none
      without history.
    """

    ys: Any
    y_end: Any
    t_end: Any
    event_ts: tuple
    history: tuple


class _Back(NamedTuple):
    who: Any
    y: Any  # the gradient in the state of each lane
    slope: Any  # and in the slope that its next step begins with
    at_start: tuple  # both, of the trajectories
    args: Any


def replay(work: Work, room: int, tape: Tape, asked: Asked) -> tuple[Any, tuple]:
    """Gradients in the initial states and the arguments.

    **Arguments:**

    - `work`: what was integrated.
    - `room`, `tape`: what `segments.integrate` was given, and what it returned.
    - `asked`: gradients in what was found.

    **Returns:** gradients in `work.times.y0` and in `smooth(work.args)`.
    """
    rounds = Rounds.of(work, room)
    back = _Rounds(work, asked._replace(ys=jnp.moveaxis(asked.ys, -1, 0)))
    y0 = work.times.y0
    # No trajectory is on a lane after the last round.
    nobody = jnp.full(work.lanes, work.count, jnp.int32)
    none, whole = jnp.zeros((y0.shape[0], work.lanes), y0.dtype), jnp.zeros_like(y0)
    nothing = jax.tree.map(jnp.zeros_like, smooth(work.args))
    lanes = _Back(nobody, none, none, (whole, whole), nothing)
    lanes, nobody = spread_over((lanes, nobody), tape, asked, work.args)

    def segment(of):
        lanes, rows, number, left = of
        lanes, _ = jax.lax.while_loop(
            lambda of: of[1] > 0,
            lambda of: (back.round(of[0], jax.tree.map(lambda a: a[of[1] - 1], rows)), of[1] - 1),
            (lanes, number),
        )
        if rounds.segment < rounds.rounds:
            rows = jax.lax.cond(
                left > 1,
                lambda rows: segments.again(rounds, tape, left - 2, rows),
                lambda rows: rows,
                rows,
            )
        full = jnp.full_like(number, rounds.segment)
        return lanes, rows, spread_over(full, number), left - 1

    lanes, *_ = jax.lax.while_loop(
        lambda of: of[3] > 0, segment, (lanes, tape.rows, tape.rounds, tape.segments)
    )
    at_start, first_slopes = back.handed_over(lanes, nobody).at_start

    def first(y, moving):
        return work.slope(work.times.t0, y, together(moving, work.args))

    add, more = jax.vjp(first, y0, smooth(work.args))[1](first_slopes)
    # What was asked for at the initial time is the initial state itself.
    early = jnp.sum(jnp.where(work.early()[:, None], asked.ys, 0), axis=0)
    return at_start + add + early, jax.tree.map(jnp.add, lanes.args, more)


@dataclasses.dataclass(frozen=True)
class _Rounds:
    """The rounds of all lanes backwards; gradients in saves are `(m, k, n)` here."""

    work: Work
    asked: Asked

    def handed_over(self, lanes: _Back, who: Any) -> _Back:
        """Lanes on which come the trajectories `who`, from their ends."""
        new = lanes.who != who
        if self.work.settled:
            # A lane that is idle was so before, or is done: its gradient stays.
            new = new & (who < self.work.count)
            y, slope = jnp.where(new, self.asked.y_end, lanes.y), jnp.where(new, 0, lanes.slope)
            return _Back(jnp.where(new, who, lanes.who), y, slope, (y, slope), lanes.args)
        place = jnp.where(new, lanes.who, self.work.count)
        pairs = zip(lanes.at_start, (lanes.y, lanes.slope), strict=True)
        at_start = tuple(a.at[:, place].set(x, mode="drop") for a, x in pairs)
        y = jnp.where(new, pick(self.asked.y_end, who), lanes.y)
        slope = jnp.where(new, 0, lanes.slope)
        return _Back(who, y, slope, at_start, lanes.args)

    def within(self, row: Row, lanes: _Back, count: int) -> tuple:
        """Gradients in what a step computed: its state and slope at both ends, its bends."""
        k, m = self.work.saves, self.work.count
        accept = row.dt > 0
        met = jnp.where(accept, row.met, 0)[:, None]
        size = jnp.where(accept, row.dt, 1.0)[:, None]
        ends, whose = self.work.times.ends.T, jnp.minimum(row.who, m - 1)[:, None]
        few = jnp.arange(min(k, SAVES), dtype=row.save.dtype)

        def read(of):
            done, within = of
            here = done + few < met
            at = jnp.minimum(row.save[:, None] + done + few, k - 1)
            share = jnp.where(here, (ends[whose, at] - row.t[:, None]) / size, 1.0)
            in_ys = jnp.where(here[..., None], self.asked.ys[whose, at], 0)
            values = runge_kutta.basis(share, count)
            pairs = zip(within, values, strict=True)
            return done + few.size, tuple(
                a + jnp.sum(v[..., None] * in_ys, axis=1).T for a, v in pairs
            )

        none = jnp.zeros_like(lanes.y)
        y, slope = jnp.where(accept, lanes.y, 0), jnp.where(accept, lanes.slope, 0)
        begin = spread_over((jnp.zeros((), row.save.dtype), (none,) * (4 + count)), row, lanes)
        start, first, end, last, *bends = jax.lax.while_loop(
            lambda of: jnp.any(of[0] < met), read, begin
        )[1]
        return start, row.dt * first, y + end, slope + row.dt * last, tuple(bends)

    def before_bends(self, row: Row, bend: Any, asked: tuple) -> tuple[Any, Any, tuple]:
        """Gradients in what a step returned for its bends, in its state and the arguments."""
        work, args = self.work, smooth(self.work.args)
        nothing = spread_over(jax.tree.map(jnp.zeros_like, (bend, row.y, args)), row, work.args)
        if not asked:
            return nothing

        def made(bend, y, moving):
            args = together(moving, work.args)
            return work.method.bends(lambda t, y: work.slope(t, y, args), row.t, y, row.dt, bend)

        def back():
            return jax.vjp(made, bend, row.y, args)[1](asked)

        if work.method.extension is None:
            return back()
        at = jnp.minimum(row.save, work.saves - 1), jnp.minimum(row.who, work.count - 1)
        inside = (row.dt > 0) & (row.met > 0) & (work.times.ends[at] < row.t + row.dt)
        return jax.lax.cond(jnp.any(inside), back, lambda: nothing)

    def round(self, lanes: _Back, row: Row) -> _Back:
        """Back over one round."""
        work = self.work
        lanes = jax.lax.cond(
            jnp.any(lanes.who != row.who),
            lambda lanes: self.handed_over(lanes, row.who),
            lambda lanes: lanes,
            lanes,
        )

        limits = tuple(work.of(x, row.who) for x in (work.times.rtol, work.times.atol))

        def one(y, slope, moving):
            args = together(moving, work.args)
            given = (row.t, y, slope, row.dt, args)
            new, after, _, bend = taken = work.step(*given)
            if not self.asked.history:
                return new, after, bend, ()
            facts = zip(work.facts(*given, limits, taken), self.asked.history, strict=True)
            return new, after, bend, tuple(None if a is None else fact for fact, a in facts)

        (new, after, bend, _), pull = jax.vjp(one, row.y, row.slope, smooth(work.args))
        if row.event:
            lanes = jax.lax.cond(
                jnp.any(row.event[0] > 0),
                lambda lanes: self.before_event(lanes, row, new, after),
                lambda lanes: lanes,
                lanes,
            )
        # A rejected step was given no length: its numbers are sound, and nothing is asked.
        start, first, end, last, bends = self.within(row, lanes, self.bends(bend))
        in_bend, further, most = self.before_bends(row, bend, bends)
        y, slope, more = pull((end, last, in_bend, self.of_facts(row)))
        accept = row.dt > 0
        return lanes._replace(
            y=jnp.where(accept, y + further + start, lanes.y),
            slope=jnp.where(accept, slope + first, lanes.slope),
            args=jax.tree.map(lambda *x: sum(x[1:], x[0]), lanes.args, more, most),
        )

    def bends(self, bend: Any) -> int:
        """How many bends the polynomial of a step has, where saves are read off it."""
        if not self.work.dense or self.work.saves == 1:
            return 0
        extension = self.work.method.extension
        return int(bend is not None) if extension is None else len(extension.bends)

    def of_facts(self, row: Row) -> tuple:
        """Gradients in the error and the stiffness of a step."""
        if not self.asked.history:
            return ()
        kept = (row.dt > 0) & (row.number < self.work.history)
        most = (self.work.history - 1, self.work.count - 1)
        place = tuple(map(jnp.minimum, (row.number, row.who), most))
        return tuple(
            None if asked is None else jnp.where(kept, asked[place], 0)
            for asked in self.asked.history
        )

    def before_event(self, lanes: _Back, row: Row, new: Any, after: Any) -> _Back:
        r"""Gradients before the events that ended a step, from those after them.

        With `g = 0` at the event, `dt_e = -(g_y dy + g_a da) / g'`, `g' = g_t + g_y f`; the
        trajectory that goes on from `y_+` at `t_e` depends on `t_e` as on its start,
        `d/dt_e = -l_+ . f(t_e, y_+)`.
        """
        work, (event, number), args = self.work, row.event, smooth(self.work.args)
        t, which, fired = row.t + row.dt, jnp.maximum(event - 1, 0), event > 0
        going = fired & ~jnp.asarray(work.ending)[which]

        def slope_after(y, moving):
            return work.slope(t, y, together(moving, work.args))

        def change(t, y, moving):
            return work.changed(which, t, y, together(moving, work.args))

        def condition(t, y, moving):
            def one(args, e, t, y):
                return work.bind(args)[1].condition(t, y)[e]

            return work.over(one, together(moving, work.args), which, t, y)

        changed, pull_change = jax.vjp(change, t, new, args)
        slope, pull_slope = jax.vjp(slope_after, changed, args)
        add, in_slope = pull_slope(jnp.where(going, lanes.slope, 0))
        in_changed = jnp.where(fired, lanes.y, 0) + add
        in_t, in_y, in_change = pull_change(in_changed)
        _, pull = jax.vjp(condition, t, new, args)
        one = jnp.where(fired, jnp.ones_like(t), 0)
        g_t, g_y, _ = pull(one)
        rate = g_t + jnp.sum(g_y * after, axis=0)

        whose = jnp.minimum(row.who, work.count - 1)
        kept = jnp.minimum(number, KEPT_EVENTS - 1)
        asked = jnp.where(number < KEPT_EVENTS, self.asked.event_ts[0][kept, whose], 0)
        onward = jnp.where(
            going, -jnp.sum(in_changed * slope, axis=0), pick(self.asked.t_end, whose)
        )
        total = jnp.sum(in_y * after, axis=0) + in_t + asked + onward
        in_g = jnp.where(fired, -total / jnp.where(fired, rate, 1), 0)
        _, more_y, in_condition = pull(in_g)
        more = jax.tree.map(lambda *x: sum(x[1:], x[0]), in_slope, in_change, in_condition)
        return lanes._replace(
            y=jnp.where(fired, in_y + more_y, lanes.y),
            slope=jnp.where(fired, 0, lanes.slope),
            args=jax.tree.map(jnp.add, lanes.args, more),
        )
