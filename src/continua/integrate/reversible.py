r"""Reversible methods, whose steps can be undone, and gradients that make use of it.

The gradient goes back over the steps, each of which is undone before its derivative is
taken: memory holds what was saved and one step, however many steps there are.
"""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError
from continua.integrate import fixed
from continua.integrate.closed import Closed
from continua.integrate.lanes import smooth, together
from continua.integrate.methods import AbstractExplicitRungeKutta, AbstractOneStep
from continua.integrate.trajectory import Found, all_finite


class AbstractReversible(AbstractOneStep):
    """A method whose steps can be undone, up to rounding errors."""

    @abc.abstractmethod
    def undo(self, field: Any, weights: Any, t: Any, y: Any, memory: Any, dt: Any) -> tuple:
        """State and memory before the step of length `dt` from `t`, from those after it."""


@dataclasses.dataclass(frozen=True)
class Reversible(AbstractReversible):
    r"""An explicit Runge-Kutta method made reversible by a second state `z`, of its order.

    With `y + P_h(t, y)` a step of the method,

        y_new = l y + (1 - l) z + P_h(t, z),    z_new = z - P_{-h}(t + h, y_new).

    A step scales volumes of `(y, z)` by `l` to the power of the numbers in `y`, whatever
    the right-hand side. So beside what decays by `e^{-hm}` in a step, there is a part of
    the difference of `y` and `z` that changes by `l e^{hm}`: over long times the method is
    for problems, or steps, with `hm` below `1 - l`.

    **Arguments:**

    - `method`: such as `RK4()`.
    - `coupling`: `l`, above 0 and no greater than 1, 0.999 by default. The rounding errors
      of what is undone grow by `1 / l` in each step.

    **Raises:** `InputError` for another method or coupling.

    **Reference:** mccallum2024efficient
    """

    method: Any
    coupling: float = 0.999

    reference: ClassVar[str] = "mccallum2024efficient"

    def __post_init__(self):
        if not isinstance(self.method, AbstractExplicitRungeKutta):
            raise InputError(
                f"got {type(self.method).__name__}, expected an explicit Runge-Kutta method",
                where="integrate.Reversible.method",
                fix="give a value such as RK4()",
            )
        if not 0 < self.coupling <= 1:
            raise InputError(
                f"got {self.coupling}, expected a number above 0 and no greater than 1",
                where="integrate.Reversible.coupling",
                fix="take 0.999",
            )

    @property
    def order(self):
        """The order of the method."""
        return self.method.order

    @property
    def evaluations(self):
        """Calls of the right-hand side in a step."""
        return 2 * self.method.tableau.stages - 2 * self.method.tableau.first_same_as_last

    def weights(self, field, dt):
        """Nothing."""
        return ()

    def begin(self, field, t, y):
        """The second state."""
        return y

    def move(self, field, weights, t, y, memory, dt):
        """One step: both states."""
        z = memory
        y = self.coupling * y + (1 - self.coupling) * z + self._change(field, t, z, dt)
        return y, z - self._change(field, t + dt, y, -dt)

    def undo(self, field, weights, t, y, memory, dt):
        """Both states before a step."""
        z = memory + self._change(field, t + dt, y, -dt)
        return (y - (1 - self.coupling) * z - self._change(field, t, z, dt)) / self.coupling, z

    def slope(self, field, t, y, memory):
        """`dy/dt`."""
        return field(t, y)

    def _change(self, field, t, y, dt):
        return self.method.step(field, t, y, field(t, y), dt)[0] - y


