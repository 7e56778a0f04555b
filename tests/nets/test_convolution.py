"""Convolutions and group norm beside direct sums, and networks of frames."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.nets import Conv, FramePainter, FrameReader, GroupNorm
from continua.nets.convolution import doubled, halvings, pooled, tiled, untiled

KEY = jax.random.key(0)


@pytest.mark.parametrize("places", [(7,), (5, 6)])
def test_convolution_is_the_sum(places):
    layer = Conv(2, 3, axes=len(places), key=KEY)
    layer = eqx.tree_at(lambda c: c.bias, layer, jnp.arange(3.0))
    x, kernel = np.random.default_rng(0).normal(size=(*places, 2)), np.asarray(layer.kernel)
    exact = np.zeros((*places, 3)) + np.arange(3.0)
    for at in np.ndindex(*places):
        for shift in itertools.product(range(3), repeat=len(places)):
            there = tuple(a + d - 1 for a, d in zip(at, shift, strict=True))
            if all(0 <= t < n for t, n in zip(there, places, strict=True)):
                exact[at] += x[there] @ kernel[shift]
    np.testing.assert_allclose(layer(jnp.asarray(x)), exact, atol=1e-13)


def test_convolution_is_that_of_jax():
    layer, x = Conv(3, 4, key=KEY), jax.random.normal(KEY, (8, 6, 3))
    names = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x[None], layer.kernel, (1, 1), "SAME", dimension_numbers=names)
    np.testing.assert_allclose(layer(x), y[0], atol=1e-13)


def test_group_norm_is_the_formula():
    norm = GroupNorm(6, groups=2)
    norm = eqx.tree_at(lambda n: (n.scale, n.shift), norm, (jnp.arange(6.0), jnp.ones(6)))
    x = np.random.default_rng(1).normal(2.0, 3.0, size=(4, 5, 6))
    for channel in range(6):
        group = x[..., 3 * (channel // 3) : 3 * (channel // 3) + 3]
        normal = (x[..., channel] - group.mean()) / np.sqrt(group.var() + 1e-5)
        found = norm(jnp.asarray(x))[..., channel]
        np.testing.assert_allclose(found, channel * normal + 1, atol=1e-13)
    # As many groups as divide the channels.
    assert GroupNorm(12).groups == 6
    assert GroupNorm(3).groups == 3


def test_pool_double_and_tiles():
    x = np.random.default_rng(2).normal(size=(4, 6, 3))
    for i, j in np.ndindex(2, 3):
        block = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        np.testing.assert_array_equal(pooled(jnp.asarray(x))[i, j], block.max(axis=(0, 1)))
        np.testing.assert_array_equal(tiled(jnp.asarray(x[..., 0]))[i, j], block[..., 0].ravel())
    np.testing.assert_array_equal(pooled(doubled(jnp.asarray(x))), x)
    np.testing.assert_array_equal(doubled(jnp.asarray(x))[1::2, ::2], x)
    np.testing.assert_array_equal(untiled(tiled(jnp.asarray(x[..., 0]))), x[..., 0])


def test_networks_of_frames():
    reader = FrameReader((16, 24), 5, channels=4, key=KEY)
    painter = FramePainter(5, (16, 24), channels=4, key=KEY)
    frames = jax.random.uniform(KEY, (3, 16, 24))
    vectors = jax.jit(jax.vmap(reader))(frames)
    painted = jax.jit(jax.vmap(painter))(vectors)
    assert vectors.shape == (3, 5)
    assert painted.shape == frames.shape
    assert jnp.all((painted > 0) & (painted < 1))
    assert float(painted.mean()) < 0.4  # dark at the start
    np.testing.assert_allclose(painter(reader(frames[1])), painted[1], atol=1e-12)


def test_sides_of_frames():
    assert [halvings(s) for s in ((16, 16), (32, 32), (48, 32), (64, 64))] == [1, 2, 2, 3]
    for shape in ((8, 8), (33, 32), (36, 34)):
        with pytest.raises(InputError, match="crop or pad them: sides must be multiples of"):
            halvings(shape)
