r"""Adaptive explicit steps for many trajectories at once, each with steps of its own.

A few hundred lanes step side by side. A lane whose trajectory is finished takes up the
next one that waits, so no trajectory waits for another, and the arrays stay small
enough for the caches. States have the lanes as their last axis, `(n, w)`, along which
processors have vector instructions.

The steps that were accepted can be recorded, for `replay` to go back over them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate import runge_kutta
from continua.integrate.methods import AbstractEmbedded
from continua.integrate.trajectory import NON_FINITE, STEP_LIMIT, SUCCESS, Found

MOST_LANES = 256


class Times(NamedTuple):
    """Where `m` trajectories of `n` numbers begin, and when they are saved.

    **Arguments:**

    - `t0`: `(m,)`; `y0`: `(n, m)`.
    - `ends`: times of the saves, increasing, `(k, m)`.
    - `rtol`, `atol`: `(m,)`.
    """

    t0: Any
    y0: Any
    ends: Any
    rtol: Any
    atol: Any


class Tape(NamedTuple):
    """The accepted steps of each trajectory, in their order, with room for `r`.

    **Arguments:**

    - `t`, `dt`: where a step began and how long it was, `(r, m)`.
    - `y`: the state there, `(r, n, m)`.
    - `save`, `met`: the first save that lies in the step, and how many do, `(r, m)`.
    """

    t: Any
    dt: Any
    y: Any
    save: Any
    met: Any


class _Lanes(NamedTuple):
    who: Any
    t: Any
    y: Any
    slope: Any
    dt: Any
    before: Any  # the error of the last accepted step
    save: Any  # the next save
    steps: Any
    rejected: Any


class _Carry(NamedTuple):
    lanes: _Lanes
    waiting: Any  # the first trajectory that no lane has taken up
    running: Any  # trajectories that are not finished
    found: Found
    tape: Tape | None


def on_lanes(field: Callable, each: tuple[bool, ...]) -> Callable:
    """A field of one trajectory as one of all lanes: `(t (w,), y (n, w), args)`.

    **Arguments:**

    - `field`: `(t, y, args) -> dy/dt`.
    - `each`: for each of `args`, whether its last axis is that of the lanes.
    """
    axes = tuple(-1 if own else None for own in each)
    return jax.vmap(field, in_axes=(0, -1, axes), out_axes=-1)


def _pick(values: Any, index: Any) -> Any:
    return jnp.take(values, index, axis=-1, mode="clip")


def smooth(args: tuple) -> tuple:
    """The arrays that have derivatives, `None` in place of the others."""
    return tuple(x if jnp.issubdtype(x.dtype, jnp.inexact) else None for x in args)


def together(moving: tuple, args: tuple) -> tuple:
    """`args` with those of `smooth` replaced."""
    return tuple(x if a is None else a for a, x in zip(moving, args, strict=True))


def _weighed(weights: tuple, parts: tuple) -> Any:
    return sum(w * x for w, x in zip(weights, parts, strict=True) if x is not None)


def where(chosen: Any, first: Any, second: Any) -> Any:
    """Lanes of one tree where they are `chosen`: `first`, and of another: `second`."""
    return jax.tree.map(lambda a, b: jnp.where(chosen, a, b), first, second)


@dataclasses.dataclass(frozen=True)
class Work:
    """Trajectories to integrate, and by what.

    **Arguments:**

    - `method`: one that estimates its error.
    - `field`: `(t, y, args) -> dy/dt` of one trajectory.
    - `times`: where they begin and when they are saved.
    - `args`: arrays, with a last axis `m` where `each` says so.
    - `each`: for each of `args`, whether it has an entry for each trajectory.
    """

    method: AbstractEmbedded
    field: Callable
    times: Times
    args: tuple
    each: tuple[bool, ...]

    @property
    def count(self) -> int:
        """Trajectories, `m`."""
        return self.times.y0.shape[1]

    @property
    def saves(self) -> int:
        """Saves of each, `k`."""
        return self.times.ends.shape[0]

    @property
    def lanes(self) -> int:
        """Lanes, `w`."""
        # Arguments of its own for each trajectory would be picked anew in every round.
        return self.count if any(self.each) else min(self.count, MOST_LANES)

    def slope(self, t: Any, y: Any, args: tuple | None = None) -> Any:
        """The field on all lanes, by default with its own arguments."""
        return on_lanes(self.field, self.each)(t, y, self.args if args is None else args)

    def step(self, t: Any, y: Any, slope: Any, dt: Any, args: tuple) -> tuple:
        """One step of all lanes, as `AbstractEmbedded.step`."""
        if self.method.on_lanes:
            return self.method.step(lambda t, y: self.slope(t, y, args), t, y, slope, dt)

        def one(t, y, slope, dt, args):
            return self.method.step(lambda t, y: self.field(t, y, args), t, y, slope, dt)

        axes = tuple(-1 if own else None for own in self.each)
        return jax.vmap(one, in_axes=(0, -1, -1, 0, axes), out_axes=-1)(t, y, slope, dt, args)

    def early(self) -> Any:
        """Which saves lie at the initial time, `(k, m)`."""
        return self.times.ends <= self.times.t0


def integrate(
    work: Work, *, max_steps: int, dense: bool, room: int | None = None
) -> tuple[Found, Tape | None]:
    """Integrate all trajectories.

    **Arguments:**

    - `work`: what is to be integrated.
    - `max_steps`: for one trajectory, rejected ones included.
    - `dense`: whether saves are read off the polynomials of the steps, or met by steps.
    - `room`: for how many accepted steps of a trajectory there is room on the tape;
      `None` keeps none.

    **Returns:** what was found, and the tape.
    """
    slopes = work.slope(work.times.t0, work.times.y0)
    rounds = _Rounds(work, max_steps, dense, room, slopes, _first_steps(work, slopes))
    end = jax.lax.while_loop(lambda c: c.running > 0, rounds.round, rounds.begin())
    tries = end.found.steps + end.found.rejected
    evaluations = 2 + work.method.evaluations * tries
    return end.found._replace(evaluations=evaluations), end.tape


def _first_steps(work: Work, slopes: Any) -> Any:
    times = work.times
    span = jnp.maximum(times.ends[-1] - times.t0, jnp.finfo(times.t0.dtype).tiny)
    order = work.method.error_order
    return runge_kutta.first_step(
        order, work.slope, times.t0, times.y0, slopes, span, times.rtol, times.atol
    )


class _Tried(NamedTuple):
    """One step of every lane."""

    target: Any
    last: Any
    dt: Any
    new: Any
    slope: Any
    bend: Any
    size: Any  # its error in units of the tolerances
    entries: Any  # what each number added to it
    due: Any  # lanes that had something to do
    accept: Any


@dataclasses.dataclass(frozen=True)
class _Rounds:
    """The rounds of all lanes, with the slopes and steps that trajectories begin with."""

    work: Work
    max_steps: int
    dense: bool
    room: int | None
    slopes: Any
    first_dt: Any

    def begin(self) -> _Carry:
        work, times = self.work, self.work.times
        m, real, early = work.count, times.t0.dtype, work.early()[:, None]
        none, unknown = jnp.zeros(m, jnp.int32), jnp.full((), jnp.nan, times.y0.dtype)
        found = Found(
            jnp.where(early, times.y0, unknown),
            jnp.where(early, self.slopes, unknown),
            none,
            none,
            none,
            times.t0,
            none,
            self.first_dt,
            none,
        )
        tape = None
        if self.room is not None:
            numbers = jnp.zeros((self.room, m), real)
            counts = jnp.zeros((self.room, m), jnp.int32)
            states = jnp.zeros((self.room, *times.y0.shape), times.y0.dtype)
            tape = Tape(numbers, numbers, states, counts, counts)
        lanes = self.taken_up(jnp.arange(work.lanes, dtype=jnp.int32))
        waiting, running = (jnp.full((), x, jnp.int32) for x in (work.lanes, m))
        return _Carry(lanes, waiting, running, found, tape)

    def taken_up(self, who: Any) -> _Lanes:
        """Lanes at the beginning of the trajectories `who`."""
        times = self.work.times
        first = jnp.sum(self.work.early(), axis=0).astype(jnp.int32)
        none = jnp.zeros(who.shape, jnp.int32)
        return _Lanes(
            who,
            _pick(times.t0, who),
            _pick(times.y0, who),
            _pick(self.slopes, who),
            _pick(self.first_dt, who),
            jnp.ones(who.shape, times.t0.dtype),
            _pick(first, who),
            none,
            none,
        )

    def end(self, s: _Lanes, save: Any) -> Any:
        """The time of a save of each lane."""
        whose = jnp.minimum(s.who, self.work.count - 1)
        return self.work.times.ends[jnp.minimum(save, self.work.saves - 1), whose]

    def tried(self, s: _Lanes) -> _Tried:
        work, times = self.work, self.work.times
        rtol, atol = _pick(times.rtol, s.who), _pick(times.atol, s.who)
        target = self.end(s, jnp.full_like(s.save, work.saves - 1) if self.dense else s.save)
        left = target - s.t
        last = s.dt * (1.0 + 1e-3) >= left
        dt = jnp.where(last, left, s.dt)
        new, slope, error, bend = work.step(s.t, s.y, s.slope, dt, work.args)
        frozen = jax.lax.stop_gradient((error, s.y, new))
        size, entries = runge_kutta.error_norm(*frozen, rtol, atol)
        finite = jnp.isfinite(size) & jnp.all(jnp.isfinite(slope), axis=0)
        size = jnp.where(finite, size, 1e6)
        # A lane without a save to come was asked for nothing but the start.
        due = (s.who < work.count) & (s.save < work.saves)
        accept = due & (size <= 1.0)
        return _Tried(target, last, dt, new, slope, bend, size, entries, due, accept)

    def saved(self, s: _Lanes, x: _Tried, t: Any, saved: tuple) -> tuple[Any, tuple]:
        """The next save of each lane, and the states and slopes with those of this step."""
        k = self.work.saves
        parts = (s.y, x.dt * s.slope, x.new, x.dt * x.slope, x.bend)
        size = jnp.where(x.dt > 0, x.dt, 1.0)

        def here(save):
            return x.accept & (save < k) & (self.end(s, save) <= t)

        def write(of):
            save, saved = of
            due = here(save)
            share = jnp.where(due & (x.dt > 0), (self.end(s, save) - s.t) / size, 1.0)
            values, slopes = runge_kutta.basis(share)
            found = (_weighed(values, parts), _weighed(slopes, parts) / size)
            at = jnp.where(due, save, k), slice(None), s.who
            saved = tuple(a.at[at].set(v.T, mode="drop") for a, v in zip(saved, found, strict=True))
            return save + due.astype(save.dtype), saved

        return jax.lax.while_loop(lambda of: jnp.any(here(of[0])), write, (s.save, saved))

    def recorded(self, tape: Tape, s: _Lanes, x: _Tried, save: Any) -> Tape:
        place = jnp.where(x.accept, s.who, self.work.count)
        return Tape(
            tape.t.at[s.steps, place].set(s.t, mode="drop"),
            tape.dt.at[s.steps, place].set(x.dt, mode="drop"),
            tape.y.at[s.steps, :, place].set(s.y.T, mode="drop"),
            tape.save.at[s.steps, place].set(s.save, mode="drop"),
            tape.met.at[s.steps, place].set(save - s.save, mode="drop"),
        )

    def code(self, moved: _Lanes, x: _Tried) -> Any:
        """How each trajectory ended, `SUCCESS` where it goes on."""
        limit = self.max_steps if self.room is None else min(self.max_steps, self.room)
        spent = (moved.steps + moved.rejected >= self.max_steps) | (moved.steps >= limit)
        code = jnp.where(spent & (moved.save < self.work.saves), STEP_LIMIT, SUCCESS)
        size = jnp.maximum(jnp.abs(moved.t), 1e-3 * jnp.abs(x.target))
        short = moved.dt <= 4 * jnp.finfo(moved.t.dtype).eps * size
        return jnp.where(x.due & ~x.accept & short, NON_FINITE, code).astype(jnp.int32)

    def round(self, c: _Carry) -> _Carry:
        s, x = c.lanes, self.tried(c.lanes)
        t = jnp.where(x.accept, jnp.where(x.last, x.target, s.t + x.dt), s.t)
        save, saved = self.saved(s, x, t, tuple(c.found[:2]))
        tape = None if c.tape is None else self.recorded(c.tape, s, x, save)
        q = self.work.method.error_order + 1.0
        following, before = runge_kutta.next_step(q, x.size, s.before, x.dt, s.dt, x.accept)
        moved = _Lanes(
            s.who,
            t,
            jnp.where(x.accept, x.new, s.y),
            jnp.where(x.accept, x.slope, s.slope),
            following,
            before,
            save,
            s.steps + x.accept.astype(jnp.int32),
            s.rejected + (x.due & ~x.accept).astype(jnp.int32),
        )
        code, rows = self.code(moved, x), tuple(c.found[2:-1])
        active = s.who < self.work.count
        finished = active & ((save >= self.work.saves) | (code != SUCCESS))
        moved, waiting, running, rows = jax.lax.cond(
            jnp.any(finished),
            lambda of: self.handed_over(finished, code, x, *of),
            lambda of: of,
            (moved, c.waiting, c.running, rows),
        )
        found = Found(*saved, *rows, evaluations=c.found.evaluations)
        return _Carry(moved, waiting, running, found, tape)

    def handed_over(self, finished, code, x: _Tried, moved: _Lanes, waiting, running, rows):
        """Write down what is finished, and take up what waits."""
        m = self.work.count
        suspect = jnp.where(jnp.isfinite(x.entries), x.entries, jnp.inf)
        worst = jnp.where(code == SUCCESS, 0, jnp.argmax(suspect, axis=0)).astype(jnp.int32)
        place = jnp.where(finished, moved.who, m)
        values = (moved.steps, moved.rejected, code, moved.t, worst, x.dt)
        rows = tuple(a.at[place].set(v, mode="drop") for a, v in zip(rows, values, strict=True))
        rank = jnp.cumsum(finished.astype(jnp.int32))
        who = jnp.where(finished, jnp.minimum(waiting + rank - 1, m), moved.who)
        lanes = where(finished, self.taken_up(who), moved)
        return lanes, waiting + rank[-1], running - rank[-1], rows
