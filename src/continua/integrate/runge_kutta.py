r"""Explicit Runge-Kutta steps, fixed and adaptive, between the times that are saved.

An adaptive step is accepted where the estimated error `e` has

    |e| = sqrt(mean((e_i / (atol + rtol max(|y_i|, |y_new,i|)))^2)) <= 1,

and the next is longer by `0.9 |e|^(-0.7/q) |e_before|^(0.4/q)`, `q` the order of the
estimate (a PI controller).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from continua.integrate.tableaus import Extension, Tableau


def step(tableau: Tableau, field: Callable, t, y, slope, dt) -> tuple[Any, Any, Any, Any]:
    """One step of an explicit method.

    **Arguments:**

    - `tableau`: its coefficients.
    - `field`: `(t, y) -> dy/dt`.
    - `t`, `y`, `slope`: where it begins.
    - `dt`: its length.

    **Returns:** the new state, the slope there, the error estimate (`None` where there is
    no embedded method), and what its Hermite polynomial lacks: `None` if unknown, and of a
    tableau with an `extension` the stages from which `bends` makes it.
    """
    states, stages = _stages(tableau, field, t, y, slope, dt)
    if tableau.first_same_as_last:
        new, slope = states[-1], stages[-1]
    else:
        new = _advance(y, dt, tableau.b, stages)
        slope = field(t + dt, new)
    error = None if tableau.error is None else dt * _combine(tableau.error, stages)
    if tableau.extension is not None:
        stages = stages if tableau.first_same_as_last else [*stages, slope]
        return new, slope, error, tuple(stages[i] for i in tableau.extension.used)
    bend = None if tableau.bend is None else dt * _combine(tableau.bend, stages)
    return new, slope, error, bend


def bends(extension: Extension, field: Callable, t, y, dt, stages: tuple) -> tuple[Any, ...]:
    """What the Hermite polynomial of a step lacks, one a power of `2s-1`.

    **Arguments:**

    - `extension`: the further stages.
    - `field`, `t`, `y`, `dt`: as for `step`.
    - `stages`: what `step` returned.
    """
    found = list(stages)
    for row, c in zip(extension.a, extension.c, strict=True):
        found.append(field(t + c * dt, _advance(y, dt, row, found)))
    return tuple(dt * _combine(row, found) for row in extension.bends)


def _stages(tableau: Tableau, field: Callable, t, y, slope, dt) -> tuple[list, list]:
    """States and slopes of all stages."""
    states, stages = [y], [slope]
    for row, c in zip(tableau.a[1:], tableau.c[1:], strict=True):
        states.append(_advance(y, dt, row, stages))
        stages.append(field(t + c * dt, states[-1]))
    return states, stages


def stiffness(tableau: Tableau, field: Callable, t, y, slope, dt, new, after) -> Any:
    r"""An estimate of the largest `|lambda|` of the Jacobian, from two states of a step.

        S = |f(y_new) - f(g)| / |y_new - g|

    `g` is a further stage at the end of the step where the method has one, else its
    beginning; the first tells of the stiffest direction, in which the two differ.

    **Arguments:**

    - `tableau`, `field`, `t`, `y`, `slope`, `dt`: as for `step`.
    - `new`, `after`: the state and the slope that it ended with.

    **Reference:** shampine1977stiffness
    """
    ends = [i for i, c in enumerate(tableau.c) if c == 1.0]
    ends = ends[:-1] if tableau.first_same_as_last else ends
    # What `step` has computed before the compiler takes from there.
    states, stages = _stages(tableau, field, t, y, slope, dt) if ends else ([y], [slope])
    at = ends[-1] if ends else 0
    return ratio(after - stages[at], new - states[at])


def ratio(above: Any, below: Any) -> Any:
    """`|above| / |below|` along the first axis, 0 where `below` is zero, with derivatives."""
    square = jnp.sum(jnp.square(jnp.abs(below)), axis=0)
    apart = square > 0
    found = jnp.sum(jnp.square(jnp.abs(above)), axis=0) / jnp.where(apart, square, 1.0)
    return jnp.where(apart, safe_sqrt(found), 0.0)


def safe_sqrt(x: Any) -> Any:
    """The root, whose derivative at 0 is 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def basis(s: Any, bends: int) -> tuple[Any, ...]:
    """Weights of a step's polynomial at a share `s` of it.

    They belong to the state and `h` times the slope at its beginning, both at its end,
    and to the bends.

    **Arguments:**

    - `s`: 0 at the beginning, 1 at the end.
    - `bends`: how many there are.
    """
    r = 1 - s
    hermite = (1 + 2 * s) * r**2, s * r**2, s**2 * (3 - 2 * s), -(s**2) * r
    return *hermite, *((s - r) ** m * (s * r) ** 2 for m in range(bends))


def evaluations_per_step(tableau: Tableau) -> int:
    """Calls of the right-hand side in a step, its first slope being known."""
    return tableau.stages - 1 if tableau.first_same_as_last else tableau.stages


def _combine(weights, stages):
    terms = [w * k for w, k in zip(weights, stages, strict=True) if w]
    return sum(terms[1:], terms[0])


def _advance(y, dt, weights, stages):
    return y + dt * _combine(weights, stages)


def error_norm(error, y, new, rtol, atol):
    """An error estimate in units of the tolerances: its size, and that of each entry."""
    scale = atol + rtol * jnp.maximum(jnp.abs(y), jnp.abs(new))
    entries = jnp.abs(error) / scale
    return safe_sqrt(jnp.mean(jnp.square(entries), axis=0)), entries


def first_step(error_order: int, field, t, y, slope, span, rtol, atol):
    """The length of a first step, from two slopes (one evaluation).

    **Reference:** hairer1993solving
    """
    y, slope = jax.lax.stop_gradient((y, slope))
    scale = atol + rtol * jnp.abs(y)

    def norm(x):
        return jnp.sqrt(jnp.mean(jnp.square(jnp.abs(x) / scale), axis=0))

    d0, d1 = norm(y), norm(slope)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    guess = jnp.where(small, 1e-6 * span, 0.01 * d0 / jnp.where(small, 1.0, d1))
    guess = jnp.minimum(guess, span)
    tiny = jnp.finfo(guess.dtype).tiny
    d2 = norm(jax.lax.stop_gradient(field(t + guess, y + guess * slope)) - slope)
    d2 = d2 / jnp.maximum(guess, tiny)
    largest = jnp.maximum(jnp.maximum(d1, d2), 1e-12)
    found = (0.01 / largest) ** (1.0 / (error_order + 1))
    found = jnp.minimum(jnp.minimum(100.0 * guess, found), span)
    return jnp.where(jnp.isfinite(found), found, guess)
