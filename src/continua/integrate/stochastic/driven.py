r"""Equations that are driven by a path which is given, by the steps of stochastic methods.

    dy = drift(t, y) dt + diffusion(t, y) dX,

`X` known at rows, straight lines between them: noise that was drawn before, or data. There is
one step to a row. With the increments that `solve_sde` draws, the steps are its own.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.integrate.stochastic.brownian import Increment, of_cell, seeds
from continua.integrate.stochastic.methods import AbstractStochastic
from continua.integrate.stochastic.sde import SDE, across, converted


def solve_driven(
    sde: SDE,
    method: AbstractStochastic,
    *,
    ts: Float[Array, " T"],
    increments: Float[Array, "I m *paths"],
    y0: Float[Array, "n *paths"],
    args: Any = None,
) -> Float[Array, "T n *paths"]:
    """States at the rows of a path that is given.

    All states of the steps are kept for the gradient, which is taken in the increments, the
    first state and all that the equation closes over, in both modes.

    **Arguments:**

    - `sde`: of a state that is an array; its noise is handed the path.
    - `method`: one without Levy areas, such as `StochasticReversibleHeun()`, for paths that
      are smooth between rows one whose interpretation is `"stratonovich"`.
    - `ts`: increasing times of the rows.
    - `increments`: of the path from row to row, `(T - 1, m)`; with a last axis for many paths.
    - `y0`: the first state, `(n,)`, with the same last axis.
    - `args`: handed through to drift and diffusion.

    **Returns:** the states, the first among them.

    **Raises:** `InputError` for a method that needs areas, and as many increments as times.

    **Reference:** kidger2021efficient
    """
    if method.area or method.levy:
        raise InputError(
            f"{type(method).__name__} needs areas, which rows do not tell",
            where="solve_driven.method",
            fix="take StochasticReversibleHeun() or StochasticHeun()",
        )
    if increments.shape[0] + 1 != ts.shape[0]:
        raise InputError(
            f"got {increments.shape[0]} increments between {ts.shape[0]} rows",
            where="solve_driven.increments",
            fix="give one fewer than rows",
        )
    flat = SDE(
        lambda t, y: sde.drift(t, y, args),
        lambda t, y: sde.diffusion(t, y, args),
        sde.noise,
        sde.interpretation,
    )
    equation = converted(across(flat, y0.ndim > 1), method.interpretation)

    def step(carry, row):
        (y, memory), (t, h, w) = carry, row
        y, memory, _ = method.move(equation, t, y, memory, h, Increment(w, None))
        return (y, memory), y

    first = (y0, method.begin(equation, ts[0], y0))
    _, ys = jax.lax.scan(step, first, (ts[:-1], jnp.diff(ts), increments))
    return jnp.concatenate([y0[None], ys])


def brownian_increments(
    ts: Float[Array, " T"], channels: int, numbers: Any, *, key
) -> Float[Array, "I m *paths"]:
    """The increments between rows that `solve_sde` draws with one step to each.

    **Arguments:**

    - `ts`: times of the rows.
    - `channels`: `m`.
    - `numbers`: of the paths, an integer or an array of them.
    - `key`: of the Brownian paths.
    """
    seed, steps = seeds(key, numbers, channels), jnp.diff(ts)
    cells = jnp.arange(steps.size, dtype=jnp.uint32)
    return jax.vmap(lambda cell, h: of_cell(seed, cell, h).w)(cells, steps)
