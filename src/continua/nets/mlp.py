"""Networks of coordinate vectors: plain, gated, and with adaptive residual blocks."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from continua.core.errors import InputError
from continua.nets.activations import softplus
from continua.nets.linear import FactorisedLinear, Linear


def _layer(in_size: int, out_size: int, factorised: bool, key):
    kind = FactorisedLinear if factorised else Linear
    return kind(in_size, out_size, key=key)


def lipswish(x: Float[Array, " *n"]) -> Float[Array, " *n"]:
    """A smooth step of slope 1 at the most, `0.909 x sigmoid(x)`.

    **Reference:** chen2019residual
    """
    return 0.909 * jax.nn.silu(x)


class MLP(eqx.Module):
    """A multilayer perceptron.

    `h_0 = x`, `h_{l+1} = s(W_l h_l + b_l)`, `y = W_L h_L + b_L`.

    **Arguments:**

    - `in_size`, `out_size`: lengths of `x` and `y`.
    - `width`, `depth`: size and number of hidden layers.
    - `activation`: `s`, a smooth function; `tanh`.
    - `factorised`: whether weights are factorised (`FactorisedLinear`).
    """

    layers: tuple[Linear | FactorisedLinear, ...]
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        width: int = 32,
        depth: int = 3,
        activation: Callable = jnp.tanh,
        factorised: bool = False,
        key: Key[Array, ""],
    ):
        sizes = [in_size, *(width,) * depth, out_size]
        keys = jax.random.split(key, depth + 1)
        self.layers = tuple(
            _layer(a, b, factorised, k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class ModifiedMLP(eqx.Module):
    """A perceptron in which two encodings of the input gate every layer.

    `U = s(W_U x)`, `V = s(W_V x)`, `h <- f*U + (1-f)*V` with `f = s(W h + b)`.

    **Arguments:** as `MLP`.

    **Reference:** wang2021understanding
    """

    gates: tuple[Linear | FactorisedLinear, Linear | FactorisedLinear]
    layers: tuple[Linear | FactorisedLinear, ...]
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        width: int = 32,
        depth: int = 3,
        activation: Callable = jnp.tanh,
        factorised: bool = True,
        key: Key[Array, ""],
    ):
        sizes = [in_size, *(width,) * depth, out_size]
        u, v, *keys = jax.random.split(key, depth + 3)
        self.gates = (
            _layer(in_size, width, factorised, u),
            _layer(in_size, width, factorised, v),
        )
        self.layers = tuple(
            _layer(a, b, factorised, k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        u, v = (self.activation(gate(x)) for gate in self.gates)
        difference = u - v
        for layer in self.layers[:-1]:
            x = self.activation(layer(x)) * difference + v
        return self.layers[-1](x)


class _PirateBlock(eqx.Module):
    layers: tuple[Linear | FactorisedLinear, ...]
    alpha: Float[Array, ""]


class PirateNet(eqx.Module):
    """Gated residual blocks that start as the identity and open while they train.

    Each block: `z_1 = f*U + (1-f)*V`, `f = s(W_1 h)`; `z_2` likewise from `z_1`;
    `h <- a s(W_3 z_2) + (1-a) h`, `a` starting at 0. The net is then linear in the
    embedding: `y = W Phi(x)`.

    **Arguments:**

    - `embedding`: `Phi`, whose `size` must be the width of the net.
    - `out_size`: length of `y`.
    - `depth`: number of blocks.
    - `activation`, `factorised`: as `MLP`.

    **Raises:** `InputError` where the embedding has no fixed size.

    **Reference:** wang2024piratenets
    """

    embedding: Callable
    gates: tuple[Linear | FactorisedLinear, Linear | FactorisedLinear]
    blocks: tuple[_PirateBlock, ...]
    last: Linear
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        embedding: Callable,
        out_size: int,
        *,
        depth: int = 2,
        activation: Callable = jnp.tanh,
        factorised: bool = True,
        key: Key[Array, ""],
    ):
        width = getattr(embedding, "size", None)
        if not isinstance(width, int):
            raise InputError(
                "the embedding does not say its size",
                where="PirateNet.embedding",
                fix="use FourierFeatures, whose size is the width of the net",
            )
        u, v, last, *keys = jax.random.split(key, depth + 3)
        self.embedding = embedding
        self.gates = (
            _layer(width, width, factorised, u),
            _layer(width, width, factorised, v),
        )
        self.blocks = tuple(
            _PirateBlock(
                tuple(_layer(width, width, factorised, k) for k in jax.random.split(block, 3)),
                jnp.zeros(()),
            )
            for block in keys
        )
        self.last = Linear(width, out_size, key=last)
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        h = self.embedding(x)
        u, v = (self.activation(gate(h)) for gate in self.gates)
        for block in self.blocks:
            first, second, third = block.layers
            z = self.activation(first(h)) * (u - v) + v
            z = self.activation(second(z)) * (u - v) + v
            h = h + block.alpha * (self.activation(third(z)) - h)
        return self.last(h)


class VectorField(eqx.Module):
    """A bounded right-hand side of an ordinary differential equation.

    `f(t, y) = scale * tanh(MLP(y))`, `scale` trained; bounded, so that no early step
    of training can make it explode. The signature is that of the integrators.

    **Arguments:**

    - `size`: length of the state `y`.
    - `width`, `depth`: of the `MLP`.
    - `activation`: smooth, so that solvers keep their order; `softplus`.
    - `time_dependent`: whether `t` is joined to `y`.
    - `inputs`: how many numbers in `args` are joined to `y`, 0.

    **Reference:** kidger2022neural
    """

    mlp: MLP
    scale: Float[Array, " size"]
    time_dependent: bool = eqx.field(static=True)
    inputs: int = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        width: int = 32,
        depth: int = 2,
        activation: Callable = softplus,
        time_dependent: bool = False,
        inputs: int = 0,
        scale: float = 1.0,
        key: Key[Array, ""],
    ):
        self.mlp = MLP(
            size + inputs + time_dependent,
            size,
            width=width,
            depth=depth,
            activation=activation,
            key=key,
        )
        self.scale = scale * jnp.ones(size)
        self.time_dependent, self.inputs = time_dependent, inputs

    def __call__(
        self, t: Float[Array, ""] | float, y: Float[Array, " size"], args=None
    ) -> Float[Array, " size"]:
        if self.inputs:
            y = jnp.concatenate([y, jnp.asarray(args, y.dtype)])
        if self.time_dependent:
            y = jnp.concatenate([jnp.asarray(t, y.dtype)[None], y])
        return self.scale * jnp.tanh(self.mlp(y))
