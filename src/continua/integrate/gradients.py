"""How gradients of an adaptive solve are taken, by name."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from continua.integrate import lanes
from continua.integrate.methods import AbstractEmbedded
from continua.integrate.replay import replay


@dataclasses.dataclass(frozen=True)
class Replay:
    """Reverse mode: the accepted steps are kept, and gone back over one by one.

    The gradient is that of the numbers which the accepted steps computed, with their
    lengths held fixed; memory grows with the number of steps. For forward mode take
    `Direct`.

    **Arguments:**

    - `steps`: accepted steps of a trajectory for which there is room, 2048; with more,
      the solve ends at the step limit.
    """

    steps: int = 2048


@dataclasses.dataclass(frozen=True)
class Direct:
    """Forward mode: tangents go with the steps, whose lengths are held fixed.

    For derivatives in few inputs, and of any order; reverse mode through it is an error.
    """


def solver(
    method: AbstractEmbedded,
    field: Callable,
    *,
    max_steps: int,
    dense: bool,
    gradient: Replay | Direct,
    ensemble: bool,
) -> Callable:
    """A function `(times, args)` to `lanes.Found`, with the gradient that was asked for.

    `times` are `t0, y0, ends, rtol, atol` as `lanes.Times`. Without `ensemble` they
    are those of one trajectory, without the last axis; under `vmap` such trajectories
    become lanes of one solve.

    **Arguments:**

    - `method`: one that estimates its error.
    - `field`: `(t, y, args) -> dy/dt`, `args` a tuple of arrays.
    - `max_steps`: rejected ones included.
    - `dense`: whether saves are read off the polynomials of the steps.
    - `gradient`: how gradients are taken.
    - `ensemble`: whether there are many trajectories, with arguments in common.
    """
    room = gradient.steps if isinstance(gradient, Replay) else None

    options = {"max_steps": max_steps, "dense": dense}

    def forward(each, times, args):
        return lanes.integrate(lanes.Work(method, field, times, args, each), **options)[0], ()

    def recorded(each, times, args):
        work = lanes.Work(method, field, times, args, each)
        return lanes.integrate(work, **options, room=room), ()

    if room is None:  # tangents of one trajectory need no lanes of their own
        direct = _many(forward) if ensemble else _alone(forward)
        return lambda times, args: direct(times, args)[0]
    lift = _many if ensemble else _one
    plain = lift(forward)

    def backward(each, of, args):
        times, *rest = of
        return _backward(lanes.Work(method, field, times, args, each), *rest)

    @jax.custom_vjp
    def run(times, args):
        return plain(times, args)[0]

    def run_forward(times, args):
        times, args = jax.tree.map(lambda x: x.value, (times, args))
        (found, tape), _ = lift(recorded)(times, args)
        return found, (times, args, found, tape)

    def run_backward(kept, cotangent):
        times, args, found, tape = kept
        in_ys, in_slopes = cotangent.ys, (cotangent.slopes,)
        in_ys = jnp.zeros_like(found.ys) if isinstance(in_ys, SymbolicZero) else in_ys
        in_slopes = () if isinstance(in_slopes[0], SymbolicZero) else in_slopes
        return lift(backward, own_args=True)((times, found, tape, in_ys, in_slopes), args)

    run.defvjp(run_forward, run_backward, symbolic_zeros=True)
    return run


def _backward(work: lanes.Work, found, tape, in_ys, in_slopes: tuple):
    """Gradients in the times and the arguments; `in_slopes` is empty where it is zero."""
    slopes = in_slopes[0] if in_slopes else None
    at_start, in_args = replay(work, found, tape, in_ys, slopes)
    times = work.times
    # A later save is further along its trajectory, a later start less far.
    in_ends = jnp.sum(in_ys * found.slopes, axis=1).real
    if slopes is not None:
        given = (times.ends, found.ys), (jnp.ones_like(times.ends), found.slopes)
        bend = jax.jvp(jax.vmap(work.slope), *given)[1]
        in_ends = in_ends + jnp.sum(slopes * bend, axis=1).real
    in_t0 = -jnp.sum(at_start * work.slope(times.t0, times.y0), axis=0).real
    zero = jnp.zeros_like(times.rtol)
    return lanes.Times(in_t0, at_start, in_ends, zero, zero), in_args


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
