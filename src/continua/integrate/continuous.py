r"""The continuous adjoint: gradients by integrating backwards in time.

    dl/dt = -(df/dy)^T l,   dL/da = int l^T (df/da) dt,

together with the state itself, which is taken anew from what was saved at each save.
Steps follow the errors of state and adjoint alone: the integral is none of an equation.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from continua.integrate import lanes, segments
from continua.integrate.methods import AbstractEmbedded


@dataclasses.dataclass(frozen=True)
class Continuous:
    """Reverse mode: the adjoint equation is integrated backwards from save to save.

    Memory does not grow with the number of steps; the gradient is that of the equation and
    differs from that of the computed numbers by about the tolerance. It fails where the
    equation cannot be integrated backwards, as stiff ones.

    **Reference:** chen2018neural
    """


@dataclasses.dataclass(frozen=True)
class _Leading(AbstractEmbedded):
    """A method whose error is that of the first `count` numbers alone."""

    method: AbstractEmbedded
    count: int
    reference: ClassVar[str] = "kidger2021hey"

    @property
    def order(self):
        return self.method.order

    @property
    def error_order(self):
        return self.method.error_order

    @property
    def dense_order(self):
        return self.method.dense_order

    @property
    def evaluations(self):
        return self.method.evaluations

    def step(self, field, t, y, slope, dt):
        new, after, error, bend = self.method.step(field, t, y, slope, dt)
        # The norm is a mean over all numbers.
        share = jnp.sqrt(jnp.asarray(y.shape[0] / self.count, error.real.dtype))
        error = jnp.where(jnp.arange(y.shape[0]) < self.count, share * error, 0)
        return new, after, error, bend


def backward(work: lanes.Work, found: Any, in_ys: Any) -> tuple[Any, tuple]:
    """Gradients in the initial states `(n, m)` and in the arguments.

    **Arguments:**

    - `work`: what was integrated.
    - `found`: what came of it.
    - `in_ys`: gradients in the saves `(k, n, m)`.
    """
    moving = lanes.smooth(work.args)
    flat, unravel = ravel_pytree(moving)
    n, times = work.times.y0.shape[0], work.times

    def bind(args: tuple) -> tuple[Callable, tuple]:
        return lambda r, z: adjoint(r, z, args), ()

    def adjoint(r, z, args):
        y, adjoint_y = z[:n], z[n : 2 * n]

        def field(y, moving):
            return work.bind(lanes.together(moving, args))[0](-r, y)

        slope, pull = jax.vjp(field, y, lanes.smooth(args))
        in_y, in_args = pull(adjoint_y)
        return jnp.concatenate([-slope, in_y, ravel_pytree(in_args)[0].astype(y.dtype)])

    def interval(carry, row):
        adjoint_y, integral = carry
        start, stop, y, asked = row
        z = jnp.concatenate([y, adjoint_y + asked, integral])[:, None]
        span = lanes.Times(-start[None], z, -stop[None, None], *tolerances)
        part = dataclasses.replace(
            work, method=_Leading(work.method, 2 * n), bind=bind, times=span, dense=False,
            each=(False,) * len(work.args), history=0,
        )  # fmt: skip
        after = segments.integrate(part)[0].ys[0, :, 0]
        return (after[n : 2 * n], after[2 * n :]), None

    tolerances = (times.rtol[:1], times.atol[:1])

    def one(t0, ends, ys, asked):
        before = jnp.concatenate([t0[None], ends[:-1]])
        begin = (jnp.zeros(n, ys.dtype), jnp.zeros(flat.size, ys.dtype))
        return jax.lax.scan(interval, begin, (ends, before, ys, asked), reverse=True)[0]

    axes = (0, -1, -1, -1)
    at_start, in_args = jax.vmap(one, axes)(times.t0, times.ends, found.ys, in_ys)
    return at_start.T, unravel(jnp.sum(in_args, axis=0).astype(flat.dtype))
