"""A small method, for tests of training: noisy points on a line of the plane."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from continua.nets import MLP
from continua.train import Adam, Cosine, Shuffled, SSBroyden, Stage, Training

STAGES = (
    Stage(Adam(1e-2, Cosine()), steps=60),
    Stage(SSBroyden(), steps=40, refresh=15),
)


@dataclasses.dataclass(frozen=True)
class Toy:
    """A regression; `validated` adds held-out data by another class."""

    training: Training = Training(STAGES, chunk=17)
    rate: float = 1.0

    def init(self, problem, *, key):
        return MLP(1, 1, width=8, depth=2, key=key)

    def batches(self, problem):
        x = jnp.linspace(-1.0, 1.0, 64)[:, None]
        return Shuffled((x, jnp.sin(3 * x)), 16, held_out=(x, jnp.cos(x)))

    def loss(self, model, batch, *, key):
        x, y = batch
        fit = jnp.mean((jax.vmap(model)(x) - y) ** 2)
        decay = 1e-6 * sum(jnp.sum(p**2) for p in jax.tree.leaves(eqx.filter(model, eqx.is_array)))
        return self.rate * fit + decay, {"fit": fit, "decay": decay}


@dataclasses.dataclass(frozen=True)
class Validated(Toy):
    """Held-out data that fits ever worse: training should stop."""

    def validation(self, model, sampler):
        x, y = sampler.held_out
        return jnp.mean((jax.vmap(model)(x) - y) ** 2)
