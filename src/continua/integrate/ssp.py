"""Strong-stability-preserving steps whose length follows the speed of the waves."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from continua.integrate.trajectory import NON_FINITE, STEP_LIMIT, SUCCESS
from continua.spaces.finite_volume import FiniteVolumeScheme
from continua.spaces.riemann import State, admissible

_HALVINGS = 12  # of a step that does not keep what must be positive
# Each stage is `kept u + share (v + dt F(t + at dt, v))` of the stage before, `v`.
_STAGES = ((0.0, 1.0, 0.0), (3 / 4, 1 / 4, 1.0), (1 / 3, 2 / 3, 1 / 2))
STAGES = len(_STAGES)


class March(NamedTuple):
    """Averages at the asked times, NaN where they were not reached.

    **Arguments:**

    - `ys`: `(T, s, *N)`.
    - `steps`, `rejected`: accepted and repeated steps.
    - `code`: 0 success, 1 step limit, 2 no admissible state however short the step.
    - `t_end`: the last time reached.
    - `dt_last`: the last step.
    """

    ys: Float[Array, "T s ..."]
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    code: Int[Array, ""]
    t_end: Float[Array, ""]
    dt_last: Float[Array, ""]


def ssp_rk3(scheme: FiniteVolumeScheme, t: Any, u: State, dt: Any) -> tuple[State, Any]:
    """One step of the third-order method of Shu and Osher: means of Euler steps.

    **Arguments:**

    - `scheme`: the right-hand side.
    - `t`, `u`, `dt`: time, averages, step.

    **Returns:** the averages after it, and whether all its states are admissible.

    **Reference:** shu1988efficient
    """

    rows = jnp.asarray(_STAGES, u.dtype)

    def stage(carry, row):
        v, good = carry
        kept, share, at = row
        v = kept * u + share * (v + dt * scheme(t + at * dt, v))
        return (v, good & jnp.all(admissible(scheme.law, v))), None

    # A loop, so that the right-hand side is compiled once.
    (new, good), _ = jax.lax.scan(stage, (u, jnp.asarray(True)), rows)
    return new, good


class _State(NamedTuple):
    t: Any
    u: Any
    share: Any  # of the step that the Courant number allows
    steps: Any
    rejected: Any
    code: Any
    dt: Any


def march(
    scheme: FiniteVolumeScheme, start: State, times: Any, cfl: Any, most_steps: int = 10**6
) -> March:
    """Steps of a given Courant number; one that leaves the admissible states is halved.

    **Arguments:**

    - `scheme`: the right-hand side.
    - `start`: averages `(s, *N)` at the first time.
    - `times`: `(T,)`, all met by a step.
    - `cfl`: `dt sum_i speed_i / h_i`.
    - `most_steps`: after which it gives up.

    **Returns:** a `March`. It has forward derivatives; `march_evenly` has both.
    """
    dtype = start.dtype
    times = jnp.asarray(times, dtype)
    cfl = jnp.asarray(cfl, dtype)
    smallest = float(jnp.finfo(dtype).tiny)

    def to_next(state: _State, target):
        def going(s: _State):
            return (s.t < target) & (s.code == SUCCESS)

        def step(s: _State) -> _State:
            dt = s.share * cfl / jnp.maximum(scheme.rate(s.t, s.u), smallest)
            left = target - s.t
            # The last two steps share what is left, so that none is tiny.
            dt = jnp.where(dt >= left, left, jnp.minimum(dt, jnp.maximum(left / 2, dt / 2)))
            new, good = ssp_rk3(scheme, s.t, s.u, dt)
            share = jnp.where(good, jnp.minimum(2 * s.share, 1), s.share / 2)
            code = jnp.where(s.steps + 1 >= most_steps, STEP_LIMIT, SUCCESS)
            code = jnp.where(share < 2.0**-_HALVINGS, NON_FINITE, code)
            t = jnp.where(dt >= left, target, s.t + dt)
            return _State(
                jnp.where(good, t, s.t),
                jnp.where(good, new, s.u),
                share.astype(dtype),
                s.steps + good.astype(jnp.int32),
                s.rejected + (~good).astype(jnp.int32),
                code.astype(jnp.int32),
                dt,
            )

        state = jax.lax.while_loop(going, step, state)
        lost = state.t < target
        return state, jnp.where(lost, jnp.full((), jnp.nan, dtype), state.u)

    zero = jnp.zeros((), jnp.int32)
    one = jnp.ones((), dtype)
    begin = _State(times[0], start, one, zero, zero, zero, 0 * one)
    end, ys = jax.lax.scan(to_next, begin, times[1:])
    return March(
        jnp.concatenate([start[None], ys]), end.steps, end.rejected, end.code, end.t, end.dt
    )


def march_evenly(scheme: FiniteVolumeScheme, start: State, times: Any, steps: int) -> March:
    """Steps of one length in each interval, with derivatives forward and backward.

    **Arguments:**

    - `scheme`, `start`, `times`: as `march`.
    - `steps`: in each interval between two times.
    """
    dtype = start.dtype
    times = jnp.asarray(times, dtype)

    def interval(carry, ends):
        t0, t1 = ends
        dt = (t1 - t0) / steps

        def step(inner, i):
            u, good, count = inner
            new, fine = ssp_rk3(scheme, t0 + i.astype(dtype) * dt, u, dt)
            good = good & fine
            return (new, good, count + good.astype(jnp.int32)), None

        carry, _ = jax.lax.scan(step, carry, jnp.arange(steps))
        return carry, (carry[0], carry[1])

    carry = (start, jnp.asarray(True), jnp.zeros((), jnp.int32))
    (_, good, count), (ys, fine) = jax.lax.scan(interval, carry, (times[:-1], times[1:]))
    reached = fine.reshape(-1, *(1,) * start.ndim)
    ys = jnp.where(reached, ys, jnp.full((), jnp.nan, dtype))
    last = jnp.sum(fine.astype(jnp.int32))
    code = jnp.where(good, SUCCESS, NON_FINITE).astype(jnp.int32)
    none = jnp.zeros((), jnp.int32)
    dt = (times[1] - times[0]) / steps
    return March(jnp.concatenate([start[None], ys]), count, none, code, times[last], dt)
