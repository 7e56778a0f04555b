r"""Convolutions, group norm, and the two networks between frames and vectors.

Channels lie last. A frame is taken as a map of tiles of 2 by 2 pixels, four channels. With 3 by
3 convolutions `C` and group norm `N`, a block of the reader halves a map and one of the painter
doubles it,

    h <- silu(N(pool(C h))),     h <- double(silu(N(C h))),

as often as it takes between the map of tiles and one with sides of about 4.
"""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from continua.core.errors import InputError
from continua.nets.linear import Linear

_LEAST = 1e-5  # of a variance
_BOTTOM = 4  # sides of the smallest maps
_TILE = 2  # pixels of its sides
_DARK = -2.0  # before the sigmoid


class Conv(eqx.Module):
    """A convolution that keeps the size, with zeros beyond the ends.

    `y_p = b + sum_d K_d x_{p+d}`, over one axis of positions or several.

    **Arguments:**

    - `in_size`, `out_size`: channels.
    - `axes`: of positions, 2.
    - `width`: of the kernel along each, 3.

    **Reference:** he2015delving
    """

    kernel: Float[Array, "*d in out"]
    bias: Float[Array, " out"]

    def __init__(
        self, in_size: int, out_size: int, *, axes: int = 2, width: int = 3, key: Key[Array, ""]
    ):
        scale = (2.0 / (in_size * width**axes)) ** 0.5
        shape = (*(width,) * axes, in_size, out_size)
        self.kernel = scale * jax.random.normal(key, shape)
        self.bias = jnp.zeros(out_size)

    def __call__(self, x: Float[Array, "*n in"]) -> Float[Array, "*n out"]:
        # As one matrix product of shifted copies: on processors the gradients of
        # `jax.lax.conv_general_dilated` take 10 to 100 times as long in a compiled loop.
        places, (*widths, _, out_size) = x.shape[:-1], self.kernel.shape
        room = [((w - 1) // 2, w // 2) for w in widths]
        padded = jnp.pad(x, [*room, (0, 0)])
        shifts = itertools.product(*(range(w) for w in widths))
        copies = [
            padded[tuple(slice(d, d + n) for d, n in zip(shift, places, strict=True))]
            for shift in shifts
        ]
        return jnp.concatenate(copies, axis=-1) @ self.kernel.reshape(-1, out_size) + self.bias


class GroupNorm(eqx.Module):
    """Mean 0 and variance 1 over all positions and a group of channels, then a scale and a
    shift for each channel.

    **Arguments:**

    - `size`: channels.
    - `groups`: 8; fewer where they do not divide the channels.

    **Reference:** wu2018group
    """

    scale: Float[Array, " c"]
    shift: Float[Array, " c"]
    groups: int = eqx.field(static=True)

    def __init__(self, size: int, groups: int = 8):
        self.scale, self.shift = jnp.ones(size), jnp.zeros(size)
        self.groups = next(g for g in range(min(groups, size), 0, -1) if size % g == 0)

    def __call__(self, x: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
        grouped = x.reshape(-1, self.groups, x.shape[-1] // self.groups)
        mean = jnp.mean(grouped, axis=(0, 2), keepdims=True)
        variance = jnp.mean((grouped - mean) ** 2, axis=(0, 2), keepdims=True)
        normal = (grouped - mean) * jax.lax.rsqrt(variance + _LEAST)
        return normal.reshape(x.shape) * self.scale + self.shift


def pooled(x: Float[Array, "h w c"]) -> Float[Array, "h2 w2 c"]:
    """The largest of every 2 by 2 positions."""
    rows, columns, channels = x.shape
    return jnp.max(x.reshape(rows // 2, 2, columns // 2, 2, channels), axis=(1, 3))


def doubled(x: Float[Array, "h w c"]) -> Float[Array, "h2 w2 c"]:
    """Every position as 2 by 2."""
    rows, columns, channels = x.shape
    wide = jnp.broadcast_to(x[:, None, :, None], (rows, 2, columns, 2, channels))
    return wide.reshape(2 * rows, 2 * columns, channels)


def tiled(frame: Float[Array, "h w"]) -> Float[Array, "h2 w2 4"]:
    """The pixels of every tile as channels."""
    rows, columns = frame.shape
    tiles = frame.reshape(rows // _TILE, _TILE, columns // _TILE, _TILE)
    return tiles.swapaxes(1, 2).reshape(rows // _TILE, columns // _TILE, _TILE**2)


def untiled(x: Float[Array, "h2 w2 4"]) -> Float[Array, "h w"]:
    """The frame of which these are the tiles."""
    rows, columns, _ = x.shape
    tiles = x.reshape(rows, columns, _TILE, _TILE).swapaxes(1, 2)
    return tiles.reshape(_TILE * rows, _TILE * columns)


def halvings(shape: tuple[int, int]) -> int:
    """How often the map of tiles of a frame is halved.

    **Arguments:**

    - `shape`: rows and columns of the frame.

    **Raises:** `InputError` where it cannot be halved down to about 4.
    """
    times = (min(shape) // (_TILE * _BOTTOM)).bit_length() - 1
    unit = _TILE * 2 ** max(times, 1)
    if times < 1 or any(side % unit for side in shape):
        raise InputError(
            f"frames of {shape[0]} by {shape[1]} pixels",
            where="nets.FrameReader",
            fix=f"crop or pad them: sides must be multiples of {unit}, 16 or more",
        )
    return times


def _channels(shape: tuple[int, int], channels: int) -> list[int]:
    """Of the maps, from that of the tiles downwards."""
    return [channels * min(2**i, 4) for i in range(halvings(shape))]


class FrameReader(eqx.Module):
    """A frame as a vector.

    **Arguments:**

    - `shape`: rows and columns of the frame.
    - `out_size`: length of the vector.
    - `channels`: of the first map, 16; deeper ones have two and four times as many.
    """

    convolutions: tuple[Conv, ...]
    norms: tuple[GroupNorm, ...]
    last: Linear

    def __init__(
        self, shape: tuple[int, int], out_size: int, *, channels: int = 16, key: Key[Array, ""]
    ):
        sizes = _channels(shape, channels)
        *keys, last = jax.random.split(key, len(sizes) + 1)
        pairs = zip([_TILE**2, *sizes], sizes, keys, strict=False)
        self.convolutions = tuple(Conv(a, b, key=k) for a, b, k in pairs)
        self.norms = tuple(GroupNorm(size) for size in sizes)
        rows, columns = (side // _TILE >> len(sizes) for side in shape)
        self.last = Linear(rows * columns * sizes[-1], out_size, key=last)

    def __call__(self, frame: Float[Array, "h w"]) -> Float[Array, " n"]:
        h = tiled(frame)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            h = jax.nn.silu(norm(pooled(convolution(h))))
        return self.last(h.reshape(-1))


class FramePainter(eqx.Module):
    """A vector as a frame, brightness from 0 to 1.

    **Arguments:**

    - `in_size`: length of the vector.
    - `shape`, `channels`: as `FrameReader`.
    """

    first: Linear
    convolutions: tuple[Conv, ...]
    norms: tuple[GroupNorm, ...]
    last: tuple[Conv, Conv]
    bottom: tuple[int, int, int] = eqx.field(static=True)

    def __init__(
        self, in_size: int, shape: tuple[int, int], *, channels: int = 16, key: Key[Array, ""]
    ):
        sizes = _channels(shape, channels)[::-1]
        first, one, two, *keys = jax.random.split(key, len(sizes) + 3)
        rows, columns = (side // _TILE >> len(sizes) for side in shape)
        self.bottom = (rows, columns, sizes[0])
        self.first = Linear(in_size, rows * columns * sizes[0], key=first)
        pairs = zip([sizes[0], *sizes], sizes, keys, strict=False)
        self.convolutions = tuple(Conv(a, b, key=k) for a, b, k in pairs)
        self.norms = tuple(GroupNorm(size) for size in sizes)
        # Most pixels are dark at the start, as most are in frames with things in them.
        outer = Conv(channels, _TILE**2, key=two)
        dark = eqx.tree_at(lambda c: c.bias, outer, jnp.full(_TILE**2, _DARK))
        self.last = (Conv(channels, channels, key=one), dark)

    def __call__(self, vector: Float[Array, " n"]) -> Float[Array, "h w"]:
        h = self.first(vector).reshape(self.bottom)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            h = doubled(jax.nn.silu(norm(convolution(h))))
        inner, outer = self.last
        return untiled(jax.nn.sigmoid(outer(jax.nn.silu(inner(h)))))
