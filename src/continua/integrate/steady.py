r"""Steady states: `field(y, args) = 0`, the solve for `t -> infinity`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Int

from continua.core.errors import InputError


class Steady(NamedTuple):
    """A steady state.

    **Arguments:**

    - `y`: the state.
    - `reached`: whether it was found to the tolerances.
    - `steps`: iterations that it took.
    """

    y: Any
    reached: Bool[Array, ""]
    steps: Int[Array, ""]


def steady_state(
    field: Callable[[Any, Any], Any],
    y0: Any,
    args: Any = None,
    *,
    rtol: Any = 1e-8,
    atol: Any = 1e-8,
    method: Any = None,
    max_steps: int = 256,
) -> Steady:
    r"""Find `y` with `field(y, args) = 0`, differentiable in `args`.

    The gradient is that of the implicit function, `dy/da = -(df/dy)^{-1} df/da`, in both
    modes; it does not depend on how the state was found, nor on `y0`. A deep equilibrium
    layer `z = g(z, x)` is the field `g(z, x) - z`.

    **Arguments:**

    - `field`: `(y, args)` to a tree like `y`.
    - `y0`: where to begin, a tree of arrays of one type.
    - `args`: handed through to `field`.
    - `rtol`, `atol`: tolerances of the state, 1e-8.
    - `method`: a root finder of optimistix, `optx.Newton(rtol, atol)` by default;
      `optx.Dogleg` is more robust far away.
    - `max_steps`: 256.

    **Returns:** a `Steady`; a failure is a flag in it, not an error.

    **Raises:** `InputError` where the field gives another shape than the state.

    **Reference:** bai2019deep
    """
    flat, unravel = ravel_pytree(y0)
    given = jax.eval_shape(field, y0, args)
    if [x.shape for x in jax.tree.leaves(given)] != [jnp.shape(x) for x in jax.tree.leaves(y0)]:
        raise InputError(
            "the field gives another shape than the state",
            where="integrate.steady_state.field",
            fix="return dy/dt, a tree like y0",
        )

    def residual(y, args):
        return ravel_pytree(field(unravel(y), args))[0]

    finder = optx.Newton(rtol, atol) if method is None else method
    found = optx.root_find(residual, finder, flat, args, max_steps=max_steps, throw=False)
    reached = found.result == optx.RESULTS.successful
    return Steady(unravel(found.value), reached, jnp.asarray(found.stats["num_steps"]))
