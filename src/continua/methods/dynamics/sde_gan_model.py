r"""A generator and a critic of paths: a stochastic equation, and one that its paths drive.

The generator (Stratonovich, general noise) has

    X(0) = z(V),     dX = m(t, X) dt + s(t, X) o dW,     Y = A X + a,

`V` and `W` independent normal numbers and Brownian motions, `m = c tanh(MLP)` and
`s = d tanh(MLP)` with learned scales `c`, `d`. The critic is a neural controlled equation
along the straight lines through the rows of a path,

    H(0) = h(t_0, Y(0)),     dH = f(t, H) dt + g(t, H) dY,     D(Y) = (w H(0) + w H(T)) / 2 + b,

`f` and `g` ending in `tanh`. Both take one step of the reversible Heun method from row to row.

`D` is Lipschitz where all of its layers are: `lipswish` has a slope below 1, and a matrix whose
entries lie in `[-1/n, 1/n]`, `n` its outputs, has columns with sums of sizes 1 at the most, the
operator norm in the 1-norm.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from continua.integrate.stochastic import (
    SDE,
    StochasticReversibleHeun,
    brownian_increments,
    solve_driven,
)
from continua.integrate.stochastic.brownian import normal, seeds
from continua.nets import MLP, Fixed, Linear, OwnRate, lipswish

_HEUN = StochasticReversibleHeun()
_BIAS = 3.0  # deviation with which those of the critic's hidden layers begin
_CALM = 0.1  # of the usual size, with which the last layer of the drift begins
_SCALES = (0.9, 1.1)  # between which the learned scales begin


class BoundedField(eqx.Module):
    """`c tanh(MLP(t, x))`, of a shape that is given.

    **Arguments:**

    - `size`: of `x`.
    - `shape`: of what comes out.
    - `scale`: about which the learned `c` begins; `None` for 1, not learned.
    - `width`, `depth`: of the network.
    """

    mlp: MLP
    scale: Float[Array, "..."] | None
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, size: int, shape: tuple[int, ...], scale: float | None, *, key, **sizes):
        first, second = jax.random.split(key)
        self.mlp = MLP(1 + size, math.prod(shape), activation=lipswish, key=first, **sizes)
        low, high = _SCALES
        draw = jax.random.uniform(second, shape, minval=low, maxval=high)
        self.scale = None if scale is None else scale * draw
        self.shape = shape

    def __call__(self, t: Any, x: Float[Array, " s"], args: Any = None) -> Float[Array, "..."]:
        found = jnp.tanh(self.mlp(_at(t, x))).reshape(self.shape)
        return found if self.scale is None else self.scale * found


def _at(t: Any, x: Array) -> Array:
    return jnp.concatenate([jnp.asarray(t, x.dtype)[None], x])


def _equation(drift: BoundedField, diffusion: BoundedField) -> SDE:
    # Parts of an SDE are static, which modules with arrays must not be.
    return SDE(
        lambda t, x, _: drift(t, x), lambda t, x, _: diffusion(t, x), "general", "stratonovich"
    )


class SDEGenerator(eqx.Module):
    """Paths of a stochastic equation, by their numbers.

    **Arguments:**

    - `channels`: of a row.
    - `states`: of `X`; `noise_size`: of `W`; `seed_size`: of `V`.
    - `noise`: about which the scale of the noise begins; that of the drift does about 1.
    - `first_rate`: the learning rate of `z`, over that of all else.
    - `width`, `depth`: of the networks.
    """

    first: OwnRate
    drift: BoundedField
    diffusion: BoundedField
    readout: Linear
    seed_size: int = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        *,
        states: int,
        noise_size: int,
        seed_size: int,
        noise: float,
        first_rate: float,
        key,
        **sizes: Any,
    ):
        keys = jax.random.split(key, 4)
        first = MLP(seed_size, states, activation=lipswish, key=keys[0], **sizes)
        self.first = OwnRate(first, first_rate)
        drift = BoundedField(states, (states,), 1.0, key=keys[1], **sizes)
        # Paths begin as noise: a drift of any kind would carry them far from the data.
        last = _CALM * drift.mlp.layers[-1].weight
        self.drift = eqx.tree_at(lambda m: m.mlp.layers[-1].weight, drift, last)
        self.diffusion = BoundedField(states, (states, noise_size), noise, key=keys[2], **sizes)
        self.readout = Linear(states, channels, key=keys[3])
        self.seed_size = seed_size

    def __call__(
        self, ts: Float[Array, " T"], numbers: Int[Array, " B"], *, key
    ) -> Float[Array, "B T C"]:
        """Paths at times `ts`; that of a number does not depend on the others.

        **Arguments:**

        - `ts`: increasing.
        - `numbers`: of the paths.
        - `key`: of `V` and `W`.
        """
        start, noise = jax.random.split(key)
        v = normal(seeds(start, numbers, self.seed_size), 0, 0, ts.dtype)
        x0 = jax.vmap(self.first.value, -1, -1)(v)
        sde = _equation(self.drift, self.diffusion)
        dw = brownian_increments(ts, self.diffusion.shape[1], numbers, key=noise)
        xs = solve_driven(sde, _HEUN, ts=ts, increments=dw, y0=x0)
        return jnp.moveaxis(jax.vmap(self.readout)(xs), -1, 0)


class CDECritic(eqx.Module):
    """The score of a path, by an equation that it drives.

    **Arguments:**

    - `channels`: of a row.
    - `states`: of `H`.
    - `rates`: learning rates of `h` and of all else.
    - `width`, `depth`: of the networks.
    """

    first: OwnRate
    fields: OwnRate  # f and g
    readout: OwnRate

    def __init__(self, channels: int, *, states: int, rates: tuple[float, float], key, **sizes):
        keys = jax.random.split(key, 4)
        first = MLP(1 + channels, states, activation=lipswish, key=keys[0], **sizes)
        drift = BoundedField(states, (states,), None, key=keys[1], **sizes)
        control = BoundedField(states, (states, channels), None, key=keys[2], **sizes)
        first, drift, control = (
            _spread(x, jax.random.fold_in(keys[3], i))
            for i, x in enumerate((first, drift, control))
        )
        self.first = OwnRate(first, rates[0])
        self.fields = OwnRate((drift, control), rates[1])
        self.readout = OwnRate(Linear(states, 1, key=keys[3]), rates[1])

    def __call__(self, ts: Float[Array, " T"], paths: Float[Array, "B T C"]) -> Float[Array, " B"]:
        """Scores of paths at times `ts`.

        **Arguments:**

        - `ts`: increasing.
        - `paths`: any number of them.
        """
        rows = jnp.moveaxis(paths, 0, -1)
        h0 = jax.vmap(lambda y: self.first.value(_at(ts[0], y)), -1, -1)(rows[0])
        sde = _equation(*self.fields.value)
        hs = solve_driven(sde, _HEUN, ts=ts, increments=jnp.diff(rows, axis=0), y0=h0)
        return self.readout.value((hs[0] + hs[-1]) / 2)[0]


def _spread(tree: Any, key) -> Any:
    """A network whose hidden layers, of clipped weights, bend at different places."""

    def moved(node):
        if not isinstance(node, MLP):
            return node
        hidden = node.layers[:-1]
        keys = jax.random.split(key, len(hidden))
        draws = [
            _BIAS * jax.random.normal(k, m.weight.shape[:1])
            for k, m in zip(keys, hidden, strict=True)
        ]
        return eqx.tree_at(lambda m: [x.bias for x in m.layers[:-1]], node, draws)

    return jax.tree.map(moved, tree, is_leaf=lambda node: isinstance(node, MLP))


class AdversarialPaths(eqx.Module):
    """A generator with its critic, and the times of the rows.

    **Arguments:**

    - `generator`, `critic`: both.
    - `ts`: times of the rows.
    """

    generator: SDEGenerator
    critic: CDECritic
    ts: Fixed


def clip_lipschitz(critic: CDECritic) -> CDECritic:
    """The critic with every matrix clipped entrywise to `[-1/n, 1/n]`, `n` its outputs.

    **Arguments:**

    - `critic`: or any tree with `Linear` maps in it; biases are left as they are.
    """

    def clipped(node):
        if not isinstance(node, Linear):
            return node
        most = 1 / node.weight.shape[0]
        return eqx.tree_at(lambda m: m.weight, node, jnp.clip(node.weight, -most, most))

    return jax.tree.map(clipped, critic, is_leaf=lambda node: isinstance(node, Linear))


@jax.custom_vjp
def reversed_gradient(arrays: Any) -> Any:
    """A tree of arrays as it is, whose gradient is that of the opposite sign: what is
    minimised in all others is maximised in these.

    **Arguments:**

    - `arrays`: the tree.
    """
    return arrays


reversed_gradient.defvjp(
    lambda arrays: (arrays, None), lambda _, g: (jax.tree.map(jnp.negative, g),)
)
