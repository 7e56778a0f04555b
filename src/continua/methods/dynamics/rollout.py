"""Trajectories through given times: a lean scan of Runge-Kutta steps, or an implicit
solver for stiff fields."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua import integrate


def rollout(
    field: Callable,
    times: Float[Array, " l"],
    start: Float[Array, " s"],
    substeps: int,
    inputs: Float[Array, "l d"] | None = None,
) -> Float[Array, "l s"]:
    """States at given times: equal fourth-order steps between any two of them.

    **Arguments:**

    - `field`: `(t, y) -> dy/dt`, or `(t, y, u)` where there are inputs.
    - `times`: increasing; equal neighbours repeat the state.
    - `start`: the state at the first time.
    - `substeps`: steps between two times; 0 takes an implicit adaptive solver.
    - `inputs`: values of `u` at the times, straight lines between them.

    **Returns:** the states, `start` first.
    """
    if substeps == 0:
        return _implicit(field, times, start, inputs)

    def step(y, at):
        t, h, driven = at
        u, middle, after = ((), (), ()) if driven is None else driven
        k1 = field(t, y, *u)
        k2 = field(t + h / 2, y + h / 2 * k1, *middle)
        k3 = field(t + h / 2, y + h / 2 * k2, *middle)
        k4 = field(t + h, y + h * k3, *after)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y, y

    # One loop over all steps: a step is compiled once, however many there are.
    h = jnp.diff(times) / substeps
    t = times[:-1, None] + h[:, None] * jnp.arange(substeps, dtype=times.dtype)
    driven = None
    if inputs is not None:
        shares = jnp.arange(2 * substeps + 1, dtype=times.dtype)[:, None] / (2 * substeps)
        line = inputs[:-1, None] + jnp.diff(inputs, axis=0)[:, None] * shares
        thirds = (line[:, :-2:2], line[:, 1::2], line[:, 2::2])
        driven = tuple((x.reshape(-1, inputs.shape[1]),) for x in thirds)
    _, states = jax.lax.scan(step, start, (t.reshape(-1), jnp.repeat(h, substeps), driven))
    return jnp.concatenate([start[None], states[substeps - 1 :: substeps]])


def input_at(t, times: Float[Array, " l"], inputs: Float[Array, "l d"]) -> Float[Array, " d"]:
    """`u(t)`, straight lines between its values at the times.

    **Arguments:**

    - `t`: where.
    - `times`, `inputs`: as `rollout`.
    """
    return jax.vmap(lambda column: jnp.interp(t, times, column), in_axes=1)(inputs)


def _implicit(field, times, start, inputs):
    def driven(t, y, args):
        return field(t, y) if inputs is None else field(t, y, input_at(t, times, inputs))

    # Where numbers grow without bound the states from there on are NaN.
    found = integrate.solve(
        driven,
        integrate.Rodas5P(),
        t0=times[0],
        t1=times[-1],
        y0=start,
        saveat=times,
        rtol=1e-8,
        atol=1e-8,
        gradient=integrate.Direct(),
    )
    return found.ys


def substeps_for(field: Callable, times, states, *, most: int = 400) -> int:
    """How many Runge-Kutta steps between measurements keep the steps stable and exact.

    **Arguments:**

    - `field`: `(t, y) -> dy/dt`.
    - `times`, `states`: `(l,)`, `(l, s)`, near the trajectory.
    - `most`: beyond this the field counts as stiff.

    **Returns:** a number of steps, 0 for a stiff field.
    """
    import numpy as np

    jacobians = jax.jit(jax.vmap(jax.jacfwd(field, argnums=1)))(times, states)
    finite = np.nan_to_num(np.asarray(jacobians))
    speed = float(np.abs(np.linalg.eigvals(finite)).max())
    gap = float(np.max(np.diff(np.asarray(times, float)), initial=0.0))
    count = int(np.ceil(max(4.0, 5.0 * speed * gap)))
    return count if count <= most else 0
