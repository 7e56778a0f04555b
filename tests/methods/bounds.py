"""Bounds on the likelihood of latent models over many draws."""

import jax
import numpy as np


def bounds(model, window, *, draws=1, count=4000, seed=3):
    """The mean over `count` keys of the bound by `draws` draws, and its standard error."""
    run = jax.jit(jax.vmap(lambda k: model.bound(window, 1.0, draws=draws, key=k)[0]))
    found = np.asarray(run(jax.random.split(jax.random.key(seed), count)))
    return found.mean(), found.std() / np.sqrt(count)
