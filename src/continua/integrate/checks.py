"""What is wrong with the arguments of a solve, said before anything is compiled.

Values that are traced are not known yet and are not looked at.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from continua.core.errors import InputError
from continua.integrate import events as events_module
from continua.integrate.continuous import Continuous
from continua.integrate.fields import AbstractField
from continua.integrate.methods import AbstractEmbedded, AbstractOneStep
from continua.integrate.stiff import Diffrax


def check_method(
    field: Any, method: Any, dt0: Any, ensemble: bool, shared: bool, history: int
) -> None:
    """Whether a method fits the field, and knows how long its steps are."""
    if not isinstance(method, (AbstractOneStep, Diffrax)):
        raise InputError(
            f"got {type(method).__name__}, expected an integrator",
            where="integrate.solve.method",
            fix="give a value such as Tsit5()",
        )
    if shared and (not ensemble or isinstance(field, AbstractField)):
        raise InputError(
            "only an ensemble of a plain right-hand side can share its steps",
            where="integrate.solve.shared",
            fix="give ensemble=True and a function (t, y, args), or leave shared out",
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
    if history and (dt0 is not None or not estimates):
        raise InputError(
            "fixed steps have no history",
            where="integrate.solve.history",
            fix="leave history or dt0 out",
        )


def check_times(t0: Any, t1: Any, saveat: Any, dt0: Any) -> None:
    """Whether saves lie in the interval, in order, and steps have a length."""
    if dt0 is not None and not isinstance(dt0, Tracer) and not dt0 > 0:
        raise InputError(
            f"got {dt0}",
            where="integrate.solve.dt0",
            fix="give a positive length, backwards in time too",
        )
    if any(isinstance(t, Tracer) for t in (t0, t1, saveat)):
        return
    start, end = float(t0), float(t1)
    if not np.isfinite([start, end]).all():
        raise InputError(
            f"got t0={start}, t1={end}", where="integrate.solve.t1", fix="give finite times"
        )
    if saveat is None:
        return
    times = np.atleast_1d(np.asarray(saveat, float))
    if times.ndim != 1 or times.size == 0:
        raise InputError(
            f"got times of shape {np.shape(saveat)}",
            where="integrate.solve.saveat",
            fix="give an array (T,) of at least one time",
        )
    sign = 1.0 if end >= start else -1.0
    slack = 1e-6 * max(abs(start), abs(end), abs(end - start))
    outside = (sign * (times - start) < -slack) | (sign * (times - end) > slack)
    if outside.any():
        raise InputError(
            f"the time {times[outside][0]:g} is not between t0={start:g} and t1={end:g}",
            where="integrate.solve.saveat",
            fix="leave it out, or widen the interval",
        )
    if (sign * np.diff(times) < 0).any():
        raise InputError(
            "the times are not in order",
            where="integrate.solve.saveat",
            fix="sort them on the way from t0 to t1",
        )


def check_tolerances(rtol: Any, atol: Any) -> None:
    """Whether tolerances allow for any error."""
    known = {"rtol": rtol, "atol": atol}
    known = {name: float(x) for name, x in known.items() if not isinstance(x, Tracer)}
    for name, value in known.items():
        if not value >= 0:
            raise InputError(
                f"got {value}", where=f"integrate.solve.{name}", fix="give a positive number"
            )
    if len(known) == 2 and not any(known.values()):
        raise InputError(
            "both tolerances are zero",
            where="integrate.solve.rtol",
            fix="give positive numbers, such as rtol=1e-6 and atol=1e-9",
        )


def check_state(field: Any, y0: Any, t0: Any, args: Any) -> None:
    """Whether the state is of finite numbers, and the right-hand side is like it.

    **Arguments:**

    - `field`: a plain right-hand side, or one of known structure, which is not looked at.
    - `y0`: a tree of arrays of one trajectory.
    - `t0`, `args`: what the field is handed beside it.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(y0):
        if isinstance(leaf, Tracer):
            continue
        where = "integrate.solve.y0" + jax.tree_util.keystr(path)
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise InputError(f"got {leaf.dtype}", where=where, fix="give floating numbers")
        if not np.isfinite(np.asarray(leaf, complex)).all():
            raise InputError(
                "the initial state is not finite", where=where, fix="look for NaN in the data"
            )
    if isinstance(field, AbstractField):
        return
    given = jax.eval_shape(field, jnp.asarray(t0, _real(y0)), y0, args)
    _check_like(given, y0)


def _real(y0) -> Any:
    leaves = jax.tree.leaves(y0)
    return jnp.zeros((), jnp.result_type(*leaves) if leaves else float).real.dtype


def _check_like(given: Any, y0: Any) -> None:
    got, expected = jax.tree.structure(given), jax.tree.structure(y0)
    if got != expected:
        raise InputError(
            f"it returns the tree {got}, the state is {expected}",
            where="integrate.solve.field",
            fix="return dy/dt, a tree like the state",
        )
    for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(y0), strict=True):
        if a.shape != b.shape:
            raise InputError(
                f"it returns {list(a.shape)} for a state of {list(b.shape)}",
                where="integrate.solve.field",
                fix="return dy/dt, of the shape of the state",
            )
        if jnp.issubdtype(a.dtype, jnp.complexfloating) and not jnp.iscomplexobj(b):
            raise InputError(
                f"it returns {a.dtype} for a state of {b.dtype}",
                where="integrate.solve.field",
                fix="give a complex y0, or return real numbers",
            )


def check_events(
    events: Any, method: Any, dt0: Any, gradient: Any, y0: Any, t0: Any, args: Any
) -> None:
    """Whether events can be found, and have the shapes that they must have."""
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
    events_module.check(tuple(events), y0, t0, args)
