r"""Linear state-space layers: series read by linear equations with long memories.

    x' = A x + B u,   y = C x + D u,

stepped exactly from row to row, with a nonlinear map of each row between the layers:
a convolution, a scan or a recurrence, all with the same weights. `u` of a row is its values,
its mask, its inputs and the time since the row before; scores are a linear map of the mean
over the rows, or of the last one.
"""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError, suggest
from continua.methods.dynamics.reader import AbstractReader, reader_steps
from continua.methods.dynamics.sequences import Sequence
from continua.nets import Linear, SequenceModel
from continua.problems import SeriesProblem
from continua.train import Training

_EVEN = 1e-3  # of the common step, that rows of an even series may be off
READOUTS = ("mean", "last")


class StateSpaceReader(eqx.Module):
    """A deep state-space network over the rows of a series, and a map of what it tells.

    **Arguments:**

    - `model`: the network of the rows.
    - `head`: from its features and the statics to the scores.
    - `gap`: the common time between rows, a share of the longest series.
    - `uneven`: whether layers step by the times of the rows.
    - `readout`: `"mean"` or `"last"`.
    """

    model: SequenceModel
    head: Linear
    gap: float = eqx.field(static=True)
    uneven: bool = eqx.field(static=True)
    readout: str = eqx.field(static=True)

    def __call__(self, sequence: Sequence, *, key=None) -> Float[Array, " K"]:
        """The scores of one series."""
        gaps = jnp.diff(sequence.times) / self.gap
        # The first row lasts as long as the common one; behind the last row nothing moves.
        steps = jnp.concatenate([jnp.ones_like(gaps[:1]), gaps])
        # Rows of an even series are not told how long they last.
        since = steps[:, None] if self.uneven else jnp.zeros((len(steps), 0), steps.dtype)
        rows = (sequence.values, sequence.mask, sequence.inputs, since)
        u = jnp.concatenate(rows, axis=1).T
        features = self.model(u, steps if self.uneven else None)
        if self.readout == "last":
            told = features[:, sequence.last]
        else:
            there = (jnp.arange(u.shape[1]) <= sequence.last).astype(u.dtype)
            told = features @ there / jnp.sum(there)
        return self.head(jnp.concatenate([told, sequence.statics]))


@dataclasses.dataclass(frozen=True)
class StateSpace(AbstractReader):
    """Deep linear state-space layers over the rows of a series.

    **Arguments:**

    - `layer`: `"s5"`, one diagonal equation for all features; `"s4d"`, a diagonal one
      for every feature; `"lssl"`, a dense one, which needs double precision.
    - `width`: features of a row in all layers, 32.
    - `states`: of a layer, 64.
    - `depth`: layers, 2.
    - `irregular`: whether layers step by the times of the rows; by default where those of
      the series to learn from are uneven. Even rows can be convolved.
    - `readout`: `"mean"` over the rows, or the `"last"` one.
    - `norm`: whether the features of each row are normed before a layer, `True`.
    - `dt`: range of the steps of a common row, `(0.001, 0.1)`: memories of 10 to 1,000.
    - `mode`: `"auto"`, `"convolution"`, `"scan"` or `"recurrence"`.
    - `batch_size`: series in a step, 32.
    - `training`: Adam with a cosine. Equations move at a quarter of its rate, those of
      `"lssl"` at a fortieth, and do not decay.

    **Reference:** gu2021combining, gu2022parameterization, smith2023simplified
    """

    layer: str = "s5"
    width: int = 32
    states: int = 64
    depth: int = 2
    irregular: bool | None = None
    readout: str = "mean"
    norm: bool = True
    dt: tuple[float, float] = (0.001, 0.1)
    mode: str = "auto"
    batch_size: int = 32
    training: Training = reader_steps(600, 4e-3)

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "gu2022parameterization"
    amortised: ClassVar[bool] = False

    @property
    def precision(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Double for dense matrices, whose powers need it."""
        return "float64" if self.layer == "lssl" else "float32"

    def network(self, problem, size, *, key) -> StateSpaceReader:
        if self.readout not in READOUTS:
            raise InputError(
                f"unknown readout '{self.readout}'",
                where="StateSpace.readout",
                fix=suggest(self.readout, READOUTS),
            )
        gap, even = _rows_of(problem)
        uneven = not even if self.irregular is None else self.irregular
        if uneven and self.mode == "convolution":
            raise InputError(
                "rows of uneven steps are no convolution",
                where="StateSpace.mode",
                fix='take "auto", or irregular=False',
            )
        inner, outer = jax.random.split(key)
        model = SequenceModel(
            2 * len(problem.variables) + len(problem.inputs) + uneven,
            width=self.width,
            depth=self.depth,
            states=self.states,
            layer=self.layer,
            norm=self.norm,
            dt=self.dt,
            mode=self.mode,
            key=inner,
        )
        head = Linear(self.width + len(problem.statics), size, key=outer)
        return StateSpaceReader(model, head, gap, uneven, self.readout)


def _rows_of(problem: SeriesProblem) -> tuple[float, bool]:
    """The median time between rows as a share of the longest series to learn from, and
    whether all are about that long."""
    training = problem.training()
    duration = max(float(s.t[-1] - s.t[0]) for s in training)
    gaps = np.concatenate([np.diff(s.t) for s in training]) / duration
    gap = float(np.median(gaps))
    return gap, bool(np.all(np.abs(gaps - gap) <= _EVEN * gap))
