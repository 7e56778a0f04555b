"""Where batches come from: pure functions of the step, so that resuming is exact."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key


class AbstractSampler(eqx.Module):
    """A source of batches without a state of its own."""

    @abc.abstractmethod
    def sample(self, step: Int[Array, ""] | int, model: Any, *, key: Key[Array, ""]) -> Any:
        """The batch of one step.

        **Arguments:**

        - `step`: the number of the step, counted over all stages.
        - `model`: the model at this step, for samplers that look at it.
        - `key`: the same at every step: fold in what the draw depends on.
        """


class FullBatch(AbstractSampler):
    """The same data at every step.

    **Arguments:**

    - `data`: a tree of arrays.
    """

    data: Any

    def sample(self, step, model, *, key):
        return self.data


class Shuffled(AbstractSampler):
    """Minibatches of rows, each row once an epoch, in a new order every epoch.

    **Arguments:**

    - `data`: a tree of arrays with one common first axis, the rows.
    - `batch_size`: rows in a batch; what is left of an epoch is left out.
    - `held_out`: data of the same form that is kept for validation, or `None`.
    """

    data: Any
    batch_size: int = eqx.field(static=True)
    held_out: Any = None

    def sample(self, step, model, *, key):
        rows = jax.tree.leaves(self.data)[0].shape[0]
        size = min(self.batch_size, rows)
        per_epoch = rows // size
        step = jnp.asarray(step)
        order = jax.random.permutation(jax.random.fold_in(key, step // per_epoch), rows)
        chosen = jax.lax.dynamic_slice(order, (step % per_epoch * size,), (size,))
        return jax.tree.map(lambda array: array[chosen], self.data)


class Ramped(AbstractSampler):
    """Batches, and how far training has come: a pair of a batch and a number from 0 to 1.

    **Arguments:**

    - `batches`: where they come from.
    - `steps`: after how many the number is 1.
    """

    batches: AbstractSampler
    steps: int = eqx.field(static=True)

    def sample(self, step, model, *, key):
        batch = self.batches.sample(step, model, key=key)
        kind = next(x.dtype for x in jax.tree.leaves(batch) if eqx.is_inexact_array(x))
        return batch, jnp.minimum(jnp.asarray(step).astype(kind) / self.steps, 1.0)
