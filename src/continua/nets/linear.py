"""Affine maps: plain, and with the weights factorised by row."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def glorot_normal(rows: int, columns: int, *, key) -> Float[Array, "rows columns"]:
    """A matrix of normal numbers with variance `2 / (rows + columns)`.

    **Arguments:**

    - `rows`, `columns`: its shape.
    - `key`: a JAX key.
    """
    scale = (2.0 / (rows + columns)) ** 0.5
    return scale * jax.random.normal(key, (rows, columns))


class Linear(eqx.Module):
    """An affine map of the first axis.

    `y = W x + b`, applied at every position of the further axes.

    **Arguments:**

    - `in_size`, `out_size`: sizes of the first axis.
    - `use_bias`: whether there is a `b`; starts at 0.
    - `uniform`: whether `W` and `b` start uniform in `+-1/sqrt(in_size)` (as pointwise
      maps of operators do) rather than Glorot normal and 0.

    **Reference:** glorot2010understanding
    """

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"] | None

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        use_bias: bool = True,
        uniform: bool = False,
        key: Key[Array, ""],
    ):
        kernel, shift = jax.random.split(key)
        if uniform:
            limit = in_size**-0.5
            draw = jax.random.uniform
            self.weight = draw(kernel, (out_size, in_size), minval=-limit, maxval=limit)
            bias = draw(shift, (out_size,), minval=-limit, maxval=limit)
        else:
            self.weight = glorot_normal(out_size, in_size, key=kernel)
            bias = jnp.zeros(out_size)
        self.bias = bias if use_bias else None

    def __call__(self, x: Float[Array, "in *n"]) -> Float[Array, "out *n"]:
        return _affine(self.weight, self.bias, x)


class FactorisedLinear(eqx.Module):
    """An affine map whose weights are a scale a unit times a direction.

    `y = (g * V) x + b` with `g = exp(s)`: one factor for each output unit, so that
    training moves scale and direction apart. At the start `g * V` is a Glorot-normal
    matrix whatever the drawn scales.

    **Arguments:**

    - `in_size`, `out_size`: sizes of the first axis.
    - `mean`, `std`: of the logarithms of the scales at the start.

    **Reference:** wang2022random
    """

    direction: Float[Array, "out in"]
    log_scale: Float[Array, " out"]
    bias: Float[Array, " out"]

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        mean: float = 0.5,
        std: float = 0.1,
        key: Key[Array, ""],
    ):
        kernel, scale = jax.random.split(key)
        # The kernel is drawn with the key that `Linear` draws it with.
        weight = glorot_normal(out_size, in_size, key=kernel)
        self.log_scale = mean + std * jax.random.normal(scale, (out_size,))
        self.direction = weight / jnp.exp(self.log_scale)[:, None]
        self.bias = jnp.zeros(out_size)

    @property
    def weight(self) -> Float[Array, "out in"]:
        """The matrix `g * V`."""
        return jnp.exp(self.log_scale)[:, None] * self.direction

    def __call__(self, x: Float[Array, "in *n"]) -> Float[Array, "out *n"]:
        return _affine(self.weight, self.bias, x)


def _affine(weight, bias, x):
    y = jnp.tensordot(weight, x, axes=1)
    if bias is None:
        return y
    return y + bias.reshape(-1, *(1,) * (x.ndim - 1))
