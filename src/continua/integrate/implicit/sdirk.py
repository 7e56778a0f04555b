r"""Singly diagonally implicit Runge-Kutta methods with an explicit first stage (ESDIRK).

    Y_i = y + h sum_{j<i} a_ij k_j + h gamma k_i,   M k_i = f(t + c_i h, Y_i),   k_1 = dy/dt

of `M dy/dt = f`, `M = 1` without a mass matrix. The last stage is the result. Each stage is
found by Newton's iteration with the one matrix `M/(h gamma) - J`, `J = df/dy` at `(t, y)`;
where it does not converge the result is NaN, so that the step is rejected for a shorter one.
Derivatives are those of the solution itself, by the implicit function theorem with the
Jacobian of each stage.

**Reference:** hairer1996solving
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.integrate.implicit.linear import AbstractJacobian, Dense, times
from continua.integrate.implicit.mass import split
from continua.integrate.lanes import spread_over
from continua.integrate.methods import AbstractPair

_ITERATIONS = 10


@dataclasses.dataclass(frozen=True)
class SdirkTableau:
    """Coefficients of a stiffly accurate ESDIRK method.

    **Arguments:**

    - `gamma`: on the diagonal of all stages but the first.
    - `a`: rows of `a_ij` below the diagonal, the first of them empty; the last row and
      `gamma` are the weights.
    - `error`: the weights less the embedded ones, so that `h sum_i error_i k_i` estimates
      the error.
    - `order`, `embedded_order`: of both.
    """

    gamma: float
    a: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]
    order: int
    embedded_order: int

    @property
    def matrix(self) -> np.ndarray:
        """`a_ij` with its diagonal, `(s, s)`."""
        s = len(self.a)
        whole = self.gamma * np.diag(np.arange(s) > 0).astype(float)
        for i, row in enumerate(self.a):
            whole[i, :i] = row
        return whole


_GAMMA = 0.26
_BEFORE = (
    0.13855640231268224,
    0.0,
    -0.04245337201752043,
    0.02446657898003141,
    0.61943039072480676,
)
_LAST = (
    0.13659751177640291,
    0.0,
    -0.05496908796538376,
    -0.04118626728321046,
    0.62993304899016403,
    0.06962479448202728,
)

KVAERNO5 = SdirkTableau(
    gamma=_GAMMA,
    a=(
        (),
        (_GAMMA,),
        (0.13, 0.84033320996790809),
        (0.22371961478320505, 0.47675532319799699, -0.06470895363112615),
        (0.16648564323248321, 0.10450018841591720, 0.03631482272098715, -0.13090704451073998),
        _BEFORE,
        _LAST,
    ),
    # The stage before the last is the embedded method.
    error=(
        *(a - b for a, b in zip(_LAST, (*_BEFORE, _GAMMA), strict=True)),
        _GAMMA,
    ),
    order=5,
    embedded_order=4,
)


@dataclasses.dataclass(frozen=True)
class Kvaerno5(AbstractPair):
    """The ESDIRK method of Kvaerno, orders 5 and 4, L-stable, for stiff equations.

    **Arguments:**

    - `jacobian`: how `df/dy` is held, `Dense()`; see also `Banded` and `MatrixFree`.
    - `tolerance`: of Newton's iteration, relative to each entry of the state, 1e-9; a
      hundredth of the tolerance of the steps is small enough.

    **Reference:** kvaerno2004singly
    """

    jacobian: AbstractJacobian = Dense()
    tolerance: float = 1e-9

    tableau: ClassVar[SdirkTableau] = KVAERNO5
    with_mass: ClassVar[bool] = True
    reference: ClassVar[str] = "kvaerno2004singly"

    @property
    def dense_order(self):
        """The order of a step's polynomial."""
        return 3

    @property
    def evaluations(self):
        """Implicit stages of a step; each iteration of Newton's calls the right-hand side."""
        return len(self.tableau.a) - 1

    def step(self, field, t, y, slope, dt):
        """One step."""
        a = self.tableau.matrix
        # A step of no length leaves all as it is, and `1/dt^2` in derivatives is finite.
        dt = jnp.maximum(dt, jnp.finfo(dt.dtype).tiny ** 0.4)
        shift = 1.0 / (self.tableau.gamma * dt)
        right, mass = split(field, y)
        solve = self.jacobian.solver(right, t, y, shift, mass)
        slopes = jnp.zeros((len(a), *y.shape), y.dtype).at[0].set(slope)

        def stage(carry, row):
            slopes, last, _ = carry
            i, weights, c = row
            base = y + dt * (weights @ slopes)
            k = self._stage(right, mass, solve, t + c * dt, y, base, shift, last)
            return (slopes.at[i].set(k), k, base + k / shift), None

        rows = (jnp.asarray(x, y.dtype) for x in (np.tril(a, -1)[1:], a.sum(axis=1)[1:]))
        rows = jnp.arange(1, len(a), dtype=jnp.int32), *rows
        (slopes, last, new), _ = jax.lax.scan(stage, (slopes, slope, y), rows)
        return new, last, dt * (jnp.asarray(self.tableau.error, y.dtype) @ slopes), None

    def _stage(self, right, mass, solve: Callable, t, y, base, shift, guess) -> Any:
        """`M k = f(t, base + k / shift)`."""

        def residual(k):
            return times(mass, k) - right(t, base + k / shift)

        def tangent(linear, right):
            # `linear` is `M - J / shift` where the stage is.
            def push(v):
                return jax.lax.stop_gradient(shift * (times(mass, v) - linear(v)))

            ways = self.jacobian.factorised(push, *jax.lax.stop_gradient((y, shift, mass)))
            return jax.lax.custom_linear_solve(lambda v: shift * linear(v), shift * right, *ways)

        def newton(residual, k):
            return _newton(residual, lambda r: shift * solve(r), k, y, base, shift, self.tolerance)

        return jax.lax.custom_root(residual, guess, newton, tangent)


def _newton(residual, solve, k, y, base, shift, tolerance) -> Any:
    """The zero of `residual`, NaN where the iteration does not converge."""
    eps = jnp.finfo(y.dtype).eps

    def iterate(carry):
        i, k, before, _ = carry
        change = solve(residual(k))
        k = k - change
        entries = jnp.maximum(jnp.abs(base + k / shift), jnp.abs(y))
        scale = tolerance * entries + 8 * eps * jnp.max(entries)
        size = jnp.max(jnp.abs(change / shift) / jnp.where(scale > 0, scale, 1))
        # What is left after this change, its decrease going on as it is.
        rate = size / before
        left = jnp.where((rate > 0) & (rate < 1), size * rate / (1 - rate), jnp.inf)
        return i + 1, k, size, (size <= 0.1) | (left <= 0.1)

    def unfinished(carry):
        i, _, size, done = carry
        return (i < _ITERATIONS) & ~done & ((i == 0) | jnp.isfinite(size))

    begin = jnp.zeros((), jnp.int32), k, jnp.full((), jnp.inf, y.dtype), jnp.zeros((), bool)
    begin = spread_over(begin, k, y, base, shift)
    _, k, _, done = jax.lax.while_loop(unfinished, iterate, begin)
    return jnp.where(done, k, jnp.nan)
