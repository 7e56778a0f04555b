"""Trajectories to integrate, and lanes that they are integrated on.

States of many trajectories have these as their last axis, `(n, w)`, along which
processors have vector instructions.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate.control import PID
from continua.integrate.methods import AbstractEmbedded

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


def on_lanes(field: Callable, each: tuple[bool, ...]) -> Callable:
    """A field of one trajectory as one of all lanes: `(t (w,), y (n, w), args)`.

    **Arguments:**

    - `field`: `(t, y, args) -> dy/dt`.
    - `each`: for each of `args`, whether its last axis is that of the lanes.
    """
    axes = tuple(-1 if own else None for own in each)
    return jax.vmap(field, in_axes=(0, -1, axes), out_axes=-1)


def pick(values: Any, index: Any) -> Any:
    """Entries of the last axis."""
    return jnp.take(values, index, axis=-1, mode="clip")


def smooth(args: tuple) -> tuple:
    """The arrays that have derivatives, `None` in place of the others."""
    return tuple(x if jnp.issubdtype(x.dtype, jnp.inexact) else None for x in args)


def together(moving: tuple, args: tuple) -> tuple:
    """`args` with those of `smooth` replaced."""
    return tuple(x if a is None else a for a, x in zip(moving, args, strict=True))


def weighed(weights: tuple, parts: tuple) -> Any:
    """A weighted sum of those parts that there are."""
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
    - `control`: how long steps are.
    - `max_steps`: for one trajectory, rejected ones included.
    - `dense`: whether saves are read off the polynomials of the steps, or met by steps.
    - `own_lanes`: whether each trajectory has a lane of its own.
    """

    method: AbstractEmbedded
    field: Callable
    times: Times
    args: tuple
    each: tuple[bool, ...]
    control: PID
    max_steps: int
    dense: bool
    own_lanes: bool = False

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
        return self.count if self.own_lanes or any(self.each) else min(self.count, MOST_LANES)

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
