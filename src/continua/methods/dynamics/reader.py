r"""Networks that read a series whole and tell its class, or a number.

A network gives scores `s(series)`, `(K,)`. For classes

    L = - mean log softmax(s)[class],

and their probabilities are `softmax(s)`; for numbers `L = mean (s - target)^2` of scaled
ones. Networks that draw noise are averaged over a number of draws.
"""

import abc
import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.core.solution import Solution
from continua.methods.base import AbstractLearnedMethod, Support, asked
from continua.methods.dynamics.sequences import (
    Sequence,
    SequenceScaling,
    sequence_scaling,
    sequences_of,
)
from continua.nets import Fixed
from continua.problems import Series, SeriesProblem
from continua.train import Adam, Cosine, Shuffled, Stage, Training

_MOST = 512  # series that are read in one call


def reader_steps(steps: int, learning_rate: float = 3e-3) -> Training:
    """The training of a reader: one stage of Adam with a cosine.

    **Arguments:**

    - `steps`: how many.
    - `learning_rate`: at the start.
    """
    return Training((Stage(Adam(learning_rate, Cosine(0.01), clip=1.0), steps),))


@functools.partial(jax.jit, static_argnums=(0, 2))
def coded(coding: Any, sequences: Sequence, scaling: SequenceScaling) -> Any:
    """What a network reads of stacked series.

    **Arguments:**

    - `coding`: as `AbstractReader` says; `None` leaves the series as they are.
    - `sequences`, `scaling`: of the series.
    """
    return sequences if coding is None else coding(sequences, scaling)


class AbstractReader(AbstractLearnedMethod):
    """A method that classifies series, or regresses a number on them.

    Subclasses are frozen dataclasses with the fields `batch_size` (series in a step) and
    `training`; those that draw noise state `draws`, over which answers are averaged. What is
    computed of every series once, before training, is their `coding`: a frozen dataclass,
    called with stacked `Sequence`s and the scaling, whose arrays have `last` and `target` as
    well. The network then takes these in place of a `Sequence`.
    """

    batch_size: int
    draws: int = 1
    amortised = False

    @property
    def _coding(self) -> Any:
        return getattr(self, "coding", None)

    def arrays(self, problem: SeriesProblem, scaling: SequenceScaling, numbers) -> Any:
        """What the network reads of some series, stacked.

        **Arguments:**

        - `problem`, `scaling`, `numbers`: as `sequences_of`.
        """
        sequences = sequences_of(problem, scaling, numbers)
        return coded(self._coding, sequences, scaling)

    @abc.abstractmethod
    def network(self, problem: SeriesProblem, size: int, *, key) -> Any:
        """The untrained network: `(sequence, *, key) -> (size,)`, of one `Sequence` or what
        the `coding` makes of it.

        **Arguments:**

        - `problem`: says the channels: `path_size(problem)`, `problem.statics`.
        - `size`: of the scores.
        """

    def supports(self, problem) -> Support:
        return asked(problem, self.name, ("classify", "regress"), takes=("inputs", "statics"))

    def generate(self, problem) -> None:
        """A reader needs no data but the series of the problem."""

    def init(self, problem, *, key) -> Any:
        return self.network(problem, len(problem.outputs), key=key)

    def batches(self, problem) -> Shuffled:
        sequences = self.arrays(problem, sequence_scaling(problem), problem.learned)
        return Shuffled(sequences, self.batch_size)

    def loss(self, model, batch, *, key):
        keys = jax.random.split(key, batch.last.shape[0])
        scores = jax.vmap(lambda s, k: model(s, key=k))(batch, keys)
        if scores.shape[1] == 1:
            error = jnp.mean((scores[:, 0] - batch.target) ** 2)
            return error, {"squared_error": error}
        right = batch.target.astype(int)
        logs = jnp.take_along_axis(jax.nn.log_softmax(scores), right[:, None], axis=1)
        missed = jnp.mean((jnp.argmax(scores, axis=1) != right).astype(scores.dtype))
        return -jnp.mean(logs), {"error_rate": missed}

    def finish(self, model, problem) -> Solution:
        scaling = sequence_scaling(problem)
        everything = self.arrays(problem, scaling, range(len(problem.series)))
        told = told_by(model, scaling, everything, self.draws)
        grid = problem.evaluation_grid()
        return Solution(
            method=self.name,
            unknowns=problem.outputs,
            coordinates=tuple(grid),
            grid=grid,
            evaluator=Told(model, Fixed(jnp.asarray(told)), scaling, self.draws, self._coding),
        )


