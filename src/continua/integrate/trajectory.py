"""What an integrator returns: states at the asked times, and how it went."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

SUCCESS, STEP_LIMIT, NON_FINITE = 0, 1, 2


class Trajectory(eqx.Module):
    """States at the times that were asked for.

    After a failure the states and slopes that were not reached are NaN.

    **Arguments:**

    - `ts`: times `(T,)`.
    - `ys`: states, `(T, *)` for each array of the state.
    - `slopes`: `dy/dt` at `ts`, as `ys`.
    - `steps`, `rejected`: accepted and rejected steps.
    - `evaluations`: calls of the right-hand side, those for slopes at saves included.
    - `code`: 0 success, 1 step limit, 2 non-finite values or a step that fell to nothing.
    - `t_end`: the last time with a finite state.
    - `component`: flat index of the worst entry of the state after a failure, else 0.
    - `dt_last`: the last step that was tried.
    - `y_end`: the state at `t_end`.
    - `events`: what happened on the way; `None` where no events were asked for.
    - `history`: facts of the accepted steps; `None` where they were not asked for.
    """

    ts: Float[Array, " T"]
    ys: Any
    slopes: Any
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    evaluations: Int[Array, ""]
    code: Int[Array, ""]
    t_end: Float[Array, ""]
    component: Int[Array, ""]
    dt_last: Float[Array, ""]
    y_end: Any
    events: "Events | None"
    history: "History | None" = None


class Events(eqx.Module):
    """Events of a trajectory.

    **Arguments:**

    - `ts`: their times, of the first 32 of them, NaN where there were fewer.
    - `which`: which of the events that were asked for it was, -1 where there were fewer.
    - `count`: how many there were.
    """

    ts: Float[Array, " E"]
    which: Int[Array, " E"]
    count: Int[Array, ""]


class History(eqx.Module):
    """Facts of the accepted steps of a trajectory, 0 beyond the last of them.

    Errors and stiffness have derivatives, the lengths of the steps held fixed, so that a
    field can be trained to be cheap to integrate.

    **Arguments:**

    - `ts`, `dt`: where each step began, and how long it was.
    - `error`: its error in units of the tolerances, at most 1.
    - `stiffness`: an estimate of the largest `|lambda|` of the Jacobian, in 1/time.
    - `ys`: the state that each step began with, without derivatives.
    """

    ts: Float[Array, " H"]
    dt: Float[Array, " H"]
    error: Float[Array, " H"]
    stiffness: Float[Array, " H"]
    ys: Any


class Found(NamedTuple):
    """What an engine returns of a flat state of `n` numbers, in its own direction of time.

    **Arguments:**

    - `ys`, `slopes`: states and `dy/dt`, `(T, n)`, NaN where they were not reached.
    - `steps`, `rejected`, `code`, `t_end`, `component`, `dt_last`, `evaluations`,
      `y_end`: as in `Trajectory`.
    - `events`: times and numbers of the events and their count, `()` without.
    - `history`: as in `History`, `()` without.

    Engines of many trajectories have them as a last axis of everything.
    """

    ys: Any
    slopes: Any
    steps: Any
    rejected: Any
    code: Any
    t_end: Any
    component: Any
    dt_last: Any
    evaluations: Any
    y_end: Any
    events: tuple = ()
    history: tuple = ()


def worst_component(values: Any) -> Int[Array, ""]:
    """The flat index of the largest entry, one that is not finite before all others."""
    sizes = jnp.abs(jnp.ravel(values))
    return jnp.argmax(jnp.where(jnp.isfinite(sizes), sizes, jnp.inf)).astype(jnp.int32)


def all_finite(y: Any) -> Any:
    """Whether every entry of an array is finite."""
    return jnp.all(jnp.isfinite(y))


def hide_unreached(values: jax.Array, reached: jax.Array) -> jax.Array:
    """NaN in the rows `(T, *)` that an integrator did not reach."""
    reached = reached.reshape(-1, *(1,) * (values.ndim - 1))
    return jnp.where(reached, values, jnp.full((), jnp.nan, values.dtype))
