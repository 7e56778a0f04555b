r"""Noise that remembers, in steps that are exact for its stiff part, and paths that it drives.

Fractional noise of Hurst index `H` is, for each state, `B = sum_k w_k(H) Y_k` of memories that
share one Brownian motion, `dY_k = -g_k Y_k dt + dW`. A step of `h` is exact,

    Y' = exp(-g h) Y + xi,   xi ~ N(0, Q),   Q_ij = int_0^h exp(-(g_i + g_j) s) ds,

however fast a memory decays, and drives the state (Ito) by

    z' = z + h slope + g sum_k w_k (Y_k' - Y_k).

Under a posterior `W` is driven by `u + c sum_k a_k exp(-g_k (h - s))` at the time `s` of the step,
and the direction `a` of `xi` keeps the share `v` of its variance. With `p = int_0^h exp(-g s) ds`,

    xi = xi_0 - (1 - sqrt(v)) Q a (a' xi_0) / (a' Q a) + u p + c Q a

costs `h u^2/2 + u c a' p + c^2 a' Q a/2 + (v - 1 - log v)/2`: the divergence of the paths, and
the integral of `u^2/2` where `c = 0` and `v = 1`. That is the mean of the logarithm of the ratio of
the densities of both paths of `W`, which at the draw is, with `b = a' xi_0`, `q = a' Q a`,
`m = u a' p + c q` and the part `W_h` of the draw in the increment of `W`,

    u (W_h - a' p b/q) + u^2 (h - (a' p)^2/q)/2 + (sqrt(v) b + m)^2/(2 q) - b^2/(2 q) - log(v)/2.

White noise is one memory that forgets nothing, `g = 0` and `w = 1`.

As functions of `H` the weights are entire, so that a polynomial through few of them, taken in
double precision, is exact to rounding in any precision.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.precision import precision
from continua.integrate.stochastic.fractional import MarkovFBM, root_of
from continua.nets import Fixed, OwnRate

_FAST = 5.0  # times the learning rate of the networks: one number, told by all of the data
_NODES = 24  # of the polynomial in the Hurst index, for rounding in double precision


class Steer(eqx.Module):
    """How the posterior departs from the prior in a step.

    **Arguments:**

    - `push`: `u`, `(s,)`.
    - `aim`: `a`, `(K,)`.
    - `pull`: `c`, `(s,)`.
    - `share`: `v`, `(s,)`.
    """

    push: Float[Array, " s"]
    aim: Float[Array, " K"]
    pull: Float[Array, " s"]
    share: Float[Array, " s"]


class Memory(eqx.Module):
    """The memories of the noise of each state; made by `fractional` or `white`.

    **Arguments:**

    - `raw`: `H = sigmoid(raw)`; in `Fixed` where it is not learned.
    - `rates`: `g`; `step`: `h`.
    - `table`: Chebyshev coefficients of the weights in `2 H - 1`, each `(K,)`.
    - `unit`: the time in which the noise is as large as white noise, whatever `H`, but for a
      factor that is near 1.
    - `stationary`: whether memories begin in their stationary law, in place of 0.
    """

    raw: OwnRate | Fixed
    rates: tuple[float, ...] = eqx.field(static=True)
    step: float = eqx.field(static=True)
    table: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    unit: float = eqx.field(static=True)
    stationary: bool = eqx.field(static=True)

    @property
    def learned(self) -> bool:
        """Whether the Hurst index is."""
        return not isinstance(self.raw, Fixed)

    @property
    def hurst(self) -> Float[Array, ""]:
        """`H`."""
        return jax.nn.sigmoid(self.raw.value)

    @property
    def weights(self) -> Float[Array, " K"]:
        """`w`, by Clenshaw's recurrence."""
        hurst = self.hurst
        x = 2 * hurst - 1
        after = last = jnp.zeros(len(self.rates), hurst.dtype)
        for row in reversed(self.table[1:]):
            after, last = jnp.asarray(row, hurst.dtype) + 2 * x * after - last, after
        found = jnp.asarray(self.table[0], hurst.dtype) + x * after - last
        return found * jnp.asarray(self.unit, hurst.dtype) ** (0.5 - hurst)

    def begin(self, states: int, *, key) -> Float[Array, "s K"]:
        """Memories at the start.

        **Arguments:**

        - `states`: `s`.
        - `key`: of the stationary law.
        """
        dtype = self.hurst.dtype
        if not self.stationary:
            return jnp.zeros((states, len(self.rates)), dtype)
        rates = np.asarray(self.rates)
        root = jnp.asarray(root_of(1 / (rates[:, None] + rates[None])), dtype)
        return jax.random.normal(key, (states, len(self.rates)), dtype) @ root.T

    def expected(self, memory: Float[Array, "s K"], until) -> Float[Array, " s"]:
        """`E B(t + T) - B(t)`, the memories at `t` being known.

        **Arguments:**

        - `memory`: at `t`.
        - `until`: `T`.
        """
        return memory @ (self.weights * jnp.expm1(-jnp.asarray(self.rates, memory.dtype) * until))

    def variance(self, until) -> Float[Array, ""]:
        """The variance of `B(t + T)`, the memories at `t` being known.

        **Arguments:**

        - `until`: `T`.
        """
        weights = self.weights
        rates = jnp.asarray(self.rates, weights.dtype)
        return weights @ _passed(rates[:, None] + rates[None], until) @ weights

    def aim(self, until) -> Float[Array, " K"]:
        """What a step's `xi` adds to `B` at a time `T` from the begin of the step.

        **Arguments:**

        - `until`: `T`, one step or more.
        """
        weights = self.weights
        rates = jnp.asarray(self.rates, weights.dtype)
        return weights * jnp.exp(-rates * (until - self.step))

    def step_covariance(self, dtype) -> Float[Array, "K K"]:
        """`Q`."""
        rates = np.asarray(self.rates)
        return jnp.asarray(_passed_exactly(rates[:, None] + rates[None], self.step), dtype)

    def pushed(self, push: Float[Array, " s"]) -> Steer:
        """A posterior that `u` alone drives.

        **Arguments:**

        - `push`: `u`.
        """
        return Steer(push, self.weights, jnp.zeros_like(push), jnp.ones_like(push))

    def scaled(self, memory: Float[Array, "s K"]) -> Float[Array, " n"]:
        """Memories as a network sees them, all of a size near 1.

        **Arguments:**

        - `memory`: any.
        """
        sizes = np.sqrt(_passed_exactly(2 * np.asarray(self.rates), 1.0))
        return (memory / jnp.asarray(sizes, memory.dtype)).ravel()


