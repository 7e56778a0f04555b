r"""Equations with a mass matrix, `M dy/dt = f(t, y)`, which may be singular.

With `P` the projection on what is orthogonal to the range of `M`, `P f(t, y) = 0` are
algebraic equations. Their derivative in time tells the rest of `dy/dt`,

    (M + P J) dy/dt = (1 - P) f - P f_t,   J = f_y,

where `M + P J` is regular: the equation is of index 1. It is this matrix too with which
Newton's method finds consistent values, `M (y - y_0) + P f(t_0, y) = 0`.

**Reference:** hairer1996solving
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError
from continua.integrate import fields
from continua.integrate.continuous import Continuous
from continua.integrate.fields import AbstractField
from continua.integrate.implicit.linear import AbstractJacobian, Dense, times
from continua.integrate.methods import AbstractIntegrator

_ITERATIONS = 50


class WithMass(AbstractField):
    r"""A right-hand side with a constant mass matrix, `M dy/dt = right(t, y, args)`.

    `M` may be singular, as in `M = diag(1, 1, 0)` with an algebraic third equation, if the
    equation is of index 1: the algebraic equations determine the algebraic variables. The
    initial state has to satisfy them, see `consistent`, and so has a state that an event
    changes. Derivatives in `M` leave its null space as it is.

    **Arguments:**

    - `mass`: `M` of the state as one flat array of `n` numbers: its diagonal `(n,)`, or
      the matrix `(n, n)`.
    - `right`: `(t, y, args)` to a tree like `y`.
    - `jacobian`: how `M + P J` is held where `dy/dt` or consistent values are found,
      `Dense()`; it may be `Banded` where `M`, `P` and `J` are.

    **Raises:** `InputError` of `solve`, for a method or a gradient that takes no mass
    matrix; and where they are known, for an index above 1 and a state that violates the
    algebraic equations. Where they are traced the solve fails with a code.
    """

    mass: Any
    right: Callable
    jacobian: AbstractJacobian = eqx.field(default=Dense(), static=True)
    algebraic: Any = None  # `P` of a flat field, held as `mass`; `None` where it is zero

    def flat(self, unravel, sign, args):
        """The same of a flat state."""
        mass = self.mass
        if not isinstance(mass, Tracer):
            mass = np.asarray(mass)
        if not jnp.issubdtype(mass.dtype, jnp.inexact):
            mass = mass.astype(float)
        right = fields.flat(self.right, unravel, sign, args)
        return WithMass(mass, right, self.jacobian, _algebraic(mass))

    def __call__(self, t, y):
        """`dy/dt` of a flat field; NaN where the index is higher than 1."""
        f = self.right(t, y)
        if self.algebraic is None and self.mass.ndim == 1:
            return f / self.mass.astype(y.dtype)
        solve, regular = self.solver(t, y)
        if self.algebraic is not None:
            drift = jax.jvp(lambda t: self.right(t, y), (t,), (jnp.ones_like(t),))[1]  # pyright: ignore[reportCallIssue]
            f = f - self.projected(f + drift)
        return jnp.where(regular, solve(f), jnp.nan)

    def solver(self, t: Any, y: Any) -> tuple[Callable, Any]:
        """Of a flat field `b -> (M + P J)^{-1} b`, and whether that is regular but for roundoff."""
        mass = jnp.asarray(self.mass, y.dtype)

        def right(t, y):
            return -self.projected(self.right(t, y))

        solve, n = self.jacobian.solver(right, t, y, jnp.ones((), y.dtype), mass), y.shape[0]
        # Two vectors without a pattern stand for all others. Rows have units of their own:
        # whether a solution is large shows beside them.
        probe, other = (jnp.asarray(np.cos(np.arange(k, k + n) ** 2), y.dtype) for k in (1, n + 1))
        rows = [
            times(mass, v) - jax.jvp(lambda y: right(t, y), (y,), (v,))[1] for v in (probe, other)
        ]
        large = jnp.max(jnp.abs(solve(jnp.maximum(*map(jnp.abs, rows)) * probe)))
        return solve, large < 1 / (8 * n * jnp.finfo(y.dtype).eps)

    def projected(self, x: Any) -> Any:
        """`P x` of a vector or a matrix."""
        if self.algebraic is None:
            return jnp.zeros_like(x)
        return times(self.algebraic.astype(x.dtype), x)


def _algebraic(mass: Any) -> Any:
    """The projection on what is orthogonal to the range of a matrix, held as the matrix."""
    known = not isinstance(mass, Tracer)
    svd: Any = np.linalg.svd if known else jnp.linalg.svd
    if mass.ndim == 1:
        projection = (mass == 0).astype(mass.dtype)
    else:
        held = mass if known else jax.lax.stop_gradient(mass)
        left, sizes, _ = svd(held)
        null = sizes <= sizes[0] * len(sizes) * jnp.finfo(mass.dtype).eps
        left = left * null.astype(mass.dtype)
        projection = left @ left.T if known else times(left, left.T)
    return None if known and not projection.any() else projection


def split(field: Callable, y: Any) -> tuple[Callable, Any]:
    """`f` and `M` of a flat field, 1 without a mass matrix.

    **Arguments:**

    - `field`: `(t, y) -> dy/dt`, or a flat `WithMass`.
    - `y`: a state, whose type `M` is given.
    """
    if isinstance(field, WithMass):
        return field.right, field.mass.astype(y.dtype)
    return field, jnp.ones((), y.dtype)


def consistent(field: WithMass, t0: Any, y0: Any, args: Any = None) -> Any:
    """The state near `y0` that satisfies the algebraic equations, with the same `M y`.

    For a diagonal `M` these are the algebraic variables; the others are left as they are.
    Found by Newton's method, and differentiable in `t0`, `y0` and `args`.

    **Arguments:**

    - `field`: of index 1.
    - `t0`: the time.
    - `y0`: where Newton's method begins, a tree of arrays of one type.
    - `args`: handed through to the field.

    **Returns:** a tree like `y0`; NaN where the method does not converge.

    **Raises:** `InputError` for a mass matrix that does not fit, and a complex state.
    """
    _check_shapes(field, y0, "consistent")
    y, unravel = ravel_pytree(jax.tree.map(jnp.asarray, y0))
    flat = field.flat(unravel, jnp.ones((), y.dtype), args)
    t0 = jnp.asarray(t0, y.dtype)

    mass = jnp.asarray(flat.mass, y.dtype)

    def residual(new):
        return times(mass, new - y) + flat.projected(flat.right(t0, new))

    def tangent(linear, right):
        # `linear` is `M + P J` where the state is.
        def push(v):
            return jax.lax.stop_gradient(times(mass, v) - linear(v))

        given = jax.lax.stop_gradient((y, jnp.ones((), y.dtype), mass))
        ways = flat.jacobian.factorised(push, *given)
        return jax.lax.custom_linear_solve(linear, right, *ways)

    def newton(residual, y):
        return _newton(residual, lambda y, b: flat.solver(t0, y)[0](b), y)

    return unravel(jax.lax.custom_root(residual, y, newton, tangent))


def _newton(residual: Callable, solve: Callable, y: Any) -> Any:
    """A zero of `residual` near `y`, NaN where the iteration does not converge."""

    def iterate(carry):
        i, y, _ = carry
        change = solve(y, residual(y))
        return i + 1, y - change, jnp.max(jnp.abs(change))

    def small(y, change):
        # The error is about the square of the last change.
        return change <= jnp.finfo(y.dtype).eps ** 0.75 * jnp.max(jnp.abs(y))

    def unfinished(carry):
        i, y, change = carry
        return (i < _ITERATIONS) & ~small(y, change) & ((i == 0) | jnp.isfinite(change))

    begin = jnp.zeros((), jnp.int32), y, jnp.full((), jnp.inf, y.dtype)
    _, y, change = jax.lax.while_loop(unfinished, iterate, begin)
    return jnp.where(small(y, change), y, jnp.nan)


def check(
    field: WithMass,
    method: AbstractIntegrator,
    gradient: Any,
    state: tuple[Any, Any, Any],
    ensemble: bool,
    tolerances: tuple[Any, Any],
) -> None:
    """Whether an equation with a mass matrix can be solved as asked.

    Its index and its initial values are looked at where they are known.

    **Arguments:**

    - `field`, `method`, `gradient`, `ensemble`: as for `solve`.
    - `state`: `t0`, `y0` and `args`.
    - `tolerances`: `rtol` and `atol`, which say how far initial values may be off.
    """
    if not method.with_mass:
        raise InputError(
            f"{method.name} takes no mass matrix",
            where="integrate.solve.method",
            fix="take Rodas5P()",
        )
    if isinstance(gradient, Continuous):
        raise InputError(
            "the continuous adjoint takes no mass matrix",
            where="integrate.solve.gradient",
            fix="take Replay() or Direct()",
        )
    t0, y0, args = state
    one = jax.tree.map(lambda x: x[0], y0) if ensemble else y0
    _check_shapes(field, one, "solve")
    _, unravel = ravel_pytree(one)
    y = jax.vmap(lambda y: ravel_pytree(y)[0])(y0) if ensemble else ravel_pytree(y0)[0][None]
    flat = field.flat(unravel, jnp.ones((), y.dtype), args)
    if flat.algebraic is None:
        return
    rtol, atol = (jnp.asarray(x, y.dtype) for x in tolerances)
    rtol = jnp.maximum(rtol, 64 * jnp.finfo(y.dtype).eps)
    t0 = jnp.asarray(t0, y.dtype)

    def looked_at(y):
        solve, regular = flat.solver(t0, y)
        lack = flat.projected(flat.right(t0, y))
        off = jnp.abs(solve(lack)) / (atol + rtol * jnp.abs(y))
        return regular, jnp.max(jnp.abs(lack)), jnp.max(off)

    regular, lack, off = jax.vmap(looked_at)(y)
    if any(isinstance(x, Tracer) for x in (regular, lack, off)):
        return
    if not bool(jnp.all(regular)):
        raise InputError(
            "the algebraic equations do not determine the algebraic variables at t0: the index "
            "is 2 or higher",
            where="integrate.solve.field",
            fix="differentiate the constraint in time until it contains these variables",
        )
    if bool(jnp.any(off > 1)):
        raise InputError(
            f"y0 violates the algebraic equations by {float(jnp.max(lack)):.2g}, and is off by "
            f"{float(jnp.max(off)):.2g} times the tolerance",
            where="integrate.solve.y0",
            fix="give y0=consistent(field, t0, y0, args)",
        )


def _check_shapes(field: WithMass, y0: Any, where: str) -> None:
    leaves = jax.tree.leaves(y0)
    if any(jnp.iscomplexobj(x) for x in leaves) or jnp.iscomplexobj(field.mass):
        raise InputError(
            "mass matrices and their states are real, got a complex one",
            where=f"integrate.{where}.y0",
            fix="give the real and the imaginary part",
        )
    n, shape = sum(np.size(x) for x in leaves), np.shape(field.mass)
    if shape not in ((n,), (n, n)):
        raise InputError(
            f"got a mass matrix {shape} for a state of {n} numbers",
            where="integrate.WithMass.mass",
            fix="give its diagonal (n,) or the matrix (n, n)",
        )
