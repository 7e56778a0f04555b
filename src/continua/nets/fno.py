"""The Fourier neural operator: a map between functions on uniform grids."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from continua.nets.linear import Linear
from continua.nets.spectral import SpectralConv


class FNO(eqx.Module):
    """A Fourier neural operator, whose parameters do not depend on the grid.

    `v_0 = P [a, x]`, `v_{l+1} = s(K_l v_l + A_l v_l + b_l)` (no `s` in the last
    layer), `u = Q_2 s(Q_1 v_L)`, where `K_l` are `SpectralConv` and all other maps act
    at each point.

    **Arguments:**

    - `in_size`, `out_size`: channels of input and output function.
    - `modes`: kept wavenumbers for each axis.
    - `width`, `depth`: channels and number of Fourier layers.
    - `projection`: hidden channels of `Q`.
    - `coordinates`: whether `x = j/N` is joined to the input.
    - `padding`: zeros put behind each axis that is not periodic, as a fraction of it.
    - `activation`: `gelu`.

    **Reference:** li2021fourier
    """

    lift: Linear
    spectral: tuple[SpectralConv, ...]
    pointwise: tuple[Linear, ...]
    projections: tuple[Linear, Linear]
    coordinates: bool = eqx.field(static=True)
    padding: tuple[float, ...] = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        modes: Sequence[int],
        width: int = 32,
        depth: int = 4,
        projection: int = 128,
        coordinates: bool = True,
        padding: Sequence[float] = (),
        activation: Callable = jax.nn.gelu,
        key: Key[Array, ""],
    ):
        first, a, b, *keys = jax.random.split(key, 3 + 2 * depth)
        axes = len(modes)
        self.lift = Linear(in_size + axes * coordinates, width, uniform=True, key=first)
        self.spectral = tuple(SpectralConv(width, width, modes, key=k) for k in keys[:depth])
        self.pointwise = tuple(Linear(width, width, uniform=True, key=k) for k in keys[depth:])
        self.projections = (
            Linear(width, projection, uniform=True, key=a),
            Linear(projection, out_size, uniform=True, key=b),
        )
        self.coordinates = coordinates
        self.padding = tuple(padding) or (0.0,) * axes
        self.activation = activation

    def __call__(self, a: Float[Array, "in *n"]) -> Float[Array, "out *n"]:
        shape = a.shape[1:]
        if self.coordinates:
            a = jnp.concatenate([a, grid_coordinates(shape, a.dtype)])
        v = self.lift(a)
        if any(self.padding):
            extra = [(0, round(f * n)) for f, n in zip(self.padding, shape, strict=True)]
            v = jnp.pad(v, [(0, 0), *extra])
        last = len(self.spectral) - 1
        for i, (kernel, local) in enumerate(zip(self.spectral, self.pointwise, strict=True)):
            v = kernel(v) + local(v)
            v = self.activation(v) if i < last else v
        if any(self.padding):
            v = v[(slice(None), *(slice(n) for n in shape))]
        hidden, out = self.projections
        return out(self.activation(hidden(v)))


def grid_coordinates(shape: tuple[int, ...], dtype) -> Float[Array, "d *n"]:
    """The coordinates `j/N` of a periodic grid on the unit box, end point left out.

    **Arguments:**

    - `shape`: nodes along each axis.
    - `dtype`: of the coordinates.
    """
    axes = [jnp.arange(n, dtype=dtype) / n for n in shape]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"))
