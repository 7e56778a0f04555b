r"""Gated recurrent networks, what a user would otherwise take to read series.

    h_i = GRU(x_i, h_{i-1}),   x_i = (time since the row before, values, mask, inputs),

or with decay (GRU-D): between rows hidden states and values that were not measured fall
off, `h <- exp(-relu(W_h d + b_h)) h`, `d` the time since each channel was measured, and
values `x <- m x + (1 - m) g x_last`, `g = exp(-relu(w d + b))`, towards their mean 0.
"""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.methods.dynamics.reader import AbstractReader, reader_steps
from continua.methods.dynamics.sequences import Sequence
from continua.nets import GRUCell, Linear
from continua.train import Training


class RecurrentNetwork(eqx.Module):
    """A gated recurrent unit over the rows of a series, and a linear map of its last state.

    **Arguments:**

    - `channels`, `inputs`, `statics`, `size`: of the series and the scores.
    - `width`: of the hidden state.
    - `decay`: whether states and values fall off between rows.
    """

    cell: GRUCell
    head: Linear
    fall: Linear | None
    fading: Float[Array, "2 C"] | None

    def __init__(self, channels, inputs, statics, size, width: int, *, decay: bool, key):
        cell, head, fall = jax.random.split(key, 3)
        self.cell = GRUCell(1 + 2 * channels + inputs, width, key=cell)
        self.head = Linear(width + statics, size, key=head)
        self.fall = Linear(channels, width, key=fall) if decay else None
        # Above 0, where the rectifier has a slope.
        self.fading = jnp.full((2, channels), 0.1) if decay else None

    def __call__(self, sequence: Sequence, *, key=None) -> Float[Array, " K"]:
        """The scores of one series."""
        steps = jnp.diff(sequence.times, prepend=sequence.times[:1])
        rows = jnp.arange(sequence.times.shape[0])

        def read(carry, row):
            h, since = carry
            i, step, values, mask, inputs = row
            since, before = since + step, h
            if self.fall is not None and self.fading is not None:
                h = jnp.exp(-jax.nn.relu(self.fall(since))) * h
                slope, start = self.fading
                faded = jnp.exp(-jax.nn.relu(slope * since + start))
                values = mask * values + (1 - mask) * faded * values
            new = self.cell(jnp.concatenate([step[None], values, mask, inputs]), h)
            h = jnp.where(i <= sequence.last, new, before)
            return (h, since * (1 - mask)), None

        zero = jnp.zeros(self.cell.size, sequence.values.dtype)
        carry = (zero, jnp.zeros_like(sequence.values[0]))
        table = (rows, steps, sequence.values, sequence.mask, sequence.inputs)
        (h, _), _ = jax.lax.scan(read, carry, table)
        return self.head(jnp.concatenate([h, sequence.statics]))


@dataclasses.dataclass(frozen=True)
class GRU(AbstractReader):
    """A gated recurrent network over the rows of a series.

    **Arguments:**

    - `width`: of the hidden state, 32.
    - `decay`: whether states and values fall off between rows (GRU-D), `False`.
    - `batch_size`: series in a step, 32.
    - `training`: Adam with a cosine.

    **Reference:** che2018recurrent
    """

    width: int = 32
    decay: bool = False
    batch_size: int = 32
    training: Training = reader_steps(600)

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "che2018recurrent"
    amortised: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"

    def network(self, problem, size, *, key) -> RecurrentNetwork:
        return RecurrentNetwork(
            len(problem.variables),
            len(problem.inputs),
            len(problem.statics),
            size,
            self.width,
            decay=self.decay,
            key=key,
        )
