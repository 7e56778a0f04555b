"""One call for every integrator: from `y0` at `t0` to the times that are asked for."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError
from continua.integrate import checks, fields, fixed
from continua.integrate.closed import Closed
from continua.integrate.continuous import Continuous
from continua.integrate.control import PID
from continua.integrate.events import Event, flat
from continua.integrate.fields import AbstractField
from continua.integrate.gradients import Direct, Replay, solver
from continua.integrate.implicit import mass
from continua.integrate.lanes import Times, spread_over
from continua.integrate.methods import AbstractEmbedded
from continua.integrate.reversible import AbstractReversible, march_reversible
from continua.integrate.stiff import Diffrax
from continua.integrate.stochastic import SDE, solve_sde
from continua.integrate.trajectory import Events, Found, History, Trajectory

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
    rtol: Any = None,
    atol: Any = None,
    dt0: Any = None,
    max_steps: int = 100_000,
    control: PID = _PID,
    events: Sequence[Event] = (),
    dense: bool = True,
    gradient: Replay | Direct | Continuous = _REPLAY,
    ensemble: bool = False,
    shared: bool = False,
    history: int = 0,
    key: Any = None,
) -> Trajectory:
    """Integrate `dy/dt = field(t, y, args)`.

    Steps are adaptive where the method estimates its error and `dt0` is `None`. Fixed
    steps can be differentiated in both modes, adaptive ones as `gradient` says, their
    accepted steps held fixed. Each trajectory of an `ensemble`, and of a `vmap`, has
    steps of its own.

    **Arguments:**

    - `field`: `(t, y, args) -> dy/dt`, a tree like `y`; or one of known structure, as
      `Split`, `Separable`, `Semilinear`, `WithMass` or `SDE`, for the methods that make use
      of it.
    - `method`: `Tsit5()`, `RK4()`, ...; `Rodas5P()` for stiff equations.
    - `t0`, `t1`: the interval; `t1 < t0` integrates backwards.
    - `y0`: the initial state, an array or a tree of arrays of one type.
    - `args`: handed through to `field`.
    - `saveat`: times `(T,)` from `t0` towards `t1` in order; `t1` alone by default.
      Integration ends at the last of them.
    - `rtol`, `atol`: tolerances of adaptive steps, 1e-6 and 1e-9 by default, for an `SDE`
      1e-3 and 1e-6; changing them compiles nothing anew.
    - `dt0`: length of fixed steps, made a little shorter where they would not meet
      the saved times; `None` for adaptive ones.
    - `max_steps`: adaptive steps at the most.
    - `control`: how long adaptive steps are.
    - `events`: what ends the solve, or changes its state, where a condition crosses zero;
      adaptive steps are needed. Saves after the end are NaN.
    - `dense`: whether saved states are read off the polynomials of adaptive steps, where the
      method has one of its own order or one below: at no cost, or with those of order 7 and
      more at 2 to 4 evaluations in each step that has a save inside; else, and with `False`,
      each is met by a step, which is more exact.
    - `gradient`: of adaptive steps: `Replay()` or `Continuous()` for reverse mode,
      `Direct()` for forward mode. Of an `SDE`, see `solve_sde`.
    - `ensemble`: whether the arrays of `y0` have a leading axis of trajectories, which
      share times, tolerances and `args`. What comes back has this axis too. Gradients
      are much cheaper than through `vmap`, which makes those in `args` one by one.
    - `shared`: whether the trajectories of an `ensemble` take the same steps, chosen by the
      mean of their errors: fewer operations, and results that depend on one another.
    - `history`: for how many accepted steps facts are returned, as a `History`: their
      lengths and states, and their errors and stiffness with derivatives, which `Continuous()`
      leaves out; 0.
    - `key`: of the Brownian path of an `SDE`; see `solve_sde` for more that it can.

    **Returns:** a `Trajectory`; a failure is a code in it, not an error.

    **Raises:** `InputError` for a method without error estimate and without `dt0`, saves
    outside the interval, a state that is not finite, a right-hand side of another shape.
    """
    rtol, atol = _tolerances(field, rtol, atol)
    times = {"t0": t0, "t1": t1, "saveat": saveat, "dt0": dt0}
    options = {**times, "rtol": rtol, "atol": atol, "max_steps": max_steps, "args": args}
    if isinstance(field, SDE):
        options["gradient"] = gradient
        return _stochastic(field, method, y0=y0, key=key, ensemble=ensemble, **options)
    checks.check_times(**times)
    checks.check_tolerances(rtol, atol)
    checks.check_method(field, method, dt0, ensemble, shared, history)
    y0 = jax.tree.map(jnp.asarray, y0)
    one = jax.tree.map(lambda x: x[0], y0) if ensemble else y0
    if isinstance(field, mass.WithMass):
        checks.check_state(field.right, one, t0, args)
        mass.check(field, method, gradient, (t0, y0, args), ensemble, (rtol, atol))
    else:
        checks.check_state(field, one, t0, args)
    if events:
        checks.check_events(events, method, dt0, gradient, one, t0, args)
    adaptive = dt0 is None and isinstance(method, AbstractEmbedded)
    more = {
        "control": control, "events": events, "dense": dense, "gradient": gradient,
        "history": history,
    }  # fmt: skip
    if shared:
        return _together(field, method, y0, **options, **more)
    lanes = adaptive or (isinstance(method, AbstractEmbedded) and method.on_lanes)
    if ensemble and not lanes:
        return jax.vmap(lambda y: solve(field, method, y0=y, **options, **more))(y0)
    asked = _Asked.of(field, t0, t1, y0, one, args, saveat)
    if adaptive:
        limits = (rtol, atol, max_steps)
        found = _adaptive(method, asked, limits, ensemble=ensemble, **more)
    elif isinstance(method, Diffrax):
        rtol, atol = (jnp.asarray(x, asked.start.dtype) for x in (rtol, atol))
        given = (asked.forward, asked.start, asked.ends, asked.y, rtol, atol)
        found = method.run(*given, dt0, max_steps)
    else:
        counts, early = _counts(t0, t1 if saveat is None else saveat, dt0)
        forward = asked.forward
        if ensemble:
            forward = jax.vmap(forward, (None, -1), -1)
        given = (forward, asked.start, asked.ends, asked.y, counts, early)
        if isinstance(method, AbstractReversible) and not isinstance(gradient, Direct):
            found = march_reversible(method, *given)
        else:
            found = fixed.march(method, *given)
    return jax.vmap(asked.trajectory, in_axes=-1)(found) if ensemble else asked.trajectory(found)


def _tolerances(field, rtol, atol) -> tuple[Any, Any]:
    usual = (1e-3, 1e-6) if isinstance(field, SDE) else (1e-6, 1e-9)
    return usual[0] if rtol is None else rtol, usual[1] if atol is None else atol


def _stochastic(sde: SDE, method, *, key, **options) -> Trajectory:
    if key is None:
        raise InputError(
            "an SDE needs a key", where="integrate.solve.key", fix="give key=jax.random.key(0)"
        )
    return solve_sde(sde, method, key=key, **options)


def _together(field, method, y0, **options) -> Trajectory:
    """An ensemble as one system, of which the trajectories are the last axis."""
    wide = jax.vmap(field, in_axes=(None, -1, None), out_axes=-1)
    last = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), y0)
    found = solve(wide, method, y0=last, **options)

    def each(ys, slopes, y_end, began):
        facts = found.history
        facts = facts if facts is None else dataclasses.replace(facts, ys=began)
        return dataclasses.replace(found, ys=ys, slopes=slopes, y_end=y_end, history=facts)

    began = None if found.history is None else found.history.ys
    return jax.vmap(each, in_axes=-1)(found.ys, found.slopes, found.y_end, began)


class _Asked(NamedTuple):
    """What was asked for, of a flat state, forwards in `s = sign * t`."""

    forward: Any
    unravel: Any
    sign: Any
    start: Any
    ends: Any
    saveat: Any
    y: Any  # `(n,)`, or `(n, m)` of an ensemble
    args: Any

    @classmethod
    def of(cls, field, t0, t1, y0, one, args, saveat) -> "_Asked":
        """That of trees, of which `one` is the state of one trajectory."""
        y, unravel = ravel_pytree(one)
        real = jnp.zeros((), y.dtype).real.dtype
        args = spread_over(args, y0)
        t0, t1 = spread_over(tuple(jnp.asarray(t, real) for t in (t0, t1)), y)
        saveat = t1[None] if saveat is None else jnp.atleast_1d(jnp.asarray(saveat, real))
        sign = jnp.where(t1 >= t0, 1.0, -1.0).astype(real)
        if isinstance(field, AbstractField):
            forward = field.flat(unravel, sign, args)
        else:
            forward = fields.flat(field, unravel, sign, args)
        if one is not y0:
            y = jax.vmap(lambda y: ravel_pytree(y)[0], out_axes=-1)(y0)
        return cls(forward, unravel, sign, sign * t0, sign * saveat, saveat, y, args)

    def trajectory(self, found: Found) -> Trajectory:
        """What was found, as it was asked for."""
        back, happened = jax.vmap(self.unravel), None
        if found.events:
            ts, which, count = found.events
            happened = Events(self.sign * ts, which, count)
        facts = None
        if found.history:
            ts, dt, error, stiffness, ys = found.history
            facts = History(self.sign * ts, self.sign * dt, error, stiffness, back(ys))
        return Trajectory(
            self.saveat,
            back(found.ys),
            back(self.sign.astype(self.y.dtype) * found.slopes),
            found.steps,
            found.rejected,
            found.evaluations,
            found.code,
            self.sign * found.t_end,
            found.component,
            self.sign * found.dt_last,
            self.unravel(found.y_end),
            happened,
            facts,
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


def _adaptive(
    method, asked: _Asked, limits, *, ensemble: bool, control, events, dense, gradient, history
) -> Found:
    start, ends, y = asked.start, asked.ends, asked.y
    rtol, atol, max_steps = limits
    times = Times(start, y, ends, *(jnp.asarray(x, start.dtype) for x in (rtol, atol)))
    one = y[..., 0] if ensemble else y
    options = {
        "control": control,
        "max_steps": max_steps,
        "dense": dense and method.dense_order >= method.order - 1,
        "directions": tuple(event.direction for event in events),
        "ending": tuple(event.change is None for event in events),
        "history": history,
    }
    happening: Any = ()
    if events:
        happening = flat(tuple(events), asked.unravel, asked.sign, asked.args)
    # All that functions close over becomes an argument, so that it has its gradient.
    closed = Closed((asked.forward, happening), start, one)
    if ensemble:
        m = y.shape[-1]
        wide = (jnp.broadcast_to(x[..., None], (*x.shape, m)) for x in times._replace(y0=one))
        times = Times(*wide)._replace(y0=y)
    run = solver(method, closed.bound, gradient=gradient, ensemble=ensemble, **options)
    found = run(times, closed.args)
    along = jax.vmap(asked.forward)
    along = jax.vmap(along, (None, -1), -1) if ensemble else along
    slopes = jnp.where(jnp.isnan(found.ys), found.ys, along(ends, found.ys))
    # The slope at each save is a call of its own, made where slopes are used.
    return found._replace(slopes=slopes, evaluations=found.evaluations + ends.size)
