"""How gradients of an adaptive solve are taken, by name."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from continua.integrate import continuous, lanes, segments
from continua.integrate.continuous import Continuous
from continua.integrate.methods import AbstractEmbedded
from continua.integrate.replay import Asked, replay
from continua.integrate.trajectory import SUCCESS, Found


@dataclasses.dataclass(frozen=True)
class Replay:
    """Reverse mode: the steps are gone back over one by one.

    The gradient is that of the numbers which the accepted steps computed, with their
    lengths held fixed. States of the last steps are kept; of those before, some, from
    which the others are computed once more, so that they take memory like the root of the
    number of steps. With events all are kept. For forward mode take `Direct`.

    **Arguments:**

    - `steps`: steps of a trajectory, rejected ones included, for which there is room,
      4096; with more, the solve ends at the step limit.
    """

    steps: int = 4096


@dataclasses.dataclass(frozen=True)
class Direct:
    """Forward mode: tangents go with the steps, whose lengths are held fixed.

    For derivatives in few inputs, and of any order; reverse mode through it is an error.
    """


def solver(
    method: AbstractEmbedded,
    bind: Callable,
    *,
    gradient: Replay | Direct | Continuous,
    ensemble: bool,
    **options: Any,
) -> Callable:
    """A function `(times, args)` to `lanes.Found`, with the gradient that was asked for.

    `times` are `t0, y0, ends, rtol, atol` as `lanes.Times`. Without `ensemble` they
    are those of one trajectory, without the last axis; under `vmap` such trajectories
    become lanes of one solve.

    **Arguments:**

    - `method`: one that estimates its error.
    - `bind`: as in `lanes.Work`.
    - `gradient`: how gradients are taken.
    - `ensemble`: whether there are many trajectories, with arguments in common.
    - `options`: the further parts of a `lanes.Work`.
    """
    room = gradient.steps if isinstance(gradient, Replay) else None

    def work(each, times, args, own_lanes=False):
        return lanes.Work(method, bind, times, args, each, own_lanes=own_lanes, **options)

    def forward(each, times, args):
        most = lanes.most_lanes(times.y0.shape[0])
        given = dataclasses.replace(work(each, times, args), most=most)
        return segments.integrate(given)[0], ()

    def recorded(each, times, args):
        found, tape = segments.integrate(work(each, times, args, not ensemble), room)
        assert tape is not None
        # Under vmap, all that goes from here to there must belong to trajectories.
        return (found, tape if ensemble else segments.spread(tape, times.t0.size)), ()

    if isinstance(gradient, Direct):  # tangents of one trajectory need no lanes of their own
        direct = _many(forward) if ensemble else _alone(forward)
        return lambda times, args: direct(times, args)[0]
    lift = _many if ensemble else _one
    plain = lift(forward)

    def backward(each, of, args):
        times, found, tape, asked = of
        lanes.check_spread(args, times)
        if room is None:
            given = work(each, times, args)
            in_y0, in_args = continuous.backward(given, found, asked.ys)
        else:
            given = work(each, times, args, not ensemble)
            in_y0, in_args = replay(
                given, room, tape if ensemble else segments.gathered(tape), asked
            )
        return lanes.gathered_as(_in_times(given, found, asked, in_y0), times), in_args

    @jax.custom_vjp
    def run(times, args):
        return plain(times, args)[0]

    def run_forward(times, args):
        times, args = jax.tree.map(lambda x: x.value, (times, args))
        if room is None:
            found = plain(times, args)[0]
            return found, (times, args, found, ())
        (found, tape), _ = lift(recorded)(times, args)
        return found, (times, args, found, tape)

    def run_backward(kept, cotangent):
        times, args, found, tape = kept

        asked = _asked(found, cotangent)
        # The adjoint equation of one trajectory is mapped over as it stands.
        back = lift(backward, own_args=True) if room is not None or ensemble else _alone(backward)
        return back((times, found, tape, asked), args)

    run.defvjp(run_forward, run_backward, symbolic_zeros=True)
    return run


def _asked(found: Found, cotangent: Found) -> Asked:
    """Gradients in what was found, with zeros where there are none."""

    def dense(asked, like):
        return jnp.zeros_like(like) if isinstance(asked, SymbolicZero) else asked

    names = ("ys", "y_end", "t_end")
    ys, y_end, t_end = (dense(getattr(cotangent, n), getattr(found, n)) for n in names)
    events = tuple(map(dense, cotangent.events[:1], found.events[:1]))
    # Facts of the steps whose gradient nobody wants cost nothing backwards.
    facts = cotangent.history[2:4]
    history = tuple(None if isinstance(asked, SymbolicZero) else asked for asked in facts)
    history = history if any(asked is not None for asked in history) else ()
    return Asked(ys, y_end, t_end, events, history)


def _in_times(work: lanes.Work, found: Found, asked: Asked, at_start: Any) -> lanes.Times:
    """Gradients in the times, and those in the initial states with them."""
    times = work.times
    # A later save is further along its trajectory, a later start less far.
    reached = ~jnp.isnan(found.ys)
    slopes = jnp.where(reached, jax.vmap(work.slope)(times.ends, found.ys), 0)
    in_ends = jnp.sum(jnp.where(reached, asked.ys * slopes, 0), axis=1).real
    last = jnp.sum(asked.y_end * slopes[-1], axis=0).real + asked.t_end
    whole = (found.code == SUCCESS) & (found.t_end >= times.ends[-1])
    in_ends = in_ends.at[-1].add(jnp.where(whole, last, 0))
    in_t0 = -jnp.sum(at_start * work.slope(times.t0, times.y0), axis=0).real
    zero = jnp.zeros_like(times.rtol)
    return lanes.Times(in_t0, at_start, in_ends, zero, zero)


def _many(run: Callable, own_args: bool = False) -> Callable:
    """`run` of trajectories that have their arguments in common."""
    return lambda inputs, args: run((False,) * len(args), inputs, args)


def _alone(run: Callable) -> Callable:
    """`run` of one trajectory as a single lane."""

    def one(inputs, args):
        wide = jax.tree.map(lambda x: x[..., None], inputs)
        found, more = run((False,) * len(args), wide, args)
        return jax.tree.map(lambda x: x[..., 0], found), more

    return one


def _one(run: Callable, own_args: bool = False) -> Callable:
    """`run` of one trajectory; where it is vmapped, of all of them as lanes.

    **Arguments:**

    - `run`: `(each, inputs, args)` to outputs with the lanes as their last axis, and
      further ones like `args`.
    - `own_args`: whether the further outputs are wanted for each trajectory.
    """

    one = jax.custom_batching.custom_vmap(_alone(run))

    @one.def_vmap
    def rule(size, batched, inputs, args):
        if not any(jax.tree.leaves(batched)):  # a vmap over tangents alone
            found = _alone(run)(inputs, args)
            return found, jax.tree.map(lambda _: False, found)

        def last(x, mapped):
            if mapped:
                return jnp.moveaxis(x, 0, -1)
            return jnp.broadcast_to(x[..., None], (*x.shape, size))

        wide = jax.tree.map(last, inputs, batched[0])
        each = tuple(own_args or mapped for mapped in batched[1])
        args = tuple(
            last(x, mapped) if own else x
            for x, mapped, own in zip(args, batched[1], each, strict=True)
        )
        found = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), run(each, wide, args))
        return found, jax.tree.map(lambda _: True, found)

    return one
