r"""Fractional noise by a Markov approximation: Brownian motion seen by a few decaying memories.

Fractional Brownian motion of Riemann-Liouville's kind,

    B(t) = 1/Gamma(H + 1/2) int_0^t (t - s)^(H - 1/2) dW_s,

is replaced by `sum_k w_k Y_k` of Ornstein-Uhlenbeck processes that share one Brownian
motion, `dY_k = -g_k Y_k dt + dW`, `Y_k(0) = 0`, with speeds `g_k` in a geometric row and
the weights `w` that minimise `E int_0^T (B - sum_k w_k Y_k)^2 dt`. They solve `A w = c`,

    A_ij = (T + (exp(-(g_i + g_j) T) - 1)/(g_i + g_j)) / (g_i + g_j),
    c_k  = T g_k^-(H+1/2) P(H+1/2, g_k T) - (H+1/2) g_k^-(H+3/2) P(H+3/2, g_k T),

`P` the regularised lower incomplete gamma function.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammainc
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.integrate.stochastic.sde import SDE


def speeds(terms: int, fastest: Any) -> Float[Array, " K"]:
    """Rates of decay from `1/fastest` to `fastest`, in a geometric row.

    **Arguments:**

    - `terms`: how many, at least 2.
    - `fastest`: the largest.
    """
    return jnp.asarray(fastest, float) ** jnp.linspace(-1.0, 1.0, terms)


def weights(hurst: Any, rates: Float[Array, " K"], horizon: Any) -> Float[Array, " K"]:
    """The weights of the processes, differentiable in `hurst`.

    **Arguments:**

    - `hurst`: `H`, between 0 and 1.
    - `rates`: `g`.
    - `horizon`: `T`, the time for which the approximation is the best.

    **Reference:** daems2024variational
    """
    h, t = (jnp.asarray(x, rates.dtype) for x in (hurst, horizon))
    sums = rates[:, None] + rates[None]
    a = (t + jnp.expm1(-sums * t) / sums) / sums
    half, more = h + 0.5, h + 1.5
    c = t * rates**-half * gammainc(half, rates * t)
    c = c - half * rates**-more * gammainc(more, rates * t)
    return jnp.linalg.solve(a, c)


def with_fractional_noise(
    sde: SDE, hurst: Any, *, horizon: Any, terms: int = 5, fastest: Any = 20.0
) -> SDE:
    r"""An equation driven by fractional noise in place of white noise.

    The state becomes the pair `(y, memory)`, the arrays of `memory` like those of `y`
    with a last axis of `terms`, and begins with `memory = 0`:

        dy = (drift - diffusion sum_k w_k g_k Y_k) dt + diffusion (sum_k w_k) dW.

    Steps should be shorter than `1 / (2 fastest)`. The noise has a channel for each
    entry of `y` as a matrix, which is for small systems.

    **Arguments:**

    - `sde`: with diagonal noise, or additive noise whose diffusion is like `y`.
    - `hurst`: the Hurst index between 0 and 1: below 1/2 paths are rough, above it they
      persist.
    - `horizon`: the time for which the approximation is the best, often `t1 - t0`.
    - `terms`: memories of each entry, at least 2; 5 by default.
    - `fastest`: the largest rate of decay, in the unit of `1/t`; 20 by default.

    **Returns:** an `SDE` with commutative noise, or additive where it was so.

    **Raises:** `InputError` for other noise or too few terms.

    **Reference:** daems2024variational
    """
    if sde.noise not in ("diagonal", "additive") or terms < 2:
        raise InputError(
            f"got {sde.noise} noise and {terms} terms",
            where="with_fractional_noise",
            fix="give an SDE with a channel for each entry, and 2 terms or more",
        )

    rates = speeds(terms, fastest)
    found = weights(hurst, rates, horizon)

    def drift(t, state, args):
        y, memory = state
        g = sde.diffusion(t, y, args)

        def part(f, g, x):
            return f - g * jnp.sum((found * rates).astype(x.dtype) * x, axis=-1)

        decay = jax.tree.map(lambda x: -rates.astype(x.dtype) * x, memory)
        return jax.tree.map(part, sde.drift(t, y, args), g, memory), decay

    def diffusion(t, state, args):
        y, memory = state
        size = sum(x.size for x in jax.tree.leaves(y))
        leaves, tree = jax.tree.flatten(sde.diffusion(t, y, args))
        first, own, shared = 0, [], []
        for g, x in zip(leaves, jax.tree.leaves(memory), strict=True):
            channels = jnp.eye(g.size, size, first, dtype=x.dtype).reshape(*g.shape, size)
            own.append((g * jnp.sum(found).astype(x.dtype))[..., None] * channels)
            shared.append(jnp.broadcast_to(channels[..., None, :], (*x.shape, size)))
            first += g.size
        return jax.tree.unflatten(tree, own), jax.tree.unflatten(tree, shared)

    def unchanged(t, y, memory, args):
        return jax.tree.map(jnp.zeros_like, memory)

    noise = "additive" if sde.noise == "additive" else "commutative"
    jumps = sde.jumps and sde.jumps.beside(unchanged)
    return SDE(drift, diffusion, noise, sde.interpretation, jumps)
