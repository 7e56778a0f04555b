"""Recurrent cells."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from continua.nets.linear import Linear


class GRUCell(eqx.Module):
    r"""A gated recurrent unit.

        r, z = sigmoid(W_r x + U_r h + b_r), sigmoid(W_z x + U_z h + b_z),
        n = tanh(W_n x + b_n + r (U_n h + c_n)),   h' = (1 - z) n + z h.

    **Arguments:**

    - `in_size`, `size`: lengths of `x` and `h`.

    **Reference:** cho2014learning
    """

    reads: Linear
    keeps: Linear
    size: int = eqx.field(static=True)

    def __init__(self, in_size: int, size: int, *, key: Key[Array, ""]):
        reads, keeps = jax.random.split(key)
        self.reads = Linear(in_size, 3 * size, key=reads)
        self.keeps = Linear(size, 3 * size, key=keeps)
        self.size = size

    def __call__(self, x: Float[Array, " in"], h: Float[Array, " size"]) -> Float[Array, " size"]:
        reset, update, new = jnp.split(self.reads(x), 3)
        reset_h, update_h, new_h = jnp.split(self.keeps(h), 3)
        z = jax.nn.sigmoid(update + update_h)
        n = jnp.tanh(new + jax.nn.sigmoid(reset + reset_h) * new_h)
        return (1 - z) * n + z * h
