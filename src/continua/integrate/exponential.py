r"""Exponential time differencing: `dû/dt = L û + N(t, û)` with `L` taken exactly.

    a  = e^{hL/2} û + h/2 phi_1(hL/2) N(û)
    b  = e^{hL/2} û + h/2 phi_1(hL/2) N(a)
    c  = e^{hL/2} a + h/2 phi_1(hL/2) (2 N(b) - N(û))
    û' = e^{hL} û + h [(phi_1 - 3 phi_2 + 4 phi_3) N(û)
                       + 2 (phi_2 - 2 phi_3) (N(a) + N(b)) + (4 phi_3 - phi_2) N(c)]

with `phi_k(z) = (e^z - sum_{j<k} z^j / j!) / z^k` at `hL`. Near zero that formula
cancels; its mean over a circle around `z` does not.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from continua.integrate.trajectory import (
    NON_FINITE,
    Trajectory,
    all_finite,
    hide_unreached,
    worst_component,
)

_CIRCLE = 32  # points of the contour; the mean converges faster than any power


def phi_functions(z: Inexact[Array, "..."]) -> tuple[Any, ...]:
    """`phi_1, phi_2, phi_3` of numbers, by means over circles of radius 1; real where these
    are.

    **Arguments:**

    - `z`: any shape.

    **Reference:** kassam2005fourth
    """
    is_real = not jnp.iscomplexobj(z)
    z = jax.lax.complex(z, jnp.zeros_like(z)) if is_real else z
    circle = np.exp(2j * np.pi * (np.arange(_CIRCLE) + 0.5) / _CIRCLE)

    def add(sums, root):
        r = z + root
        e = jnp.exp(r)
        one = (e - 1.0) / r
        two = (one - 1.0) / r
        three = (two - 0.5) / r
        return tuple(s + x for s, x in zip(sums, (one, two, three), strict=True)), None

    zero = jnp.zeros_like(z)
    sums, _ = jax.lax.scan(add, (zero, zero, zero), jnp.asarray(circle, z.dtype))
    means = tuple(s / _CIRCLE for s in sums)
    return tuple(m.real for m in means) if is_real else means


def phi_matrices(z: Inexact[Array, "*batch s s"]) -> tuple[Any, ...]:
    """`e^z, phi_1, phi_2, phi_3` of small matrices, as blocks of one exponential.

    The exponential of `[[z, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]` (in
    blocks) has them as its first row; it holds for defective matrices too.

    **Arguments:**

    - `z`: `(*, s, s)`.

    **Reference:** almohy2011computing
    """
    s = z.shape[-1]
    shift = np.kron(np.diag(np.ones(3), 1), np.eye(s))
    widths = [(0, 0)] * (z.ndim - 2) + [(0, 3 * s)] * 2
    big = jnp.pad(z, widths) + jnp.asarray(shift, z.dtype)
    flat = big.reshape(-1, 4 * s, 4 * s)
    # One at a time: the squarings of a stiff wavenumber are not spent on all others.
    rows = jax.lax.map(lambda m: jax.scipy.linalg.expm(m, max_squarings=64)[:s], flat)
    rows = rows.reshape(*z.shape[:-2], s, 4 * s)
    return tuple(rows[..., i * s : (i + 1) * s] for i in range(4))


class Coefficients(NamedTuple):
    """What an ETDRK4 step multiplies by: `e^{hL}, e^{hL/2}`, `h/2 phi_1(hL/2)`, and the
    weights of `N(û)`, `N(a) + N(b)` and `N(c)`."""

    whole: Any
    half: Any
    stage: Any
    first: Any
    middle: Any
    last: Any


def coefficients(linear: Inexact[Array, "*L"], dt: Any, coupled: bool) -> Coefficients:
    """The coefficients of ETDRK4 for one step length.

    **Arguments:**

    - `linear`: `(s, *Nf)`, or `(s, s, *Nf)` where `coupled`.
    - `dt`: the step.
    - `coupled`: whether the linear part couples states.
    """
    dt = jnp.asarray(dt, linear.dtype)
    z = linear * dt
    if coupled:
        matrices = jnp.moveaxis(z, (0, 1), (-2, -1))
        back = [jnp.moveaxis(m, (-2, -1), (0, 1)) for m in phi_matrices(matrices)]
        half, stage, _, _ = (
            jnp.moveaxis(m, (-2, -1), (0, 1)) for m in phi_matrices(matrices * 0.5)
        )
        whole, one, two, three = back
    else:
        half, whole = jnp.exp(z * 0.5), jnp.exp(z)
        stage = phi_functions(z * 0.5)[0]
        one, two, three = phi_functions(z)
    return Coefficients(
        whole,
        half,
        dt * 0.5 * stage,
        dt * (one - 3.0 * two + 4.0 * three),
        dt * 2.0 * (two - 2.0 * three),
        dt * (4.0 * three - two),
    )


def etdrk4(
    linear: Inexact[Array, "*L"],
    nonlinear: Callable[[Any, Any], Any],
    y0_hat: Inexact[Array, "s *Nf"],
    t0: Any,
    dt: Any,
    steps_per_save: Any,
    saves: int,
) -> Trajectory:
    """Fourth-order exponential time differencing with fixed steps.

    **Arguments:**

    - `linear`: `L`, `(s, *Nf)`, or `(s, s, *Nf)` where it couples states.
    - `nonlinear`: `N(t, y_hat)`, as `y_hat`.
    - `y0_hat`: coefficients of the initial state.
    - `t0`: the initial time.
    - `dt`: the step.
    - `steps_per_save`: steps between two saved states; traced, a change of it compiles
      nothing anew.
    - `saves`: saved states beside the first.

    **Returns:** a `Trajectory` of `saves + 1` states from `t0` on.

    **Reference:** kassam2005fourth
    """
    coupled = linear.ndim == y0_hat.ndim + 1
    real = y0_hat.real.dtype
    t0, dt = jnp.asarray(t0, real), jnp.asarray(dt, real)
    weights = coefficients(jnp.asarray(linear, y0_hat.dtype), dt, coupled)
    per_save = jnp.asarray(steps_per_save, jnp.int32)

    def times(weight, y):
        return jnp.einsum("ij...,j...->i...", weight, y) if coupled else weight * y

    def step(t, y, n):
        middle = t + 0.5 * dt
        halfway = times(weights.half, y)
        a = halfway + times(weights.stage, n)
        n_a = nonlinear(middle, a)
        b = halfway + times(weights.stage, n_a)
        n_b = nonlinear(middle, b)
        c = times(weights.half, a) + times(weights.stage, 2.0 * n_b - n)
        n_c = nonlinear(t + dt, c)
        y = times(weights.whole, y) + times(weights.first, n)
        y = y + times(weights.middle, n_a + n_b) + times(weights.last, n_c)
        return y, nonlinear(t + dt, y)

    def body(i, carry):
        save, y, n, good = carry
        t = t0 + (save * per_save + i).astype(real) * dt
        y, n = step(t, y, n)
        return save, y, n, good + all_finite(y).astype(jnp.int32)

    def advance(carry, save):
        _, y, n, good = jax.lax.fori_loop(0, per_save, body, (save, *carry))
        return (y, n, good), (y, times(jnp.asarray(linear, y.dtype), y) + n, all_finite(y))

    n0 = nonlinear(t0, y0_hat)
    begin = (y0_hat, n0, jnp.zeros((), jnp.int32))
    (y, _, good), rows = jax.lax.scan(advance, begin, jnp.arange(saves, dtype=jnp.int32))
    first = (y0_hat, times(jnp.asarray(linear, y0_hat.dtype), y0_hat) + n0, all_finite(y0_hat))
    ys, slopes, reached = (
        jnp.concatenate([jnp.asarray(a)[None], b]) for a, b in zip(first, rows, strict=True)
    )
    reached = jnp.cumprod(reached.astype(jnp.int32)).astype(bool)
    ts = t0 + jnp.arange(saves + 1).astype(real) * (per_save.astype(real) * dt)
    failed = ~jnp.all(reached)
    return Trajectory(
        ts,
        hide_unreached(ys, reached),
        hide_unreached(slopes, reached),
        good,
        jnp.zeros((), jnp.int32),
        1 + 4 * per_save * saves,
        jnp.where(failed, NON_FINITE, 0).astype(jnp.int32),
        t0 + good.astype(real) * dt,
        jnp.where(failed, worst_component(y), 0).astype(jnp.int32),
        dt,
        y,
        None,
    )
