r"""Adaptive explicit steps for many trajectories at once, each with steps of its own.

A few hundred lanes step side by side. A lane whose trajectory is finished takes up the
next one that waits, so no trajectory waits for another, and the arrays stay small
enough for the caches. States have the lanes as their last axis, `(n, w)`, along which
processors have vector instructions.

The steps that were accepted can be recorded, and `replay` goes back over them: for each
step, the transpose of its derivative is applied to the gradient that has come so far,

    l_k = (d y_{k+1} / d y_k)^T l_{k+1} + (gradient of what was saved at t_k),

which is the exact gradient of the numbers that the accepted steps computed, their
lengths held fixed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate import runge_kutta
from continua.integrate.tableaus import Tableau
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


def _where(chosen: Any, first: Any, second: Any) -> Any:
    """Lanes of one tree where they are chosen, and of another where not."""
    return jax.tree.map(lambda a, b: jnp.where(chosen, a, b), first, second)


def _first(times: Times) -> tuple[Any, Any]:
    """Which saves lie at the initial time, `(k, m)`, and the first that does not, `(m,)`."""
    early = times.ends <= times.t0
    return early, jnp.sum(early, axis=0).astype(jnp.int32)


def _lane_count(each: tuple[bool, ...], m: int) -> int:
    # Arguments of its own for each trajectory would be picked anew in every round.
    return m if any(each) else min(m, MOST_LANES)


def integrate(
    tableau: Tableau,
    field: Callable,
    times: Times,
    args: tuple,
    each: tuple[bool, ...],
    *,
    max_steps: int,
    dense: bool,
    room: int | None = None,
) -> tuple[Found, Tape | None]:
    """Integrate all trajectories.

    **Arguments:**

    - `tableau`: of a method that estimates its error.
    - `field`: `(t, y, args) -> dy/dt` of one trajectory.
    - `times`: where they begin and when they are saved.
    - `args`: arrays, with a last axis `m` where `each` says so.
    - `each`: for each of `args`, whether it has an entry for each trajectory.
    - `max_steps`: for one trajectory, rejected ones included.
    - `dense`: whether saves are read off the polynomials of the steps, or met by steps.
    - `room`: for how many accepted steps of a trajectory there is room on the tape;
      `None` keeps none.

    **Returns:** what was found, and the tape.
    """
    all_lanes = on_lanes(field, each)
    (n, m), k = times.y0.shape, times.ends.shape[0]
    real, w = times.t0.dtype, _lane_count(each, m)
    slopes = all_lanes(times.t0, times.y0, args)
    span = jnp.maximum(times.ends[-1] - times.t0, jnp.finfo(real).tiny)
    first_dt = runge_kutta.first_step(
        tableau,
        lambda t, y: all_lanes(t, y, args),
        times.t0,
        times.y0,
        slopes,
        span,
        times.rtol,
        times.atol,
    )
    early, first_save = _first(times)
    none = jnp.zeros(m, jnp.int32)
    unknown = jnp.full((), jnp.nan, times.y0.dtype)
    found = Found(
        jnp.where(early[:, None], times.y0, unknown),
        jnp.where(early[:, None], slopes, unknown),
        none,
        none,
        none,
        times.t0,
        none,
        first_dt,
        none,
    )
    tape = None
    if room is not None:
        tape = Tape(
            jnp.zeros((room, m), real),
            jnp.zeros((room, m), real),
            jnp.zeros((room, n, m), times.y0.dtype),
            jnp.zeros((room, m), jnp.int32),
            jnp.zeros((room, m), jnp.int32),
        )

    def taken_up(who) -> _Lanes:
        """Lanes at the beginning of the trajectories `who`."""
        zero = jnp.zeros(w, jnp.int32)
        return _Lanes(
            who,
            _pick(times.t0, who),
            _pick(times.y0, who),
            _pick(slopes, who),
            _pick(first_dt, who),
            jnp.ones(w, real),
            _pick(first_save, who),
            zero,
            zero,
        )

    lanes = taken_up(jnp.arange(w, dtype=jnp.int32))
    carry = _Carry(lanes, jnp.full((), w, jnp.int32), jnp.full((), m, jnp.int32), found, tape)
    q = tableau.embedded_order + 1.0
    eps = jnp.finfo(real).eps

    def body(c: _Carry) -> _Carry:
        s, tape = c.lanes, c.tape
        active = s.who < m
        due = active & (s.save < k)  # else nothing but the start was asked for
        rtol, atol = _pick(times.rtol, s.who), _pick(times.atol, s.who)
        whose = jnp.minimum(s.who, m - 1)

        def end(save):
            return times.ends[jnp.minimum(save, k - 1), whose]

        target = end(jnp.full_like(s.save, k - 1) if dense else s.save)
        left = target - s.t
        last = s.dt * (1.0 + 1e-3) >= left
        dt = jnp.where(last, left, s.dt)
        new, slope, error, bend = runge_kutta.step(
            tableau, lambda t, y: all_lanes(t, y, args), s.t, s.y, s.slope, dt
        )
        frozen = jax.lax.stop_gradient((error, s.y, new))
        size, entries = runge_kutta.error_norm(*frozen, rtol, atol)
        finite = jnp.isfinite(size) & jnp.all(jnp.isfinite(slope), axis=0)
        size = jnp.where(finite, size, 1e6)
        accept = due & (size <= 1.0)
        following, kept = runge_kutta.next_step(q, size, s.before, dt, s.dt, accept)
        tried = jnp.ones((), jnp.int32)
        steps = s.steps + jnp.where(accept, tried, 0)
        rejected = s.rejected + jnp.where(due & ~accept, tried, 0)
        t = jnp.where(accept, jnp.where(last, target, s.t + dt), s.t)
        parts = (s.y, dt * s.slope, new, dt * slope, bend)

        def write(of):
            save, saved = of
            due = accept & (save < k) & (end(save) <= t)
            share = jnp.where(due & (dt > 0), (end(save) - s.t) / jnp.where(dt > 0, dt, 1.0), 1.0)
            values, slopes = runge_kutta.basis(share)
            found = (_weighed(values, parts), _weighed(slopes, parts) / jnp.where(dt > 0, dt, 1.0))
            at = jnp.where(due, save, k), slice(None), s.who
            saved = tuple(a.at[at].set(x.T, mode="drop") for a, x in zip(saved, found, strict=True))
            return save + due.astype(save.dtype), saved

        save, saved = jax.lax.while_loop(
            lambda of: jnp.any(accept & (of[0] < k) & (end(of[0]) <= t)),
            write,
            (s.save, tuple(c.found[:2])),
        )
        short = following <= 4 * eps * jnp.maximum(jnp.abs(s.t), 1e-3 * jnp.abs(target))
        limit = max_steps if room is None else min(max_steps, room)
        spent = (steps + rejected >= max_steps) | (steps >= limit)
        code = jnp.where(spent & (save < k), STEP_LIMIT, SUCCESS)
        code = jnp.where(due & ~accept & short, NON_FINITE, code).astype(jnp.int32)
        finished = active & ((save >= k) | (code != SUCCESS))
        place = jnp.where(accept, s.who, m)
        if tape is not None:
            tape = Tape(
                tape.t.at[s.steps, place].set(s.t, mode="drop"),
                tape.dt.at[s.steps, place].set(dt, mode="drop"),
                tape.y.at[s.steps, :, place].set(s.y.T, mode="drop"),
                tape.save.at[s.steps, place].set(s.save, mode="drop"),
                tape.met.at[s.steps, place].set(save - s.save, mode="drop"),
            )
        moved = _Lanes(
            s.who,
            t,
            jnp.where(accept, new, s.y),
            jnp.where(accept, slope, s.slope),
            following,
            kept,
            save,
            steps,
            rejected,
        )

        def finish(of):
            moved, waiting, running, rows = of
            suspect = jnp.where(jnp.isfinite(entries), entries, jnp.inf)
            worst = jnp.where(code == SUCCESS, 0, jnp.argmax(suspect, axis=0)).astype(jnp.int32)
            place = jnp.where(finished, s.who, m)
            values = (steps, rejected, code, moved.t, worst, dt)
            rows = tuple(
                row.at[place].set(value, mode="drop")
                for row, value in zip(rows, values, strict=True)
            )
            rank = jnp.cumsum(finished.astype(jnp.int32))
            who = jnp.where(finished, jnp.minimum(waiting + rank - 1, m), s.who)
            lanes = _where(finished, taken_up(who), moved)
            return lanes, waiting + rank[-1], running - rank[-1], rows

        rows = tuple(c.found[2:-1])
        moved, waiting, running, rows = jax.lax.cond(
            jnp.any(finished), finish, lambda of: of, (moved, c.waiting, c.running, rows)
        )
        return _Carry(
            moved, waiting, running, Found(*saved, *rows, evaluations=c.found.evaluations), tape
        )

    end = jax.lax.while_loop(lambda c: c.running > 0, body, carry)
    tries = end.found.steps + end.found.rejected
    evaluations = 2 + runge_kutta.evaluations_per_step(tableau) * tries
    return end.found._replace(evaluations=evaluations), end.tape


class _Back(NamedTuple):
    who: Any
    step: Any  # the step that is gone back over next
    y: Any  # the gradient in the state after it


def replay(
    tableau: Tableau,
    field: Callable,
    times: Times,
    args: tuple,
    each: tuple[bool, ...],
    found: Found,
    tape: Tape,
    in_ys: Any,
    in_slopes: Any,
) -> tuple[Any, tuple]:
    """Gradients in the initial states and the arguments, back over a tape.

    **Arguments:**

    - `tableau`, `field`, `times`, `args`, `each`: as `integrate`.
    - `found`, `tape`: what it returned.
    - `in_ys`, `in_slopes`: gradients in what was saved, `(k, n, m)`; `None` for the
      second leaves it out.

    **Returns:** gradients in `times.y0` and in `smooth(args)`.
    """
    all_lanes = on_lanes(field, each)
    (n, m), k = times.y0.shape, times.ends.shape[0]
    w = _lane_count(each, m)
    early, _ = _first(times)

    moving = found.steps > 0
    count = jnp.sum(moving).astype(jnp.int32)
    queue = jnp.argsort(~moving)  # those that took a step before those that did not

    def taken_up(place) -> _Back:
        who = jnp.where(place < count, _pick(queue, place), m).astype(jnp.int32)
        return _Back(who, _pick(found.steps, who) - 1, jnp.zeros((n, w), times.y0.dtype))

    lanes = taken_up(jnp.arange(w, dtype=jnp.int32))
    nothing = jax.tree.map(jnp.zeros_like, smooth(args))
    carry = (lanes, jnp.full((), w, jnp.int32), count, jnp.zeros_like(times.y0), nothing)

    def body(carry):
        lanes, waiting, running, at_start, in_args = carry
        active = lanes.who < m
        # A lane without work repeats the step of one that has some: its numbers are sound.
        model = jnp.argmax(active)
        row, who = (jnp.where(active, x, x[model]) for x in (lanes.step, lanes.who))
        t, dt, save, met = (a[row, who] for a in (tape.t, tape.dt, tape.save, tape.met))
        met = jnp.where(active, met, 0)
        y = tape.y[row, :, who].T
        size = jnp.where(dt > 0, dt, 1.0)

        def read(of):
            number, asked = of
            here = number < met
            at = jnp.minimum(save + number, k - 1)
            share = jnp.where(here & (dt > 0), (times.ends[at, who] - t) / size, 1.0)
            values, slopes = runge_kutta.basis(share)
            in_y = jnp.where(here, in_ys[at, :, who].T, 0)
            asked = tuple(a + v * in_y for a, v in zip(asked, values, strict=True))
            if in_slopes is not None:
                in_slope = jnp.where(here, in_slopes[at, :, who].T, 0) / size
                asked = tuple(a + v * in_slope for a, v in zip(asked, slopes, strict=True))
            return number + 1, asked

        none = jnp.zeros_like(y)
        asked = (none, none, jnp.where(active, lanes.y, 0), none, none)
        _, asked = jax.lax.while_loop(
            lambda of: jnp.any(of[0] < met), read, (jnp.zeros((), jnp.int32), asked)
        )

        def one(y, moving):
            def at(t, y):
                return all_lanes(t, y, together(moving, args))

            slope = at(t, y)
            new, after, _, bend = runge_kutta.step(tableau, at, t, y, slope, dt)
            return y, dt * slope, new, dt * after, none if bend is None else bend

        _, pull = jax.vjp(one, y, smooth(args))
        before, more = pull(asked)
        in_args = jax.tree.map(jnp.add, in_args, more)
        moved = _Back(lanes.who, lanes.step - 1, before)
        finished = active & (moved.step < 0)

        def finish(of):
            moved, waiting, running, at_start = of
            place = jnp.where(finished, moved.who, m)
            at_start = at_start.at[:, place].set(moved.y, mode="drop")
            rank = jnp.cumsum(finished.astype(jnp.int32))
            lanes = _where(finished, taken_up(waiting + rank - 1), moved)
            return lanes, waiting + rank[-1], running - rank[-1], at_start

        lanes, waiting, running, at_start = jax.lax.cond(
            jnp.any(finished), finish, lambda of: of, (moved, waiting, running, at_start)
        )
        return lanes, waiting, running, at_start, in_args

    _, _, _, at_start, in_args = jax.lax.while_loop(lambda c: c[2] > 0, body, carry)
    # What was asked for at the initial time is the initial state itself.
    at_start = at_start + jnp.sum(jnp.where(early[:, None], in_ys, 0), axis=0)
    if in_slopes is not None:
        _, pull = jax.vjp(
            lambda y, moving: all_lanes(times.t0, y, together(moving, args)),
            times.y0,
            smooth(args),
        )
        add, more = pull(jnp.sum(jnp.where(early[:, None], in_slopes, 0), axis=0))
        at_start, in_args = at_start + add, jax.tree.map(jnp.add, in_args, more)
    return at_start, in_args
