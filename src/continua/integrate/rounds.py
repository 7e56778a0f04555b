r"""Adaptive steps for many trajectories at once, each with steps of its own.

A few hundred lanes step side by side. A lane whose trajectory is finished takes up the
next one that waits, so no trajectory waits for another, and the arrays stay small
enough for the caches.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate import events, runge_kutta
from continua.integrate.lanes import Work, spread_over, weighed, where
from continua.integrate.trajectory import NON_FINITE, STEP_LIMIT, SUCCESS, Found

_SEGMENT = 64  # rounds of a segment at the least
_FAILED = 1e6  # the error of a step whose numbers are not finite
SAVES = 4  # of a step that are read at once
ACCEPT, LAST, FINISHED = 1, 2, 4
KEPT_EVENTS = 32  # events of a trajectory whose times are returned


class Lanes(NamedTuple):
    """Where each lane is; `who` is the trajectory on it, `m` if none."""

    who: Any
    t: Any
    y: Any
    slope: Any
    dt: Any
    past: Any  # what the controller remembers
    save: Any  # the next save
    steps: Any
    rejected: Any
    watch: Any  # for events; `()` without any


class Row(NamedTuple):
    """What happened in a round.

    **Arguments:**

    - `who`: the trajectory on each lane, `(w,)`.
    - `t`, `dt`: where its step began, and how long it was, 0 where it was rejected.
    - `y`, `slope`: the state and `dy/dt` there, `(n, w)`.
    - `save`, `met`: the first save that lies in the step, and how many do.
    - `event`: one more than the number of the event with which it ended, 0 if none, and
      how many the trajectory had had before; `()` without events.
    - `number`: accepted steps of the trajectory before it; `()` without history.
    """

    who: Any
    t: Any
    dt: Any
    y: Any
    slope: Any
    save: Any
    met: Any
    event: Any
    number: Any


class Carry(NamedTuple):
    """All lanes, and what has come of the trajectories; nothing where rounds are done again."""

    lanes: Lanes
    waiting: Any  # the first trajectory that no lane has taken up
    running: Any  # trajectories that are not finished
    found: Found | None


class _Tried(NamedTuple):
    """One step of every lane."""

    target: Any
    last: Any
    dt: Any
    new: Any
    slope: Any
    error: Any
    bend: Any
    size: Any  # its error in units of the tolerances
    entries: Any  # what each number added to it
    due: Any  # lanes that had something to do
    accept: Any


@dataclasses.dataclass(frozen=True)
class Rounds:
    """The rounds of all lanes, with the slopes and steps that trajectories begin with."""

    work: Work
    room: int | None
    slopes: Any
    first_dt: Any
    watch: Any

    @classmethod
    def of(cls, work: Work, room: int | None) -> "Rounds":
        """Those of a work."""
        times, control = work.times, work.control
        slopes = work.slope(times.t0, times.y0)
        span = jnp.maximum(times.ends[-1] - times.t0, jnp.finfo(times.t0.dtype).tiny)
        if control.first is None:
            order = work.method.error_order
            first = runge_kutta.first_step(
                order, work.slope, times.t0, times.y0, slopes, span, times.rtol, times.atol
            )
        else:
            first = jnp.minimum(jnp.asarray(control.first, times.t0.dtype), span)
        if control.largest is not None:
            first = jnp.minimum(first, control.largest)
        watch: Any = ()
        if work.directions:
            given = work.conditions(times.t0, times.y0, slopes)
            watch = events.begin(*given, work.tolerance(times.t0, span))
        return cls(work, room, slopes, first, watch)

    @property
    def segment(self) -> int:
        """Rounds of a segment, `r`."""
        if self.work.directions:  # where an event is found cannot be told by a few bits
            return self.rounds
        return max(_SEGMENT, math.isqrt(self.rounds))

    @property
    def rounds(self) -> int:
        """Rounds at the most where each trajectory has `room` of them."""
        assert self.room is not None
        waves = -(-self.work.count // self.work.lanes)
        return self.room * (waves + (waves > 1))

    def begin(self) -> Carry:
        """Before the first round."""
        work, times = self.work, self.work.times
        m, early = work.count, work.early().T[..., None]
        none, unknown = jnp.zeros(m, jnp.int32), jnp.full((), jnp.nan, times.y0.dtype)
        found = Found(
            jnp.where(early, times.y0.T[:, None], unknown),
            (),
            none,
            none,
            none,
            times.t0,
            none,
            self.first_dt,
            none,
            times.y0,
            self.no_events(),
            self.no_history(),
        )
        lanes = self.taken_up(jnp.arange(work.lanes, dtype=jnp.int32))
        waiting, running = (jnp.full((), x, jnp.int32) for x in (work.lanes, m))
        return Carry(lanes, waiting, running, found)

    def no_events(self) -> Any:
        """Times and numbers of events that have not happened."""
        if not self.work.directions:
            return ()
        shape = (KEPT_EVENTS, self.work.count)
        times = jnp.full(shape, jnp.nan, self.work.times.t0.dtype)
        return times, jnp.full(shape, -1, jnp.int32), jnp.zeros(self.work.count, jnp.int32)

    def no_history(self) -> tuple:
        """Facts and states of steps that have not been made."""
        if not (h := self.work.history):
            return ()
        times, (n, m) = self.work.times, self.work.times.y0.shape
        facts = tuple(jnp.zeros((h, m), times.t0.dtype) for _ in range(4))
        return *facts, jnp.zeros((h, n, m), times.y0.dtype)

    def taken_up(self, who: Any) -> Lanes:
        """Lanes at the beginning of the trajectories `who`."""
        times = self.work.times
        first = jnp.sum(self.work.early(), axis=0).astype(jnp.int32)
        none = jnp.zeros(who.shape, jnp.int32)
        return Lanes(
            who,
            self.work.of(times.t0, who),
            self.work.of(times.y0, who),
            self.work.of(self.slopes, who),
            self.work.of(self.first_dt, who),
            self.work.control.begin(who.shape, times.t0.dtype),
            self.work.of(first, who),
            none,
            none,
            jax.tree.map(lambda x: self.work.of(x, who), self.watch),
        )

    def end(self, s: Lanes, save: Any) -> Any:
        """The time of a save of each lane."""
        if self.work.saves == 1:
            return self.work.of(self.work.times.ends[0], s.who)
        whose = jnp.minimum(s.who, self.work.count - 1)
        return self.work.times.ends[jnp.minimum(save, self.work.saves - 1), whose]

    def tried(self, s: Lanes, decided: Any, aim: Any) -> _Tried:
        """A step of each lane, which ends at `aim` where that is a number."""
        work, times = self.work, self.work.times
        rtol, atol = work.of(times.rtol, s.who), work.of(times.atol, s.who)
        target = work.of(times.ends[-1], s.who) if work.dense else self.end(s, s.save)
        left = target - s.t
        last = s.dt * (1.0 + 1e-3) >= left if decided is None else (decided & LAST) > 0
        dt = jnp.where(last, left, s.dt)
        if aim is not None:
            dt = jnp.where(jnp.isnan(aim), dt, aim - s.t)
        if work.directions:
            last, dt = last & ~s.watch.hunting, jnp.where(s.watch.hunting, s.watch.dt, dt)
        new, slope, error, bend = work.step(s.t, s.y, s.slope, dt)
        frozen = jax.lax.stop_gradient((error, s.y, new))
        size, entries = runge_kutta.error_norm(*frozen, rtol, atol)
        finite = jnp.isfinite(size) & jnp.all(jnp.isfinite(slope), axis=0)
        size = jnp.where(finite, size, _FAILED)
        # A lane without a save to come was asked for nothing but the start.
        due = (s.who < work.count) & (s.save < work.saves)
        accept = due & (size <= 1.0) if decided is None else (decided & ACCEPT) > 0
        return _Tried(target, last, dt, new, slope, error, bend, size, entries, due, accept)

    def saved(self, s: Lanes, x: _Tried, t: Any, found: Found | None) -> tuple[Any, Any]:
        """The next save of each lane, and what was found with the saved states `(m, k, n)`
        of this step; without it the saves are just counted."""
        k, m = self.work.saves, self.work.count
        ys = None
        bends: tuple = ()
        if found is not None:
            bends, evaluations = self.bends(s, x, t, found.evaluations)
            found, ys = found._replace(evaluations=evaluations), found.ys
        parts = (s.y, x.dt * s.slope, x.new, x.dt * x.slope, *bends)
        parts = tuple(part.T[:, None] for part in parts)
        ends, who = self.work.times.ends.T, s.who[:, None]
        whose, start = jnp.minimum(who, m - 1), s.t[:, None]
        size = jnp.where(x.dt > 0, x.dt, 1.0)[:, None]

        def next_ones(save):
            """The next few saves, when they are, and which of them lie in the step."""
            at = save[:, None] + jnp.arange(min(k, SAVES), dtype=save.dtype)
            end = ends[whose, jnp.minimum(at, k - 1)]
            return at, end, x.accept[:, None] & (at < k) & (end <= t[:, None])

        def write(of):
            save, ys, (at, end, due) = of
            if ys is not None:
                share = jnp.where(due & (x.dt > 0)[:, None], (end - start) / size, 1.0)
                values = tuple(v[..., None] for v in runge_kutta.basis(share, len(bends)))
                place = jnp.where(due, who, m)
                ys = ys.at[place, at].set(weighed(values, parts), mode="drop")
            save = save + jnp.sum(due, axis=1, dtype=save.dtype)
            return save, ys, next_ones(save)

        begin = (s.save, ys, next_ones(s.save))
        save, ys, _ = jax.lax.while_loop(lambda of: jnp.any(of[2][2]), write, begin)
        return save, found if found is None else found._replace(ys=ys)

    def bends(self, s: Lanes, x: _Tried, t: Any, evaluations: Any) -> tuple[tuple, Any]:
        """What the Hermite polynomials of the steps lack, and the evaluations of each
        trajectory with those for this, which are made where some save lies inside a step."""
        work, extension = self.work, self.work.method.extension
        if not work.dense or work.saves == 1:
            return (), evaluations

        def made():
            return work.method.bends(work.slope, s.t, s.y, x.dt, x.bend)

        if extension is None:
            return made(), evaluations
        inside = x.accept & (s.save < work.saves) & (self.end(s, s.save) < t)
        more = jnp.where(inside, len(extension.c), 0).astype(evaluations.dtype)
        place = jnp.where(inside, s.who, work.count)
        none = spread_over((jnp.zeros_like(x.new),) * len(extension.bends), x.new)
        return jax.lax.cond(
            jnp.any(inside),
            lambda: (made(), evaluations.at[place].add(more, mode="drop")),
            lambda: (none, evaluations),
        )

    def code(self, moved: Lanes, x: _Tried) -> Any:
        """How each trajectory ended, `SUCCESS` where it goes on."""
        work = self.work
        limit = work.max_steps if self.room is None else min(work.max_steps, self.room)
        spent = (moved.steps + moved.rejected >= limit) & (moved.save < work.saves)
        code = jnp.where(spent, STEP_LIMIT, SUCCESS)
        size = jnp.maximum(jnp.abs(moved.t), 1e-3 * jnp.abs(x.target))
        least = jnp.maximum(4 * jnp.finfo(moved.t.dtype).eps * size, work.control.smallest)
        return jnp.where(x.due & ~x.accept & ~(moved.dt > least), NON_FINITE, code).astype(
            jnp.int32
        )

    def round(self, c: Carry, decided: Any = None, aim: Any = None) -> tuple[Carry, Row, Any]:
        """A step of each lane, and what became of it; done again if all was `decided`."""
        s, work = c.lanes, self.work
        x = self.tried(s, decided, aim)
        verdict = self.verdict(s, x) if work.directions else None
        if verdict is not None:
            x = x._replace(accept=(x.accept & ~verdict.held) | verdict.fired)
        until = jnp.where(x.last, x.target, s.t + x.dt)
        if aim is not None:
            until = jnp.where(jnp.isnan(aim), until, aim)
        t = jnp.where(x.accept, until, s.t)
        save, found = self.saved(s, x, t, c.found)
        dt, event = jnp.where(x.accept, x.dt, 0), ()
        if verdict is not None:
            event = (jnp.where(verdict.fired, verdict.which + 1, 0), verdict.watch.count)
        number = s.steps if work.history else ()
        row = Row(s.who, s.t, dt, s.y, s.slope, s.save, save - s.save, event, number)
        q = work.method.error_order + 1.0
        following, past = work.control.following(q, x.size, s.past, x.dt, s.dt, x.accept)
        moved = Lanes(
            s.who,
            t,
            jnp.where(x.accept, x.new, s.y),
            jnp.where(x.accept, x.slope, s.slope),
            following,
            past,
            save,
            s.steps + x.accept.astype(jnp.int32),
            s.rejected + (x.due & ~x.accept).astype(jnp.int32),
            s.watch,
        )
        ended = jnp.zeros_like(x.accept)
        if verdict is not None:
            moved, ended, found = self.after_events(s, moved, verdict, found)
        code = self.code(moved, x)
        if decided is None:
            done = (save >= work.saves) | (code != SUCCESS) | ended
            finished = (s.who < work.count) & done
        else:
            finished = (decided & FINISHED) > 0
        flags = ((ACCEPT, x.accept), (LAST, x.last), (FINISHED, finished))
        bits = sum(jnp.where(flag, jnp.int8(bit), jnp.int8(0)) for bit, flag in flags)
        if found is not None:
            found = found._replace(history=self.noted(found.history, s, x))
        return self.next(Carry(moved, c.waiting, c.running, found), finished, code, x), row, bits

    def next(self, c: Carry, finished, code, x: _Tried) -> Carry:
        """Lanes with what waits in place of what is finished."""
        rows = () if c.found is None else (*c.found[2:8], c.found.y_end)
        moved, waiting, running, rows = jax.lax.cond(
            jnp.any(finished),
            lambda of: self.handed_over(finished, code, x, *of),
            lambda of: of,
            (c.lanes, c.waiting, c.running, rows),
        )
        found = c.found
        if found is not None:
            *rows, y_end = rows
            found = Found(
                found.ys,
                (),
                *rows,
                evaluations=found.evaluations,
                y_end=y_end,
                events=found.events,
                history=found.history,
            )
        return Carry(moved, waiting, running, found)

    def noted(self, history: tuple, s: Lanes, x: _Tried) -> tuple:
        """The history of each trajectory with the steps that were accepted."""
        if not history:
            return ()
        limits = tuple(self.work.of(x, s.who) for x in (self.work.times.rtol, self.work.times.atol))
        given = (s.t, s.y, s.slope, x.dt, None)
        facts = self.work.facts(*given, limits, (x.new, x.slope, x.error, x.bend))
        place = s.steps, jnp.where(x.accept, s.who, self.work.count)
        held = jax.lax.stop_gradient((s.t, x.dt))
        *numbers, ys = history
        pairs = zip(numbers, (*held, *facts), strict=True)
        numbers = (a.at[place].set(v, mode="drop") for a, v in pairs)
        step, who = place
        ys = ys.at[step, :, who].set(jax.lax.stop_gradient(s.y.T), mode="drop")
        return *numbers, ys

    def verdict(self, s: Lanes, x: _Tried) -> events.Verdict:
        """What the events say of a step."""
        t = jnp.where(x.last, x.target, s.t + x.dt)
        good = x.accept | (s.watch.hunting & (x.size < _FAILED))
        given = self.work.conditions(t, x.new, x.slope)
        return events.judged(
            s.watch, self.work.directions, *given, x.dt, good, self.work.tolerance(t, x.dt)
        )

    def after_events(self, s: Lanes, moved: Lanes, verdict: events.Verdict, found: Any) -> tuple:
        """Lanes with the changes of the events that happened, which of them end there, and
        what was found with the times of these."""
        work, (watch, held, fired, which) = self.work, verdict
        # The hunt says nothing about the step that the controller planned.
        dt = jnp.where(held | fired, s.dt, moved.dt)
        past = where(held | fired, s.past, moved.past)
        moved = moved._replace(dt=dt, past=past, watch=watch)
        ended = fired & jnp.asarray(work.ending)[which]

        def happened(of):
            moved, kept = of
            going = fired & ~ended
            # In value this is nothing; it gives the time of the event its tangent.
            g, rate = work.conditions(moved.t, moved.y, moved.slope)
            g, rate = (jnp.take_along_axis(x, which[None], axis=0)[0] for x in (g, rate))
            frozen = jax.lax.stop_gradient
            shift = jnp.where(fired, frozen(g) - g, 0) / frozen(jnp.where(fired, rate, 1))
            moved = moved._replace(t=moved.t + shift, y=moved.y + shift * moved.slope)
            y = jnp.where(going, work.changed(which, moved.t, moved.y), moved.y)
            slope = jnp.where(going, work.slope(moved.t, y), moved.slope)
            given = work.conditions(moved.t, y, slope)
            fresh = events.begin(*given, work.tolerance(moved.t, moved.dt))
            fresh = fresh._replace(count=watch.count + 1)
            if kept:
                times, numbers, counts = kept
                who = jnp.where(fired, moved.who, work.count)
                times = times.at[watch.count, who].set(moved.t, mode="drop")
                numbers = numbers.at[watch.count, who].set(which, mode="drop")
                kept = (times, numbers, counts.at[who].set(fresh.count, mode="drop"))
            watching = where(fired, fresh, watch)
            return moved._replace(y=y, slope=slope, watch=watching), kept

        kept = () if found is None else found.events
        moved, kept = jax.lax.cond(jnp.any(fired), happened, lambda of: of, (moved, kept))
        return moved, ended, found if found is None else found._replace(events=kept)

    def handed_over(self, finished, code, x: _Tried, moved: Lanes, waiting, running, rows):
        """Write down what is finished, and take up what waits."""
        m = self.work.count
        values = ()
        if rows:
            suspect = jnp.where(jnp.isfinite(x.entries), x.entries, jnp.inf)
            worst = jnp.where(code == SUCCESS, 0, jnp.argmax(suspect, axis=0)).astype(jnp.int32)
            values = (moved.steps, moved.rejected, code, moved.t, worst, x.dt, moved.y)
        if self.work.settled:
            rows = tuple(jnp.where(finished, v, a) for a, v in zip(rows, values, strict=True))
            who = jnp.where(finished, m, moved.who)
            return (
                moved._replace(who=who),
                waiting,
                running - jnp.sum(finished, dtype=jnp.int32),
                rows,
            )
        place = jnp.where(finished, moved.who, m)
        rows = tuple(
            a.at[..., place].set(v, mode="drop") for a, v in zip(rows, values, strict=True)
        )
        rank = jnp.cumsum(finished.astype(jnp.int32))
        who = jnp.where(finished, jnp.minimum(waiting + rank - 1, m), moved.who)
        lanes = where(finished, self.taken_up(who), moved)
        return lanes, waiting + rank[-1], running - rank[-1], rows
