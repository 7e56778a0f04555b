"""One call for every integrator: from `y0` at `t0` to the times that are asked for."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError
from continua.integrate import runge_kutta
from continua.integrate.methods import AbstractExplicitRungeKutta
from continua.integrate.stiff import Diffrax
from continua.integrate.trajectory import Trajectory, hide_unreached, worst_component


def solve(
    field: Callable[[Any, Any, Any], Any],
    method: Any,
    *,
    t0: Any,
    t1: Any,
    y0: Any,
    args: Any = None,
    saveat: Any = None,
    rtol: Any = 1e-6,
    atol: Any = 1e-9,
    dt0: float | None = None,
    max_steps: int = 100_000,
) -> Trajectory:
    """Integrate `dy/dt = field(t, y, args)`.

    Steps are adaptive where the method estimates its error and `dt0` is `None`. Fixed
    steps can be differentiated in both modes, adaptive ones in forward mode (the
    accepted steps are held fixed).

    **Arguments:**

    - `field`: `(t, y, args) -> dy/dt`, a tree like `y`.
    - `method`: `Tsit5()`, `RK4()`, ..., or `Diffrax()` for stiff equations.
    - `t0`, `t1`: the interval; `t1 < t0` integrates backwards.
    - `y0`: the initial state, an array or a tree of arrays of one type.
    - `args`: handed through to `field`.
    - `saveat`: times `(T,)` from `t0` towards `t1` in order; `t1` alone by default.
      Integration ends at the last of them.
    - `rtol`, `atol`: tolerances of adaptive steps; changing them compiles nothing anew.
    - `dt0`: length of fixed steps, made a little shorter where they would not meet
      the saved times; `None` for adaptive ones.
    - `max_steps`: adaptive steps at the most.

    **Returns:** a `Trajectory`; a failure is a code in it, not an error.

    **Raises:** `InputError` for a method without error estimate and without `dt0`.
    """
    if not isinstance(method, (AbstractExplicitRungeKutta, Diffrax)):
        raise InputError(
            f"got {type(method).__name__}, expected an integrator",
            where="integrate.solve.method",
            fix="give a value such as Tsit5()",
        )
    flat, unravel = ravel_pytree(y0)
    real = jnp.zeros((), flat.dtype).real.dtype
    counts, at_start = _counts(t0, t1 if saveat is None else saveat, dt0)
    t0, t1 = (jnp.asarray(t, real) for t in (t0, t1))
    saveat = t1[None] if saveat is None else jnp.asarray(saveat, real)
    # Backwards in time is forwards in s = -t.
    sign = jnp.where(t1 >= t0, 1.0, -1.0).astype(real)

    @jax.jit  # traced once for all stages
    def forward(s, y):
        return sign * ravel_pytree(field(sign * s, unravel(y), args))[0]

    rtol, atol = (jnp.asarray(x, real) for x in (rtol, atol))
    start, ends = sign * t0, sign * saveat
    if isinstance(method, Diffrax):
        found = method.run(forward, start, ends, flat, rtol, atol, dt0, max_steps)
    elif dt0 is None and method.tableau.error is None:
        raise InputError(
            f"{method.name} has no error estimate",
            where="integrate.solve.dt0",
            fix="give the length of its steps, or take Tsit5()",
        )
    elif dt0 is None:
        found = _adaptive(method.tableau, forward, start, ends, flat, rtol, atol, max_steps)
    else:
        found = _fixed(method.tableau, forward, start, ends, flat, counts, at_start)
    state, ys, slopes, component, evaluations = found
    back = jax.vmap(unravel)
    return Trajectory(
        saveat,
        back(ys),
        back(sign.astype(flat.dtype) * slopes),
        state.steps,
        state.rejected,
        evaluations,
        state.code,
        sign * state.t,
        component,
        sign * state.dt_last,
    )


def _counts(t0, ends, dt0) -> tuple[Any, bool]:
    """Fixed steps between saved times, and whether the first of these is the start: one
    number where times are known, so that the loop can be differentiated backwards; else
    one for each interval."""
    if dt0 is None:
        return None, False
    if isinstance(t0, Tracer) or isinstance(ends, Tracer):
        times = jnp.concatenate([jnp.atleast_1d(jnp.asarray(t)) for t in (t0, ends)])
        share = jnp.abs(jnp.diff(times)) / dt0
        return jnp.maximum(jnp.ceil(share - 1e-6), 1.0).astype(jnp.int32), False
    times = np.concatenate([np.atleast_1d(np.asarray(t, float)) for t in (t0, ends)])
    gaps = np.abs(np.diff(times))
    return int(max(np.ceil(np.max(gaps) / dt0 - 1e-6), 1)), bool(gaps[0] == 0)


def _begin(field, t0, y0, dt) -> runge_kutta.State:
    zero = jnp.zeros((), jnp.int32)
    dt = jnp.asarray(dt, t0.dtype)
    one = jnp.ones((), t0.dtype)
    nobody = jnp.zeros_like(jnp.abs(y0))
    return runge_kutta.State(t0, y0, field(t0, y0), dt, one, dt, nobody, zero, zero, zero)


def _adaptive(tableau, field, t0, ends, y0, rtol, atol, max_steps):
    state = _begin(field, t0, y0, 0.0)
    span = jnp.maximum(ends[-1] - t0, jnp.finfo(t0.dtype).tiny)
    dt = runge_kutta.first_step(tableau, field, t0, y0, state.slope, span, rtol, atol)
    state = state._replace(dt=dt, dt_last=dt)

    def advance(state, end):
        state = runge_kutta.advance_adaptive(tableau, field, state, end, rtol, atol, max_steps)
        return state, (state.y, state.slope, state.code == 0)

    return _finish(tableau, 2, *jax.lax.scan(advance, state, ends))


def _fixed(tableau, field, t0, ends, y0, counts, at_start: bool):
    state = _begin(field, t0, y0, 0.0)
    first = (y0[None], state.slope[None], jnp.ones((1,), bool))

    def advance(state, item):
        end, count = item
        count = counts if isinstance(counts, int) else count
        state = runge_kutta.advance_fixed(tableau, field, state, end, count)
        return state, (state.y, state.slope, state.code == 0)

    ahead = ends[1:] if at_start else ends
    items = (ahead, ahead if isinstance(counts, int) else counts)
    state, rows = jax.lax.scan(advance, state, items)
    if at_start:
        rows = tuple(jnp.concatenate(pair) for pair in zip(first, rows, strict=True))
    return _finish(tableau, 1, state, rows)


def _finish(tableau, begun: int, state, rows):
    ys, slopes, reached = rows
    per_step = runge_kutta.evaluations_per_step(tableau)
    evaluations = begun + per_step * (state.steps + state.rejected)
    component = jnp.where(state.code == 0, 0, worst_component(state.suspect))
    return (
        state,
        hide_unreached(ys, reached),
        hide_unreached(slopes, reached),
        component.astype(jnp.int32),
        evaluations,
    )