def fractional(noise: MarkovFBM, hurst: float | None, *, step: float, unit: float = 1.0) -> Memory:
    """The memory of fractional noise.

    **Arguments:**

    - `noise`: its terms, rates, horizon and kind.
    - `hurst`: the Hurst index; `None` learns it, from 1/2 on.
    - `step`: of the paths.
    - `unit`: as `Memory`; 1 is fractional Brownian motion as it is.
    """
    # As `zeros`, so that the value has the precision of the run.
    half = jnp.zeros(())
    raw = OwnRate(half, _FAST) if hurst is None else Fixed(half + math.log(hurst / (1 - hurst)))
    slowest = 1 / noise.fastest if noise.slowest is None else noise.slowest
    rates = tuple(map(float, np.geomspace(slowest, noise.fastest, noise.terms)))
    return Memory(raw, rates, step, _table(noise), unit, noise.kind == "I")


def white(step: float) -> Memory:
    """Brownian motion as one memory that forgets nothing.

    **Arguments:**

    - `step`: of the paths.
    """
    return Memory(Fixed(jnp.zeros(())), (0.0,), step, ((1.0,),), 1.0, False)


def walk(
    memory: Memory,
    state,
    past,
    law: Callable,
    inputs: Any,
    *,
    key,
    begin: int = 0,
    at_draw: bool = False,
) -> tuple[Float[Array, "G1 s"], Float[Array, "G1 s K"], Float[Array, ""]]:
    """States and memories at the nodes, and the divergence of the posterior from the prior.

    **Arguments:**

    - `memory`: the noise.
    - `state`, `past`: at the first node, `(s,)` and `(s, K)`.
    - `law`: `(i, inputs, z, Y)` to the slope and the diffusion, each `(s,)`, and a `Steer`, or
      `None` for the prior.
    - `inputs`: a tree of arrays with a leading axis of steps; `law` sees that of its step.
    - `key`: of the noise; that of a step depends on its number alone.
    - `begin`: the number of the first node.
    - `at_draw`: the logarithm of the ratio of the densities at the draw, in place of its mean.
    """
    h, dtype = memory.step, state.dtype
    rates, found = np.asarray(memory.rates), memory.weights
    exact = _passed_exactly(rates[:, None] + rates[None], h)
    root, cover = jnp.asarray(root_of(exact), dtype), jnp.asarray(exact, dtype)
    passed = _passed_exactly(rates, h)
    drift = jnp.asarray(passed, dtype)
    # The increment of `W` by the numbers that are drawn for the memories, and by one of its own.
    known = np.linalg.lstsq(root_of(exact), passed)[0]
    apart = math.sqrt(max(h - float(known @ known), 0.0))
    decay = jnp.asarray(np.exp(-rates * h), dtype)

    def one(carry, row):
        z, y, path = carry
        i, here = row
        slope, g, steer = law(i, here, z, y)
        own = jax.random.fold_in(key, i)
        draw = jax.random.normal(own, y.shape, dtype)
        xi = draw @ root.T
        if steer is not None:
            along = cover @ steer.aim
            size, met = steer.aim @ along, steer.aim @ drift
            b = xi @ steer.aim
            less = (1 - jnp.sqrt(steer.share)) * b / size
            xi = xi + steer.push[:, None] * drift + (steer.pull - less)[:, None] * along
            if at_draw:
                fresh = jax.random.normal(jax.random.fold_in(own, 1), steer.push.shape, dtype)
                moved = draw @ jnp.asarray(known, dtype) + apart * fresh
                cost = steer.push * (moved - met / size * b)
                cost = cost + steer.push**2 * (h - met**2 / size) / 2 - jnp.log(steer.share) / 2
                m = steer.push * met + steer.pull * size
                cost = cost + ((jnp.sqrt(steer.share) * b + m) ** 2 - b**2) / (2 * size)
            else:
                cost = h * steer.push**2 / 2 + steer.push * steer.pull * met
                cost = cost + steer.pull**2 * size / 2
                cost = cost + (steer.share - 1 - jnp.log(steer.share)) / 2
            path = path + jnp.sum(cost)
        new = decay * y + xi
        z = z + h * slope + g * ((new - y) @ found)
        return (z, new, path), (z, new)

    steps = jax.tree.leaves(inputs)[0].shape[0]
    start = (state, past, jnp.zeros((), dtype))
    (_, _, path), (states, pasts) = jax.lax.scan(one, start, (begin + jnp.arange(steps), inputs))
    states, pasts = (jnp.concatenate([a[None], b]) for a, b in ((state, states), (past, pasts)))
    return states, pasts, path


def _passed(rates: Float[Array, "..."], until) -> Float[Array, "..."]:
    """`int_0^T exp(-g s) ds`."""
    safe = jnp.where(rates == 0, 1.0, rates)
    return jnp.where(rates == 0, until, -jnp.expm1(-safe * until) / safe)


def _passed_exactly(rates: np.ndarray, until: float) -> np.ndarray:
    safe = np.where(rates == 0, 1.0, rates)
    return np.where(rates == 0, until, -np.expm1(-safe * until) / safe)


@functools.cache
def _table(noise: MarkovFBM) -> tuple[tuple[float, ...], ...]:
    """Chebyshev coefficients of the weights."""
    angles = (np.arange(_NODES) + 0.5) * np.pi / _NODES
    with precision("float64"):
        at = jnp.asarray((np.cos(angles) + 1) / 2)
        values = np.asarray(jax.jit(jax.vmap(noise.weights))(at))
    waves = np.cos(np.arange(_NODES)[:, None] * angles)
    table = 2 / _NODES * waves @ values
    table[0] /= 2
    return tuple(tuple(map(float, row)) for row in table)
