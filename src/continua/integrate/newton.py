r"""Stages that are known by an equation, `z = c f(t, y + z)`, for small systems.

Newton's iteration keeps one matrix `I - c J`, factored where the step begins. It ends
when `z` no longer changes; if it does not, `z` is NaN. Derivatives are those of the
solution itself, by the implicit function theorem, and know nothing of the iteration.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from continua.core.errors import InputError
from continua.integrate.lanes import spread_over

_ITERATIONS = 50


def factored(field: Callable, t: Any, y: Any, c: Any) -> Any:
    """`I - c J` with `J` the derivative of a field at `y`, as triangular factors.

    **Arguments:**

    - `field`: `(t, y) -> dy/dt`.
    - `t`, `y`: where the step begins, `y` real `(n,)`.
    - `c`: the step times the coefficient of the stage in itself.

    **Raises:** `InputError` for complex states.
    """
    if jnp.iscomplexobj(y):
        raise InputError(
            "implicit stages are of real numbers, got a complex state",
            where="integrate.solve.y0",
            fix="give its real and imaginary parts",
        )
    t, y, c = jax.lax.stop_gradient((t, y, c))
    jacobian = jax.lax.stop_gradient(jax.jacfwd(field, 1)(t, y))
    return jax.scipy.linalg.lu_factor(jnp.eye(y.shape[0], dtype=y.dtype) - c * jacobian)


def stage(field: Callable, t: Any, y: Any, c: Any, factors: Any) -> Any:
    """`z` with `z = c f(t, y + z)`; NaN where the iteration does not end.

    **Arguments:**

    - `field`: `(t, y) -> dy/dt`.
    - `t`: the time of the stage; `y`: what is known of it, `(n,)`.
    - `c`: as it was for `factored`, whose result is `factors`.
    """
    eps = jnp.finfo(y.dtype).eps

    def residual(z):
        return z - c * field(t, y + z)

    def solve(residual, z):
        def iterate(carry):
            i, z, before, _ = carry
            dz = jax.scipy.linalg.lu_solve(factors, residual(z))
            z = z - dz
            size = jnp.max(jnp.abs(dz)) / jnp.maximum(jnp.max(jnp.abs(y + z)), jnp.max(jnp.abs(y)))
            # Changes that are small and no longer shrink are rounding errors.
            rounding = (size <= eps**0.75) & (size >= 0.5 * before)
            return i + 1, z, size, (size <= 8 * eps) | rounding | (dz == 0).all()

        def going_on(carry):
            i, _, size, done = carry
            return (i < _ITERATIONS) & ~done & ((i == 0) | jnp.isfinite(size))

        none = jnp.full((), jnp.inf, y.dtype)
        begin = (jnp.zeros((), jnp.int32), z, none, jnp.zeros((), bool))
        begin = spread_over(begin, t, y, c, factors)
        _, z, _, done = jax.lax.while_loop(going_on, iterate, begin)
        return jnp.where(done, z, jnp.nan)

    def tangent(linear, right):
        zero = spread_over(jnp.zeros_like(right), right)
        return jnp.linalg.solve(jax.jacfwd(linear)(zero), right)

    return jax.lax.custom_root(residual, spread_over(jnp.zeros_like(y), y), solve, tangent)
