"""Activations: values to rounding, all derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.nets import softplus


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softplus_to_rounding(dtype):
    x = np.concatenate([np.linspace(-80, 40, 4001), [0.0, -1e-30, 700.0, -700.0]])
    x = x.astype(dtype)
    found = softplus(jnp.asarray(x))
    assert found.dtype == dtype
    exact = np.logaddexp(x.astype(np.longdouble), np.longdouble(0))
    # Below the least normal number there are fewer digits.
    least = np.finfo(dtype).tiny
    np.testing.assert_allclose(found, exact, rtol=4 * np.finfo(dtype).eps, atol=least)


def test_softplus_at_the_ends():
    found = softplus(jnp.array([np.inf, -np.inf, np.nan]))
    np.testing.assert_array_equal(found, [np.inf, 0.0, np.nan])


def test_softplus_has_all_derivatives():
    x = jnp.array([-3.0, -1e-3, 0.0, 1e-3, 2.0])
    mine, usual = softplus, jax.nn.softplus
    for _ in range(4):
        mine, usual = jax.grad(mine), jax.grad(usual)
        np.testing.assert_allclose(jax.vmap(mine)(x), jax.vmap(usual)(x), rtol=1e-12, atol=1e-14)
    reverse = jax.jacrev(jax.jacfwd(softplus))(x)
    s = jax.nn.sigmoid(x)
    np.testing.assert_allclose(jnp.diagonal(jnp.diagonal(reverse)), s * (1 - s), rtol=1e-12)
