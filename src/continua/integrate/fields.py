"""Right-hand sides of a known structure, for the methods that make use of it.

A plain right-hand side is a function `(t, y, args) -> dy/dt`; these say more about it.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError


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
        slope = ravel_pytree(field(sign * s, unravel(y), args))[0]
        return sign.astype(slope.dtype) * slope

    return forward


class Flow(AbstractField):
    r"""A right-hand side whose solution is known, a part of a `Split` that takes no
    steps of its own.

    **Arguments:**

    - `solution`: `(t, dt, y, args)` to the state at `t + dt` of the solution that is `y`
      at `t`; at `dt = 0` it is `y`.
    """

    solution: Callable

    def flat(self, unravel, sign, args):
        """The same of a flat state, its solution `(s, ds, y)`."""

        @jax.jit
        def forward(s, ds, y):
            return ravel_pytree(self.solution(sign * s, sign * ds, unravel(y), args))[0]

        return Flow(forward)

    def __call__(self, t, y):
        """`dy/dt`, the derivative of the solution at its beginning."""
        zero, one = jnp.zeros_like(t), jnp.ones_like(t)
        return jax.jvp(lambda dt: self.solution(t, dt, y), (zero,), (one,))[1]  # pyright: ignore[reportCallIssue]


class Split(AbstractField):
    r"""A sum of two parts, `dy/dt = explicit(t, y, args) + implicit(t, y, args)`.

    **Arguments:**

    - `explicit`: the part that is not stiff.
    - `implicit`: the stiff part.

    For methods that compose the solutions of the parts, either one may be a `Flow`.
    """

    explicit: Callable
    implicit: Callable

    def flat(self, unravel, sign, args):
        """The same of a flat state."""

        def forward(part):
            if isinstance(part, AbstractField):
                return part.flat(unravel, sign, args)
            return flat(part, unravel, sign, args)

        return Split(forward(self.explicit), forward(self.implicit))

    def __call__(self, t, y):
        """`dy/dt`."""
        return self.explicit(t, y) + self.implicit(t, y)


class Separable(AbstractField):
    r"""Positions and momenta that move one another, `dq/dt = velocity(t, p, args)` and
    `dp/dt = force(t, q, args)`; the state is the pair `(q, p)`, two alike trees.

    **Arguments:**

    - `velocity`: `(t, p, args) -> dq/dt`, for a Hamiltonian `T(p) + V(q)` the gradient of `T`.
    - `force`: `(t, q, args) -> dp/dt`, minus the gradient of `V`.

    **Raises:** `InputError` for a state that is no such pair.
    """

    velocity: Callable
    force: Callable

    def flat(self, unravel, sign, args):
        """The same of a flat state, whose first half are the positions."""

        def part(function, index):
            @jax.jit
            def forward(s, half):
                # The other half is not looked at.
                pair = _pair(unravel(jnp.concatenate([half, half])))
                return sign * ravel_pytree(function(sign * s, pair[index], args))[0]

            return forward

        return Separable(part(self.velocity, 1), part(self.force, 0))

    def __call__(self, t, y):
        """`dy/dt`."""
        q, p = halves(y)
        return jnp.concatenate([self.velocity(t, p), self.force(t, q)])


def halves(y: Any) -> tuple[Any, Any]:
    """Positions and momenta of a flat state `(2 n,)`."""
    if y.shape[0] % 2:
        raise _no_pair()
    return y[: y.shape[0] // 2], y[y.shape[0] // 2 :]


def _pair(state: Any) -> Any:
    if isinstance(state, (tuple, list)) and len(state) == 2:
        (q, like_q), (p, like_p) = (jax.tree.flatten(half) for half in state)
        if like_q == like_p and [x.shape for x in q] == [x.shape for x in p]:
            return state
    raise _no_pair()


def _no_pair() -> InputError:
    return InputError(
        "the state of a Separable field is not a pair of two alike trees",
        where="integrate.solve.y0",
        fix="give positions and momenta, y0=(q, p)",
    )


class Semilinear(AbstractField):
    r"""A stiff linear part and the rest, `dy/dt = L y + nonlinear(t, y, args)`.

    **Arguments:**

    - `linear`: `L` of the state as one flat array of `n` numbers: its diagonal `(n,)` or
      the matrix `(n, n)`; or without a matrix, a linear function `y -> L y` of trees.
    - `nonlinear`: `(t, y, args)` to a tree like `y`.

    **Raises:** `InputError` for an array of another shape.
    """

    linear: Any
    nonlinear: Callable

    def flat(self, unravel, sign, args):
        """The same of a flat state."""
        if callable(self.linear):

            def times(y):
                return sign.astype(y.dtype) * ravel_pytree(self.linear(unravel(y)))[0]

            linear = jax.jit(times)
        else:
            linear = jnp.asarray(self.linear)
            linear = sign.astype(linear.dtype) * linear
        return Semilinear(linear, flat(self.nonlinear, unravel, sign, args))

    def times(self, y: Any) -> Any:
        """`L y` of a flat field."""
        if callable(self.linear):
            return self.linear(y)
        linear = jnp.asarray(self.linear)
        if linear.shape not in ((y.shape[0],), (y.shape[0],) * 2):
            raise InputError(
                f"got a linear part {linear.shape} for a state of {y.shape[0]} numbers",
                where="integrate.Semilinear.linear",
                fix="give its diagonal (n,), the matrix (n, n), or a function y -> L y",
            )
        if jnp.iscomplexobj(linear) and not jnp.iscomplexobj(y):
            raise InputError(
                "got a complex linear part for a real state",
                where="integrate.Semilinear.linear",
                fix="give a complex y0",
            )
        linear = linear.astype(y.dtype)
        if linear.ndim == 1:
            return linear * y
        return jnp.matmul(linear, y, precision="highest")

    def __call__(self, t, y):
        """`dy/dt`."""
        return self.times(y) + self.nonlinear(t, y)
