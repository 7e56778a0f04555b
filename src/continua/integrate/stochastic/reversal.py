r"""The gradient of the reversible Heun method, in memory that does not grow with the steps.

Steps are undone from the last one back, with the increments of the Brownian path drawn
again. With `z_1 = 2y - z + f h + g W` and `y_1 = y + (f + f_1) h/2 + (g + g_1) W/2`, and
`a`, `b` the gradients in `y` and `z`, a step that is undone has

    z = 2 y_1 - z_1 - f_1 h - g_1 W,    y = y_1 - (f + f_1) h/2 - (g + g_1) W/2,
    a = a_1 + 2 b_1,    b = -b_1 + d<(b_1 + a_1/2), f h + g W>/dz + d<a/2, f h' + g W'>/dz,

the last term that of `f` and `g` as the end of the step before, with `h', W'`: one
evaluation and one derivative of drift and diffusion for each step.

**Reference:** kidger2021efficient
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate.closed import Closed
from continua.integrate.lanes import smooth, spread_over, together
from continua.integrate.stochastic import fixed
from continua.integrate.stochastic.fixed import Steps, increment
from continua.integrate.stochastic.methods import AbstractStochastic, StochasticReversibleHeun
from continua.integrate.stochastic.sde import SDE, times
from continua.integrate.trajectory import Found


@dataclasses.dataclass(frozen=True)
class _Whole(AbstractStochastic):
    """The method with both of its states as one."""

    method: StochasticReversibleHeun

    interpretation: ClassVar[str] = StochasticReversibleHeun.interpretation
    evaluations: ClassVar[int] = StochasticReversibleHeun.evaluations
    reference: ClassVar[str] = StochasticReversibleHeun.reference

    def begin(self, sde, t, y):
        _, z = jnp.split(y, 2)
        return sde.terms(t, z)

    def move(self, sde, t, y, memory, h, dw):
        y, z = jnp.split(y, 2)
        y, (z, *memory), _ = self.method.move(sde, t, y, (z, *memory), h, dw)
        return jnp.concatenate([y, z]), tuple(memory), None


class _Given(NamedTuple):
    """What the gradient is in."""

    y0: Any
    args: tuple


class _Place(NamedTuple):
    """Where it is taken, which has none."""

    seed: Any
    t0: Any
    ends: Any
    counts: Any


def march(
    method: StochasticReversibleHeun, sde: SDE, seed: Any, t0: Any, ends: Any, y0: Any,
    steps: Steps,
) -> Found:  # fmt: skip
    """`fixed.march`, differentiated in reverse mode by undoing the steps.

    The gradient is that of the numbers which the steps computed, up to the rounding
    errors of what is undone, which begins anew at each saved state. Of a path that fails
    it is that of the saves that were reached.

    **Arguments:**

    - `method`, `sde`, `seed`, `t0`, `ends`, `y0`, `steps`: as for `fixed.march`; times have
      no gradient.
    """
    closed = Closed((lambda t, y: sde.terms(t, y),), t0, y0)
    whole, n = _Whole(method), y0.shape[0]

    def plain(given: _Given, place: _Place) -> Found:
        y0, args = given
        # Fields of an SDE are static, which functions that hold arrays must not be.
        (terms,) = closed.bound(args)
        drift, diffusion = (lambda t, y, i=i: terms(t, y)[i] for i in range(2))
        both = lambda t, y: terms(t, y)  # noqa: E731
        equation = SDE(drift, diffusion, sde.noise, sde.interpretation, both=both)
        pair = jnp.concatenate([y0, y0])
        cells = steps._replace(counts=place.counts)
        return fixed.march(whole, equation, place.seed, place.t0, place.ends, pair, cells)

    def forward(given, place):
        found = plain(given, place)
        return found, (given, place, found.ys)

    def backward(kept, asked):
        given, place, ys = kept
        cells = steps._replace(counts=place.counts)
        back = _Back(closed, place.seed, place.t0, place.ends, cells, given)
        return back.gradient(ys, asked), None

    run = jax.custom_vjp(plain)
    run.defvjp(forward, backward)
    found = run(_Given(y0, closed.args), _Place(seed, t0, ends, steps.counts))
    return found._replace(ys=found.ys[:, :n], y_end=found.y_end[:n], component=found.component % n)


class _Carry(NamedTuple):
    y: Any  # the states that are gone back to, drift and diffusion there
    z: Any
    f: Any
    g: Any
    w: Any  # the increment that led there
    in_y: Any  # the gradients
    in_z: Any
    in_args: Any


@dataclasses.dataclass(frozen=True)
class _Back:
    """The way back over the steps of `fixed.march`."""

    closed: Closed
    seed: Any
    t0: Any
    ends: Any
    steps: Steps
    given: _Given

    def gradient(self, ys: Any, asked: Found) -> _Given:
        """Gradients in what was given, from those asked in states."""
        starts = jnp.concatenate([self.t0[None], self.ends[:-1]])
        in_ys = asked.ys.at[-1].add(asked.y_end)  # the last save is the end
        rows = (starts, self.ends, self.steps.counts, self.steps.first_cells, ys, in_ys)
        zero = jnp.zeros_like(self.given.y0)
        nothing = (zero, zero, jax.tree.map(jnp.zeros_like, smooth(self.given.args)))
        nothing = spread_over(nothing, self.given.y0)
        (in_y, in_z, in_args), _ = jax.lax.scan(self.interval, nothing, rows, reverse=True)
        return _Given(in_y + in_z, in_args)

    def interval(self, carry: tuple, row: tuple) -> tuple:
        """Back over the steps between two saves."""
        (in_y, in_z, in_args), (start, end, count, cell, both, asked) = carry, row
        count = count * 2**self.steps.halvings
        h = (end - start) / jnp.maximum(count, 1).astype(start.dtype)
        # A path that did not come so far waits where it began, without a gradient.
        reached = jnp.all(jnp.isfinite(both), axis=0)
        asked_y, asked_z = jnp.split(jnp.where(reached, asked, 0.0), 2)
        y, z = jnp.split(jnp.where(reached, both, jnp.concatenate([self.given.y0] * 2)), 2)
        in_y, in_z = in_y + asked_y, in_z + asked_z
        w = self.increment(cell, h, count - 1)
        share = jnp.where(count > 0, 0.5, 0.0).astype(h.dtype) * in_y
        f, g, more_z, more = self.pull(end, z, share * h, ((share, w),))
        end_carry = _Carry(y, z, f, g, w, in_y, in_z + more_z, jax.tree.map(jnp.add, in_args, more))

        def back(i, c: _Carry) -> _Carry:
            return self.step(start, h, cell, count - 1 - i, reached, c)

        c = jax.lax.fori_loop(0, count, back, end_carry)
        return (c.in_y, c.in_z, c.in_args), None

    def step(self, start: Any, h: Any, cell: Any, i: Any, reached: Any, c: _Carry) -> _Carry:
        """Back over step `i` of an interval, to its beginning."""
        z = jnp.where(reached, 2.0 * c.y - c.z - h * c.f - times(c.g, c.w), c.z)
        w = self.increment(cell, h, i - 1)
        in_y, through = c.in_y + 2.0 * c.in_z, c.in_z + 0.5 * c.in_y
        before = jnp.where(i > 0, 0.5, 0.0).astype(h.dtype) * in_y
        t = start + i.astype(start.dtype) * h
        kicks = ((through, c.w), (before, w))
        f, g, more_z, more = self.pull(t, z, h * (through + before), kicks)
        y = c.y - 0.5 * (h * (f + c.f) + times(g + c.g, c.w))
        y = jnp.where(reached, y, c.y)
        in_args = jax.tree.map(jnp.add, c.in_args, more)
        return _Carry(y, z, f, g, w, in_y, more_z - c.in_z, in_args)

    def increment(self, cell: Any, h: Any, i: Any) -> Any:
        """The increment in step `i` of an interval."""
        whole = h * 2**self.steps.halvings
        method = StochasticReversibleHeun
        return increment(method, self.seed, cell, whole, i, self.steps.halvings).w

    def pull(self, t: Any, z: Any, in_f: Any, kicks: tuple) -> tuple:
        """Drift and diffusion, and the gradients of `<in_f, f> + sum <v, g w>` over pairs
        `(v, w)` in the state and the arguments."""

        def both(z, moving):
            (terms,) = self.closed.bound(together(moving, self.given.args))
            return terms(t, z)

        (f, g), pull = jax.vjp(both, z, smooth(self.given.args))
        own = g.ndim == z.ndim
        in_g = sum(v * w if own else v[:, None] * w[None] for v, w in kicks)
        return f, g, *pull((in_f, in_g))
