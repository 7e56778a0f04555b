"""One call for every integrator: from `y0` at `t0` to the times that are asked for."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError
from continua.integrate import fields, fixed
from continua.integrate.closed import Closed
from continua.integrate.continuous import Continuous
from continua.integrate.control import PID
from continua.integrate.events import Event, check, flat
from continua.integrate.fields import AbstractField
from continua.integrate.gradients import Direct, Replay, solver
from continua.integrate.lanes import Times, spread_over
from continua.integrate.methods import AbstractEmbedded, AbstractOneStep
from continua.integrate.reversible import AbstractReversible, march_reversible
from continua.integrate.stiff import Diffrax
from continua.integrate.trajectory import Events, Found, Trajectory

_PID, _REPLAY = PID(), Replay()


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
    control: PID = _PID,
    events: Sequence[Event] = (),
    dense: bool = True,
    gradient: Replay | Direct | Continuous = _REPLAY,
    ensemble: bool = False,
) -> Trajectory:
    """Integrate `dy/dt = field(t, y, args)`.

    Steps are adaptive where the method estimates its error and `dt0` is `None`. Fixed
    steps can be differentiated in both modes, adaptive ones as `gradient` says, their
    accepted steps held fixed. Each trajectory of an `ensemble`, and of a `vmap`, has
    steps of its own.

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
    - `control`: how long adaptive steps are.
    - `events`: what ends the solve, or changes its state, where a condition crosses zero;
      adaptive steps are needed. Saves after the end are NaN.
    - `dense`: whether saved states are read off the polynomials of adaptive steps, which
      costs nothing, where the method has one of its own order or one below; else, and with
      `False`, each is met by a step, which is more exact.
    - `gradient`: of adaptive steps: `Replay()` or `Continuous()` for reverse mode,
      `Direct()` for forward mode.
    - `ensemble`: whether the arrays of `y0` have a leading axis of trajectories, which
      share times, tolerances and `args`. What comes back has this axis too. Gradients
      are much cheaper than through `vmap`, which makes those in `args` one by one.

    **Returns:** a `Trajectory`; a failure is a code in it, not an error.

    **Raises:** `InputError` for a method without error estimate and without `dt0`.
    """
    _check(field, method, dt0)
    if events:
        one = jax.tree.map(lambda x: jnp.asarray(x)[0], y0) if ensemble else y0
        _check_events(events, method, dt0, gradient, jax.tree.map(jnp.asarray, one), t0, args)
    adaptive = dt0 is None and isinstance(method, AbstractEmbedded)
    if ensemble and not adaptive:

        def one(y):
            return solve(
                field, method, t0=t0, t1=t1, y0=y, args=args, saveat=saveat, rtol=rtol,
                atol=atol, dt0=dt0, max_steps=max_steps,
            )  # fmt: skip

        return jax.vmap(one)(y0)
    args = spread_over(args, jax.tree.map(jnp.asarray, y0))
    like = jax.tree.map(lambda x: jnp.asarray(x)[0], y0) if ensemble else y0
    y, unravel = ravel_pytree(like)
    real = jnp.zeros((), y.dtype).real.dtype
    counts, early = _counts(t0, t1 if saveat is None else saveat, dt0)
    t0, t1 = spread_over(tuple(jnp.asarray(t, real) for t in (t0, t1)), y)
    saveat = t1[None] if saveat is None else jnp.asarray(saveat, real)
    # Backwards in time is forwards in s = -t.
    sign = jnp.where(t1 >= t0, 1.0, -1.0).astype(real)
    if isinstance(field, AbstractField):
        forward = field.flat(unravel, sign, args)
    else:
        forward = fields.flat(field, unravel, sign, args)
    rtol, atol = (jnp.asarray(x, real) for x in (rtol, atol))
    start, ends = sign * t0, sign * saveat
    if adaptive:
        if ensemble:
            y = jax.vmap(lambda y: ravel_pytree(y)[0], out_axes=-1)(y0)
        times = Times(start, y, ends, rtol, atol)
        dense = dense and method.dense_order >= method.order - 1
        options = {
            "control": control, "max_steps": max_steps, "dense": dense, "gradient": gradient
        }  # fmt: skip
        if events:
            options["directions"] = tuple(event.direction for event in events)
            options["ending"] = tuple(event.change is None for event in events)
        flat_events = flat(tuple(events), unravel, sign, args) if events else ()
        system = (forward, flat_events)
        found = _adaptive(method, system, times, ensemble=ensemble, **options)
        along = jax.vmap(forward, (0, 0))
        along = jax.vmap(along, (None, -1), -1) if ensemble else along
        slopes = jnp.where(jnp.isnan(found.ys), found.ys, along(ends, found.ys))
        found = found._replace(slopes=slopes)
    elif isinstance(method, Diffrax):
        found = method.run(forward, start, ends, y, rtol, atol, dt0, max_steps)
    else:
        undone = isinstance(method, AbstractReversible) and not isinstance(gradient, Direct)
        march = march_reversible if undone else fixed.march
        found = march(method, forward, start, ends, y, counts, early)

    def outer(found: Found) -> Trajectory:
        back, happened = jax.vmap(unravel), None
        if found.events:
            ts, which, count = found.events
            happened = Events(sign * ts, which, count)
        return Trajectory(
            saveat,
            back(found.ys),
            back(sign.astype(y.dtype) * found.slopes),
            found.steps,
            found.rejected,
            found.evaluations,
            found.code,
            sign * found.t_end,
            found.component,
            sign * found.dt_last,
            unravel(found.y_end),
            happened,
        )

    return jax.vmap(outer, in_axes=-1)(found) if ensemble else outer(found)


def _check(field, method, dt0) -> None:
    if not isinstance(method, (AbstractOneStep, Diffrax)):
        raise InputError(
            f"got {type(method).__name__}, expected an integrator",
            where="integrate.solve.method",
            fix="give a value such as Tsit5()",
        )
    if isinstance(method, Diffrax):
        return
    if method.takes is not None and not isinstance(field, method.takes):
        raise InputError(
            f"{method.name} needs a field of known structure, got {type(field).__name__}",
            where="integrate.solve.field",
            fix=f"give {method.takes.__name__}(...), or take Tsit5()",
        )
    estimates = isinstance(method, AbstractEmbedded) and method.error_order > 0
    if dt0 is None and not estimates:
        raise InputError(
            f"{method.name} has no error estimate",
            where="integrate.solve.dt0",
            fix="give the length of its steps, or take Tsit5()",
        )


def _check_events(events, method, dt0, gradient, y0, t0, args) -> None:
    if isinstance(gradient, Continuous):
        raise InputError(
            "the continuous adjoint does not go through events",
            where="integrate.solve.gradient",
            fix="take Replay() or Direct()",
        )
    if dt0 is not None or not isinstance(method, AbstractEmbedded):
        raise InputError(
            "events need adaptive steps",
            where="integrate.solve.events",
            fix="leave dt0 out, with a method such as Tsit5()",
        )
    check(tuple(events), y0, t0, args)


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


def _adaptive(method, system, times: Times, *, ensemble: bool, **options) -> Found:
    one = times.y0[..., 0] if ensemble else times.y0
    # All that functions close over becomes an argument, so that it has its gradient.
    closed = Closed(system, times.t0, one)
    if ensemble:
        m = times.y0.shape[-1]
        wide = (jnp.broadcast_to(x[..., None], (*x.shape, m)) for x in times._replace(y0=one))
        times = Times(*wide)._replace(y0=times.y0)
    return solver(method, closed.bound, ensemble=ensemble, **options)(times, closed.args)
