r"""Fractional noise by a Markov approximation: Brownian motion seen by a few decaying memories.

Fractional Brownian motion of Riemann and Liouville's kind (II) and of Mandelbrot and van Ness'
kind (I, whose increments are stationary),

    B(t) = 1/Gamma(a) int_0^t (t - s)^(a - 1) dW_s,                                   a = H + 1/2,
    B(t) = 1/Gamma(a) int_-inf^t ((t - s)^(a - 1) - max(-s, 0)^(a - 1)) dW_s,

is replaced by `sum_k w_k (Y_k(t) - Y_k(0))` of Ornstein-Uhlenbeck processes that share one
Brownian motion, `dY_k = -g_k Y_k dt + dW`, which begin at 0 (II) or in their stationary law
(I), with speeds `g_k` in a geometric row and the weights `w` that minimise the integral
`E int_0^T (B - sum_k w_k (Y_k - Y_k(0)))^2 dt`. They solve `A w = c`, for II and for I

    A_ij = (T + (exp(-(g_i + g_j) T) - 1)/(g_i + g_j)) / (g_i + g_j),
    c_k  = T g_k^-a P(a, g_k T) - a g_k^-(a+1) P(a + 1, g_k T),

    A_ij = (2 T + (exp(-g_i T) - 1)/g_i + (exp(-g_j T) - 1)/g_j) / (g_i + g_j),
    c_k  = 2 T g_k^-a - T^a/(g_k Gamma(a + 1)) + (exp(-g_k T) - exp(g_k T) Q(a, g_k T)) g_k^-(a+1),

`P` and `Q` the regularised incomplete gamma functions. Variances are `t^(2H)/(2H Gamma(a)^2)`
for II and `V t^(2H)` for I, `V = Gamma(2 - 2H) cos(pi H)/(pi H (1 - 2H))`: not 1 at `t = 1`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammainc, gammaincc, gammaln
from jaxtyping import Array, Float, Key

from continua.core.errors import InputError, suggest
from continua.integrate.stochastic.sde import SDE

_LARGE = 10.0  # arguments from which exp(z) Q(a, z) is a continued fraction
_FRACTIONS = 24  # of it, for rounding in double precision at `_LARGE`
KINDS = ("I", "II")


def speeds(terms: int, fastest: Any, slowest: Any = None) -> Float[Array, " K"]:
    """Rates of decay in a geometric row.

    **Arguments:**

    - `terms`: how many, at least 2.
    - `fastest`: the largest.
    - `slowest`: the smallest; `1 / fastest` by default.
    """
    fastest = jnp.asarray(fastest, float)
    if slowest is None:
        return fastest ** jnp.linspace(-1.0, 1.0, terms)
    slowest = jnp.asarray(slowest, float)
    return slowest * (fastest / slowest) ** jnp.linspace(0.0, 1.0, terms)


def weights(
    hurst: Any, rates: Float[Array, " K"], horizon: Any, kind: str = "II"
) -> Float[Array, " K"]:
    """The weights of the processes, differentiable in `hurst`.

    **Arguments:**

    - `hurst`: `H`, between 0 and 1.
    - `rates`: `g`.
    - `horizon`: `T`, the time for which the approximation is the best.
    - `kind`: `"II"`, of Riemann and Liouville, or `"I"`, of Mandelbrot and van Ness.

    **Reference:** daems2024variational
    """
    return jnp.linalg.solve(*normal_equations(hurst, rates, horizon, kind))


def normal_equations(
    hurst: Any, rates: Float[Array, " K"], horizon: Any, kind: str = "II"
) -> tuple[Float[Array, "K K"], Float[Array, " K"]]:
    """`A` and `c` of `A w = c`, the integrals of `E Y_i Y_j` and `E B Y_k` from 0 to `T`.

    **Arguments:** as `weights`.
    """
    h, t = (jnp.asarray(x, rates.dtype) for x in (hurst, horizon))
    sums, z = rates[:, None] + rates[None], rates * t
    half, more = h + 0.5, h + 1.5
    if kind == "II":
        a = (t + jnp.expm1(-sums * t) / sums) / sums
        c = t * rates**-half * gammainc(half, z) - half * rates**-more * gammainc(more, z)
        return a, c
    passed = jnp.expm1(-z) / rates
    a = (2 * t + passed[:, None] + passed[None]) / sums
    c = 2 * t * rates**-half - t**half / (rates * jnp.exp(gammaln(more)))
    return a, c + (jnp.exp(-z) - _scaled_upper_gamma(half, z)) * rates**-more


def _scaled_upper_gamma(a, z):
    """`exp(z) Q(a, z)`, which does not overflow."""
    small, large = jnp.minimum(z, _LARGE), jnp.maximum(z, _LARGE)
    fraction = large
    for n in range(_FRACTIONS, 0, -1):
        fraction = large + (n - a) / (1 + n / fraction)
    direct = jnp.exp(small) * gammaincc(a, small)
    return jnp.where(z > _LARGE, jnp.exp(a * jnp.log(large) - gammaln(a)) / fraction, direct)


@dataclasses.dataclass(frozen=True)
class MarkovFBM:
    r"""Fractional Brownian motion as `sum_k w_k (Y_k(t) - Y_k(0))`, `dY_k = -g_k Y_k dt + dW`.

    **Arguments:**

    - `terms`: memories, 5; at least 2.
    - `fastest`: the largest rate, 20, in the unit of `1/t`.
    - `horizon`: `T`, 6; it must cover the times of the data.
    - `kind`: `"II"`, which begins at time 0, or `"I"`, of stationary increments; with the
      default rates it lacks slow memories where the Hurst index is large.
    - `slowest`: the smallest rate; `1 / fastest` by default.

    **Raises:** `InputError` for another kind, too few terms, or rates and horizons that are not
    positive.

    **Reference:** daems2024variational
    """

    terms: int = 5
    fastest: float = 20.0
    horizon: float = 6.0
    kind: str = "II"
    slowest: float | None = None

    def __post_init__(self) -> None:
        """Whether the values make sense."""
        if self.kind not in KINDS:
            raise InputError(
                f"got {self.kind!r}", where="MarkovFBM.kind", fix=suggest(self.kind, KINDS)
            )
        if self.terms < 2:
            raise InputError(f"got {self.terms}", where="MarkovFBM.terms", fix="give 2 or more")
        slowest = 1 / self.fastest if self.slowest is None else self.slowest
        if not (0 < slowest < self.fastest and self.horizon > 0):
            raise InputError(
                f"got rates from {slowest:g} to {self.fastest:g} and a horizon of {self.horizon:g}",
                where="MarkovFBM",
                fix="give positive numbers, the fastest rate above the slowest",
            )

    @property
    def rates(self) -> Float[Array, " K"]:
        """`g`, from the slowest to the fastest."""
        return speeds(self.terms, self.fastest, self.slowest)

    def weights(self, hurst: Any) -> Float[Array, " K"]:
        """`w`, differentiable in the Hurst index; in double precision where terms are many.

        **Arguments:**

        - `hurst`: between 0 and 1.
        """
        return weights(hurst, self.rates, self.horizon, self.kind)

    def initial(self, shape: tuple[int, ...] = (), *, key: Key[Array, ""]) -> Float[Array, "..."]:
        """Memories at time 0, `(*shape, K)`: 0 for II, a draw of the stationary law for I.

        **Arguments:**

        - `shape`: of independent motions.
        """
        if self.kind == "II":
            return jnp.zeros((*shape, self.terms))
        rates = np.asarray(self.rates, float)
        root = jnp.asarray(root_of(1 / (rates[:, None] + rates[None])), float)
        return jax.random.normal(key, (*shape, self.terms)) @ root.T

    def variance(self, hurst: Any, t: Any) -> Float[Array, "..."]:
        """`E (sum_k w_k (Y_k(t) - Y_k(0)))^2`.

        **Arguments:**

        - `hurst`: between 0 and 1.
        - `t`: times of any shape.
        """
        rates, found = self.rates, self.weights(hurst)
        sums, t = rates[:, None] + rates[None], jnp.asarray(t, rates.dtype)[..., None]
        if self.kind == "II":
            table = -jnp.expm1(-sums * t[..., None]) / sums
        else:
            passed = -jnp.expm1(-rates * t)
            table = (passed[..., None, :] + passed[..., :, None]) / sums
        return jnp.einsum("i,...ij,j->...", found, table, found)

    def exact_variance(self, hurst: Any, t: Any) -> Float[Array, "..."]:
        """The variance of fractional Brownian motion itself.

        **Arguments:** as `variance`.
        """
        return self._unit(hurst) * jnp.asarray(t, float) ** (2 * jnp.asarray(hurst, float))

    def relative_error(self, hurst: Any) -> Float[Array, ""]:
        """`E int_0^T (B - sum_k w_k (Y_k - Y_k(0)))^2 dt / E int_0^T B^2 dt`.

        **Arguments:**

        - `hurst`: between 0 and 1.
        """
        a, c = normal_equations(hurst, self.rates, self.horizon, self.kind)
        more = 2 * jnp.asarray(hurst, float) + 1
        own = self._unit(hurst) * jnp.asarray(self.horizon, float) ** more / more
        # With the weights that solve A w = c.
        return 1 - c @ jnp.linalg.solve(a, c) / own

    def _unit(self, hurst):
        """The variance at time 1."""
        h = jnp.asarray(hurst, float)
        if self.kind == "II":
            return jnp.exp(-2 * gammaln(h + 0.5)) / (2 * h)
        # cos(pi H)/(1 - 2H) = pi/2 sinc(1/2 - H)
        return jnp.exp(gammaln(2 - 2 * h)) * jnp.sinc(0.5 - h) / (2 * h)


def root_of(covariance: np.ndarray) -> np.ndarray:
    """A matrix `L` with `L L' = C`, for covariances that are singular up to rounding too."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 0.0, None))


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