def told_by(model: Any, scaling: SequenceScaling, sequences: Any, draws: int) -> np.ndarray:
    """Probabilities of the classes, or numbers in their units, of many series.

    **Arguments:**

    - `model`: a trained network.
    - `scaling`: of the series; `sequences`: what the network reads of them.
    - `draws`: of noise, averaged; those of a series depend on its number alone.

    **Returns:** `(r, K)`.
    """
    count, found = sequences.last.shape[0], []
    for begin in range(0, count, _MOST):
        rows = np.minimum(np.arange(begin, begin + min(_MOST, count)), count - 1)
        part = jax.tree.map(lambda x, rows=rows: x[rows], sequences)
        answers = _answers(model, part, jnp.asarray(rows), draws, bool(scaling.classes))
        found.append(np.asarray(answers, float))
    values = np.concatenate(found)[:count]
    return values if scaling.classes else scaling.target_mean + scaling.target_std * values


@eqx.filter_jit  # whose programs are kept: as many series again compile nothing
def _answers(model: Any, sequences: Any, numbers: Any, draws: int, classes: bool) -> Any:
    """Probabilities or scaled numbers `(n, K)`, means over draws."""

    def one(sequence, number):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), number), draws)
        scores = jax.vmap(lambda k: model(sequence, key=k))(keys)
        return jnp.mean(jax.nn.softmax(scores) if classes else scores, axis=0)

    return jax.vmap(one)(sequences, numbers)


class Told(eqx.Module):
    """What each series of a problem was told to be, and the network for others.

    **Arguments:**

    - `model`: the trained network.
    - `values`: `(r, K)`, for the series of the problem.
    - `scaling`: between series and arrays.
    - `draws`: of noise.
    - `coding`: what the network reads in place of `Sequence`s; `None` for these.
    """

    model: Any
    values: Fixed
    scaling: SequenceScaling
    draws: int
    coding: Any = None

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, K)` at points `(m, 1)`, numbers of series of the problem."""
        rows = np.rint(np.asarray(points, float)[:, 0]).astype(int)
        values = np.asarray(self.values.value, float)
        inside = (rows >= 0) & (rows < len(values))
        return np.where(inside[:, None], values[np.clip(rows, 0, len(values) - 1)], np.nan)

    def predict(self, series: list[Series] | tuple[Series, ...], statics: Any = ()) -> np.ndarray:
        """Probabilities of the classes, or numbers, of other series.

        **Arguments:**

        - `series`: of the channels that were learned from.
        - `statics`: a row for each series, where the problem has any.

        **Returns:** `(r, K)`.

        **Raises:** `InputError` for series of other channels.
        """
        return told_by(self.model, self.scaling, self.arrays(series, statics), self.draws)

    def arrays(self, series: list[Series] | tuple[Series, ...], statics: Any = ()) -> Any:
        """What the network reads of other series, stacked.

        **Arguments:**

        - `series`, `statics`: as `predict`.
        """
        longest = max(self.scaling.length, *(len(s.t) for s in series))
        scaling = dataclasses.replace(self.scaling, length=longest)
        rows = [statics[i] if len(statics) else () for i in range(len(series))]
        # The numbers of the network, whatever the precision of the process.
        kind = next(x.dtype for x in jax.tree.leaves(self.model) if eqx.is_inexact_array(x))
        arrays = [scaling.arrays(s, r, dtype=kind) for s, r in zip(series, rows, strict=True)]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *arrays)
        return coded(self.coding, stacked, scaling)
