"""Adaptive steps of hidden dynamics: what a solver takes to follow them, and what that costs.

Without noise states at the nodes are read off the steps of `Tsit5`, with inputs that go straight
from node to node. With noise training stays on the grid; there the steps of `SPaRK` through the
prior are looked at, from states of the posterior, which lie where the data are. Tolerances are
relative and absolute, in hidden states.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua import integrate
from continua.integrate.stochastic import SDE, SPaRK, solve_sde
from continua.methods.dynamics.regularise import SolverRegulariser

_MOST = 64  # windows whose steps are counted


def nodes(model: Any, acting: Float[Array, "G1 D"], begin: int) -> Float[Array, " G1"]:
    """Times of the nodes.

    **Arguments:**

    - `model`: a `LatentModel`.
    - `acting`: inputs and statics there.
    - `begin`: the number of the first.
    """
    numbers = begin + jnp.arange(acting.shape[0])
    return model.pace.step * numbers.astype(acting.dtype)


def between(model: Any, acting: Float[Array, "G1 D"], t: Any, begin: int) -> Float[Array, " D"]:
    """Inputs and statics at a time.

    **Arguments:**

    - `model`, `acting`, `begin`: as `nodes`.
    - `t`: not before the first node.
    """
    if acting.shape[1] == 0:
        return acting[0]
    place = t / model.pace.step - begin
    i = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, max(acting.shape[0] - 2, 0))
    share = jnp.clip(place - i.astype(acting.dtype), 0.0, 1.0)
    return acting[i] + share * (acting[jnp.minimum(i + 1, acting.shape[0] - 1)] - acting[i])


def solved(
    model: Any, z: Float[Array, " s"], acting: Float[Array, "G1 D"],
    regulariser: SolverRegulariser | None, *, key: Any, begin: int = 0,
) -> tuple[integrate.Trajectory, Any]:  # fmt: skip
    """The trajectory through the nodes without noise, and the cost of its steps.

    **Arguments:**

    - `model`: a `LatentModel` with a `tolerance`.
    - `z`: the state at the first node.
    - `acting`, `begin`: as `nodes`.
    - `regulariser`: `None` for no cost.
    - `key`: says where a local step is.
    """
    times = nodes(model, acting, begin)

    def field(t, z, args):
        return model.drift(t, z, between(model, acting, t, begin))

    options: dict[str, Any] = {"t0": times[0], "t1": times[-1], "y0": z, "saveat": times}
    options |= {"rtol": model.tolerance, "atol": model.tolerance}
    if regulariser is None:
        return integrate.solve(field, integrate.Tsit5(), **options), jnp.zeros((), z.dtype)
    return regulariser.solve(field, integrate.Tsit5(), key=key, **options)


def equation(model: Any, acting: Float[Array, "G1 D"], begin: int = 0) -> SDE:
    """The prior as a stochastic equation; each `g` may see all states, so that the noise is
    diagonal in form and not in kind.

    **Arguments:**

    - `model`: a `LatentModel` with noise.
    - `acting`, `begin`: as `nodes`.
    """

    def drift(t, z, args):
        return model.drift(t, z, between(model, acting, t, begin))

    def diffusion(t, z, args):
        return jnp.diag(model.diffusion(model.seen(t, z, between(model, acting, t, begin))))

    return SDE(drift, diffusion, "general")


def cost(
    model: Any, states: Float[Array, "G1 s"], acting: Float[Array, "G1 D"],
    regulariser: SolverRegulariser, *, key: Any,
) -> Any:  # fmt: skip
    """What adaptive steps through the prior would cost on a path of the posterior.

    **Arguments:**

    - `model`: a `LatentModel` with noise and a `tolerance`.
    - `states`: at the nodes.
    - `acting`: as `nodes`.
    - `regulariser`: what it is.
    - `key`: says where a local step is, and its noise.
    """
    limits: dict[str, Any] = {"rtol": model.tolerance, "atol": model.tolerance}
    times = nodes(model, acting, 0)
    return regulariser.of_path(equation(model, acting), times, states, key=key, **limits)


def steps_of(model: Any, windows: Any) -> dict[str, float]:
    """Accepted and attempted steps from the first to the last node of a window, a mean over
    windows: of a draw of the prior that begins where the posterior does.

    **Arguments:**

    - `model`: a `LatentModel` with a `tolerance`.
    - `windows`: many, stacked; of a lot of them some.
    """
    count = windows.share.shape[0]
    rows = np.unique(np.linspace(0, count - 1, min(count, _MOST)).astype(int))
    windows = jax.tree.map(lambda x: x[rows], windows)
    accepted, attempted = _counted(model, windows, jnp.asarray(rows))
    return {"accepted_steps": float(accepted), "attempted_steps": float(attempted)}


@eqx.filter_jit
def _counted(model: Any, windows: Any, numbers: Any) -> tuple[Any, Any]:
    """Means over windows: one program for all models of one form."""
    limits: dict[str, Any] = {"rtol": model.tolerance, "atol": model.tolerance}

    def one(window, number):
        first, rest = jax.random.split(jax.random.fold_in(jax.random.key(0), number))
        z, _, _ = model.drawn(window, key=first)
        if model.diffusion is None:
            found, _ = solved(model, z, window.acting, None, key=rest)
        else:
            times = nodes(model, window.acting, 0)
            told = equation(model, window.acting)
            ends: dict[str, Any] = {"t0": times[0], "t1": times[-1]}
            found = solve_sde(told, SPaRK(), y0=z, key=rest, **ends, **limits)
        return found.steps.astype(jnp.float32), found.rejected.astype(jnp.float32)

    accepted, rejected = jax.vmap(one)(windows, numbers)
    return jnp.mean(accepted), jnp.mean(accepted + rejected)