@dataclasses.dataclass(frozen=True)
class ReversibleHeun(AbstractReversible):
    r"""The reversible Heun method, order 2, one evaluation a step. It has no stability to
    spare: oscillations of `z` around `y` are not damped.

        z_new = 2 y - z + h f(t, z),    y_new = y + h/2 (f(t, z) + f(t + h, z_new))

    **Reference:** kidger2021efficient
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 1
    reference: ClassVar[str] = "kidger2021efficient"

    def weights(self, field, dt):
        """Nothing."""
        return ()

    def begin(self, field, t, y):
        """The second state and its slope."""
        return y, field(t, y)

    def move(self, field, weights, t, y, memory, dt):
        """One step: the states and the slope of the second."""
        z, slope = memory
        z = 2 * y - z + dt * slope
        new = field(t + dt, z)
        return y + dt / 2 * (slope + new), (z, new)

    def undo(self, field, weights, t, y, memory, dt):
        """A step backwards, which is the same."""
        return self.move(field, weights, t + dt, y, memory, -dt)

    def slope(self, field, t, y, memory):
        """`dy/dt`."""
        return field(t, y)


@dataclasses.dataclass(frozen=True)
class _Whole(AbstractOneStep):
    """A method whose memory is part of its state: `unravel` takes them apart."""

    method: Any
    unravel: Any

    reference: ClassVar[str] = ""

    @property
    def order(self):
        return self.method.order

    @property
    def evaluations(self):
        return self.method.evaluations

    def begin(self, field, t, y):
        return ()

    def move(self, field, weights, t, y, memory, dt):
        return ravel_pytree(self.method.move(field, weights, t, *self.unravel(y), dt))[0], ()

    def undo(self, field, weights, t, y, dt):
        return ravel_pytree(self.method.undo(field, weights, t, *self.unravel(y), dt))[0]

    def slope(self, field, t, y, memory):
        return self.method.slope(field, t, *self.unravel(y))

    def weights(self, field, dt):
        return self.method.weights(field, dt)


class _Given(NamedTuple):
    """What the gradient is in."""

    t0: Any
    ends: Any
    y0: Any  # with the memory
    args: tuple


def march_reversible(
    method: AbstractReversible, field: Any, t0: Any, ends: Any, y0: Any, counts: Any, early: bool
) -> Found:
    """`fixed.march`, differentiated in reverse mode by undoing the steps.

    The gradient is that of the numbers which the steps computed, up to the rounding
    errors of what is undone, which begins anew at each saved state. After a failure it
    is that of the saves that were reached.

    **Arguments:**

    - `method`: a reversible one.
    - `field`: `(t, y) -> dy/dt`; what it closes over has its gradient.
    - `t0`, `ends`, `y0`, `early`: as for `fixed.march`.
    - `counts`: likewise; numbers of steps may be traced.
    """
    closed = Closed(field, t0, y0)
    first, unravel = ravel_pytree((y0, method.begin(field, t0, y0)))
    whole = _Whole(method, unravel)
    known = isinstance(counts, int)

    def plain(given: _Given, steps: tuple) -> Found:
        t0, ends, y0, args = given
        return fixed.march(
            whole, closed.bound(args), t0, ends, y0, counts if known else steps[0], early
        )

    def forward(given, steps):
        found = plain(given, steps)
        return found, (given, steps, found.ys)

    def backward(kept, asked):
        given, steps, ys = kept
        every = jnp.full(ends.shape, counts, jnp.int32) if known else steps[0]
        return _Back(whole, closed, given, every, early).gradient(ys, asked), (None,) * len(steps)

    run = jax.custom_vjp(plain)
    run.defvjp(forward, backward)
    found = run(_Given(t0, ends, first, closed.args), () if known else (counts,))
    n = y0.shape[0]
    return found._replace(ys=found.ys[:, :n], y_end=found.y_end[:n], component=found.component % n)


class _Carry(NamedTuple):
    y: Any  # the state that is gone back to
    in_y: Any  # the gradient in it
    in_args: Any
    in_start: Any
    in_stop: Any


@dataclasses.dataclass(frozen=True)
class _Back:
    """The way back over the steps of `fixed.march`."""

    method: _Whole
    closed: Closed
    given: _Given
    counts: Any
    early: bool

    def gradient(self, ys: Any, asked: Found) -> _Given:
        """Gradients in what was given, from those asked in states and slopes."""
        given = self.given
        late = slice(1, None) if self.early else slice(None)
        in_ys = asked.ys.at[-1].add(asked.y_end)  # the last save is the end
        stops = given.ends[late]
        starts = jnp.concatenate([given.t0[None], stops])[:-1]
        rows = (starts, stops, self.counts[late], ys[late], in_ys[late], asked.slopes[late])
        nothing = jax.tree.map(jnp.zeros_like, (given.y0, smooth(given.args)))
        (in_y, in_args), (in_starts, in_stops) = jax.lax.scan(
            self.interval, nothing, rows, reverse=True
        )
        in_t0 = jnp.sum(in_starts[:1])
        in_ends = in_stops.at[:-1].add(in_starts[1:])
        if self.early:
            in_ends = jnp.concatenate([jnp.zeros_like(in_t0)[None], in_ends])
            more = self.saved(given.t0, given.y0, asked.ys[0], asked.slopes[0])
            in_t0, in_y = in_t0 + more[0], in_y + more[1]
            in_args = jax.tree.map(jnp.add, in_args, more[2])
        return _Given(in_t0, in_ends, in_y, in_args)

    def saved(self, t: Any, y: Any, in_y: Any, in_slope: Any) -> tuple:
        """Gradients in the time, the state and the arguments of a save."""

        def slope(t, y, moving):
            field = self.closed.bound(together(moving, self.given.args))
            return self.method.slope(field, t, y, ())

        _, pull = jax.vjp(slope, t, y, smooth(self.given.args))
        in_t, more, in_args = pull(in_slope)
        return in_t, in_y + more, in_args

    def interval(self, carry: tuple, row: tuple) -> tuple:
        """Back over the steps between two saves."""
        (in_y, in_args), (start, stop, count, y, *asked) = carry, row
        # What was not reached has no gradient and takes no steps back.
        reached = all_finite(y)
        y = jnp.where(reached, y, self.given.y0)
        asked = (jnp.where(reached, x, 0) for x in asked)
        in_stop, more, in_more = self.saved(stop, y, *asked)
        end = _Carry(
            y, in_y + more, jax.tree.map(jnp.add, in_args, in_more), jnp.zeros_like(start), in_stop
        )

        def back(i, c: _Carry) -> _Carry:
            return self.step(start, stop, count, count - 1 - i, c)

        c = jax.lax.fori_loop(0, jnp.where(reached, count, 0), back, end)
        return (c.in_y, c.in_args), (c.in_start, c.in_stop)

    def step(self, start: Any, stop: Any, count: Any, i: Any, c: _Carry) -> _Carry:
        """Back over step `i` of an interval."""

        def placed(start, stop, moving):
            field = self.closed.bound(together(moving, self.given.args))
            dt = (stop - start) / count.astype(start.dtype)
            return field, self.method.weights(field, dt), start + i.astype(start.dtype) * dt, dt

        def forward(y, start, stop, moving):
            field, weights, t, dt = placed(start, stop, moving)
            return self.method.move(field, weights, t, y, (), dt)[0]

        moving = smooth(self.given.args)
        field, weights, t, dt = placed(start, stop, moving)
        y = self.method.undo(field, weights, t, c.y, dt)
        _, pull = jax.vjp(forward, y, start, stop, moving)
        in_y, in_start, in_stop, in_args = pull(c.in_y)
        return _Carry(
            y,
            in_y,
            jax.tree.map(jnp.add, c.in_args, in_args),
            c.in_start + in_start,
            c.in_stop + in_stop,
        )
