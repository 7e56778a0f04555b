"""Trajectories to integrate, and lanes that they are integrated on.

States of many trajectories have these as their last axis, `(n, w)`, along which
processors have vector instructions.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.core.errors import InputError
from continua.integrate import runge_kutta
from continua.integrate.control import PID
from continua.integrate.methods import AbstractEmbedded, AbstractExplicitRungeKutta

MOST_LANES = 512
_MOST_NUMBERS = 2**16


def most_lanes(n: int) -> int:
    """How many lanes are best for states of `n` numbers where no steps are recorded: as
    many as fit into a cache, for lanes that take up trajectories cost time."""
    return max(MOST_LANES, min(8 * MOST_LANES, _MOST_NUMBERS // max(n, 1)))


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


def _axes(x: Any) -> frozenset:
    """Axes of a mesh over which `shard_map` has spread an array."""
    kind = jax.typeof(x)
    return kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying


def spread_over(tree: Any, *like: Any) -> Any:
    """`tree` on the devices of a mesh over which `shard_map` has spread any of `like`; what a
    loop begins with must be spread as what its body makes of it."""
    axes = frozenset().union(*map(_axes, jax.tree.leaves(like)))

    def one(x):
        missing = tuple(axes - _axes(x)) if isinstance(x, jax.Array) else ()
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(one, tree) if axes else tree


def gathered_as(tree: Any, like: Any) -> Any:
    """Gradients in `like`, summed over the devices over which these are not spread."""

    def one(x, y):
        extra = tuple(_axes(x) - _axes(y))
        return jax.lax.psum(x, extra) if extra else x

    return jax.tree.map(one, tree, like)


def check_spread(args: tuple, *like: Any) -> None:
    """Whether arrays that a field closes over are spread over devices as its state is: else
    the devices would have to wait for one another in every step."""
    axes = frozenset().union(*map(_axes, jax.tree.leaves(like)))
    if any(axes - _axes(x) for x in args):
        raise InputError(
            "the field closes over arrays that shard_map has not spread over the devices",
            where="integrate.solve.field",
            fix="hand them to the field through args",
        )


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
    - `bind`: arrays to the field of one trajectory, `(t, y) -> dy/dt` or a flat
      `AbstractField`, and its events, `events.Flat`.
    - `times`: where they begin and when they are saved.
    - `args`: arrays, with a last axis `m` where `each` says so.
    - `each`: for each of `args`, whether it has an entry for each trajectory.
    - `control`: how long steps are.
    - `max_steps`: for one trajectory, rejected ones included.
    - `dense`: whether saves are read off the polynomials of the steps, or met by steps.
    - `directions`: of the events, one a piece.
    - `ending`: for each of them, whether it ends the solve.
    - `history`: for how many accepted steps of a trajectory facts are returned.
    - `own_lanes`: whether each trajectory has a lane of its own.
    - `most`: lanes where it has not.
    """

    method: AbstractEmbedded
    bind: Callable
    times: Times
    args: tuple
    each: tuple[bool, ...]
    control: PID
    max_steps: int
    dense: bool
    directions: tuple[int, ...] = ()
    ending: tuple[bool, ...] = ()
    history: int = 0
    own_lanes: bool = False
    most: int = MOST_LANES

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
        return self.count if self.own_lanes or any(self.each) else min(self.count, self.most)

    @property
    def settled(self) -> bool:
        """Whether trajectory `i` is on lane `i`, so that nothing must be looked for."""
        return self.lanes == self.count

    def of(self, values: Any, who: Any) -> Any:
        """Entries of the trajectories `who`, along the last axis."""
        return values if self.settled else pick(values, who)

    def over(self, function: Callable, args: tuple | None, *inputs: Any) -> Any:
        """`function(args, *inputs)` of one trajectory, of all lanes; the lanes are the last
        axis of inputs and outputs."""
        axes = tuple(-1 if own else None for own in self.each)
        axes = (axes, *(-1 for _ in inputs))
        return jax.vmap(function, axes, -1)(self.args if args is None else args, *inputs)

    def slope(self, t: Any, y: Any, args: tuple | None = None) -> Any:
        """The field on all lanes, by default with its own arguments."""
        return self.over(lambda args, t, y: self.bind(args)[0](t, y), args, t, y)

    def step(self, t: Any, y: Any, slope: Any, dt: Any, args: tuple | None = None) -> tuple:
        """One step of all lanes, as `AbstractEmbedded.step`."""
        if self.method.on_lanes:
            return self.method.step(lambda t, y: self.slope(t, y, args), t, y, slope, dt)

        def one(args, t, y, slope, dt):
            return self.method.step(self.bind(args)[0], t, y, slope, dt)

        return self.over(one, args, t, y, slope, dt)

    def facts(self, t, y, slope, dt, args: tuple | None, limits: tuple, taken: tuple):
        """Of a step of all lanes, which returned `taken`, its error, in units of the tolerances
        `limits`, and an estimate of the largest `|lambda|`; both with derivatives."""
        new, after, error, _ = taken
        size, _ = runge_kutta.error_norm(error, y, new, *limits)
        if isinstance(self.method, AbstractExplicitRungeKutta):
            given = (self.method.tableau, lambda t, y: self.slope(t, y, args), t, y, slope, dt)
            return size, runge_kutta.stiffness(*given, new, after)
        return size, runge_kutta.ratio(after - slope, new - y)

    def conditions(self, t: Any, y: Any, slope: Any) -> tuple[Any, Any]:
        """The conditions of the events, and their derivatives in time, `(e, w)`."""

        def one(args, t, y, slope):
            return jax.jvp(self.bind(args)[1].condition, (t, y), (jnp.ones_like(t), slope))

        return self.over(one, None, t, y, slope)

    def changed(self, which: Any, t: Any, y: Any, args: tuple | None = None) -> Any:
        """States after the events `which`."""
        return self.over(
            lambda args, e, t, y: self.bind(args)[1].change(t, y)[e], args, which, t, y
        )

    def tolerance(self, t: Any, dt: Any) -> Any:
        """How far the time of an event may be off."""
        return 16 * jnp.finfo(t.dtype).eps * jnp.maximum(jnp.abs(t), jnp.abs(dt))

    def early(self) -> Any:
        """Which saves lie at the initial time, `(k, m)`."""
        return self.times.ends <= self.times.t0
