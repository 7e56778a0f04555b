"""Right-hand sides of a known structure, for the methods that make use of it.

A plain right-hand side is a function `(t, y, args) -> dy/dt`; these say more about it.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree


class AbstractField(eqx.Module):
    """A right-hand side made of parts."""

    @abc.abstractmethod
    def flat(self, unravel: Callable, sign: Any, args: Any) -> "AbstractField":
        """The same of a flat state, its parts functions `(s, y)` of `s = sign * t`.

        **Arguments:**

        - `unravel`: a flat state to the tree that the parts take.
        - `sign`: 1 forwards in time, -1 backwards.
        - `args`: what the parts are handed.
        """

    @abc.abstractmethod
    def __call__(self, t: Any, y: Any) -> Any:
        """`dy/dt` of a flat field."""


def flat(field: Callable, unravel: Callable, sign: Any, args: Any) -> Callable:
    """A function `(t, y, args)` of trees as one `(s, y)` of flat arrays, traced once.

    **Arguments:**

    - `field`: what it returns is like the tree that `unravel` makes.
    - `unravel`, `sign`, `args`: as for `AbstractField.flat`.
    """

    @jax.jit
    def forward(s, y):
        return sign * ravel_pytree(field(sign * s, unravel(y), args))[0]

    return forward


class Split(AbstractField):
    r"""A sum of two parts, `dy/dt = explicit(t, y, args) + implicit(t, y, args)`.

    **Arguments:**

    - `explicit`: the part that is not stiff.
    - `implicit`: the stiff part.
    """

    explicit: Callable = eqx.field(static=True)
    implicit: Callable = eqx.field(static=True)

    def flat(self, unravel, sign, args):
        """The same of a flat state."""
        parts = (flat(part, unravel, sign, args) for part in (self.explicit, self.implicit))
        return Split(*parts)

    def __call__(self, t, y):
        """`dy/dt`."""
        return self.explicit(t, y) + self.implicit(t, y)


class Separable(AbstractField):
    r"""Positions and momenta that move one another, `dq/dt = velocity(t, p, args)` and
    `dp/dt = force(t, q, args)`; the state is the pair `(q, p)`, two alike trees.

    **Arguments:**

    - `velocity`: `(t, p, args) -> dq/dt`, for a Hamiltonian `T(p) + V(q)` the gradient of `T`.
    - `force`: `(t, q, args) -> dp/dt`, minus the gradient of `V`.
    """

    velocity: Callable = eqx.field(static=True)
    force: Callable = eqx.field(static=True)

    def flat(self, unravel, sign, args):
        """The same of a flat state, whose first half are the positions."""

        def part(function, index):
            @jax.jit
            def forward(s, half):
                # The other half is not looked at.
                whole = jax.numpy.concatenate([half, half])
                value = function(sign * s, unravel(whole)[index], args)
                return sign * ravel_pytree(value)[0]

            return forward

        return Separable(part(self.velocity, 1), part(self.force, 0))

    def __call__(self, t, y):
        """`dy/dt`."""
        half = y.shape[0] // 2
        q, p = y[:half], y[half:]
        return jax.numpy.concatenate([self.velocity(t, p), self.force(t, q)])
