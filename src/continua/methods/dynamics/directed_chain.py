r"""Directed chain: a generator of paths that reads a neighbour path of the same law.

    dX = V_0(t, X, X') dt + V_1(t, X, X') dB,     Law(X') = Law(X),

with `X(0)` and `B` independent of the neighbour `X'`, by steps of Euler and Maruyama on the
rows of the data. `X` has the dimension of the data and no hidden state; what a path's past
tells is read off its neighbour. In training the neighbours are series of the data, and

    L = | A (mean S^m(X) - mean S^m(data)) |_2

is the loss, `S^m` the signature to depth `m` of the path `(t, x)` from a basepoint 0 on. With
`whiten` the mean of the data is that of all series, and `A` makes the words of their
signatures uncorrelated and of variance 1 over the number of words. Without, as published,
`A = 1`, and the mean is that of the neighbours themselves, which pays for copying them: what
chance did to the batch is then the same on both sides.

New series come from a chain, `X^1 = G(series)`, `X^{k+1} = G(X^k)`, each with a new start and
noise. Nothing in `L` forbids `V_0 = c (X' - X)`, `V_1 = 0`: copies of the neighbours. Two
cures can be tried: `penalty`, on how far the end of the chain is correlated with its head, and
`chain`, so many steps of the chain inside the loss, so that errors do not grow along it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.base import AbstractLearnedMethod, Support, asked
from continua.methods.dynamics.observations import Scaling, scaling_of
from continua.methods.dynamics.rows import by_number
from continua.methods.dynamics.signature_law import Law, law_of, neighbour_correlation
from continua.nets import MLP, compiled, lipswish
from continua.problems import Series, SeriesProblem
from continua.train import AbstractSampler, Adam, Cosine, Ramped, Shuffled, Stage, Training

_WORDS = 1000  # that signatures have at the most where no depth is given
_MOST = 20_000  # words that fit
_CALM = 0.1  # of the usual size, with which the last layer of the noise begins


def chain_steps(steps: int, learning_rate: float = 3e-3) -> Training:
    """The training of a directed chain: one stage of Adam with a cosine.

    **Arguments:**

    - `steps`: how many.
    - `learning_rate`: at the start.
    """
    return Training((Stage(Adam(learning_rate, Cosine(0.01), clip=10.0), steps),))


class DirectedChainSDE(eqx.Module):
    """The generator `G`, for one path.

    **Arguments:**

    - `drift`: `V_0`, from `(x, t, n)` of `2 d + 1` numbers to `d`.
    - `diffusion`: `V_1`, from the same to `d * noise_size`.
    - `noise_size`: Brownian motions.
    - `coupled`: whether the neighbour is seen; else it is 0, and this is a plain neural
      stochastic equation.
    """

    drift: Callable
    diffusion: Callable
    noise_size: int = eqx.field(static=True)
    coupled: bool = eqx.field(static=True, default=True)

    def __call__(
        self, ts: Float[Array, " T"], x0: Float[Array, " d"], neighbour: Float[Array, "T d"], *, key
    ) -> Float[Array, "T d"]:
        """A path at times `ts`.

        **Arguments:**

        - `ts`: increasing.
        - `x0`: its start, independent of the neighbour.
        - `neighbour`: at the same times.
        - `key`: of the noise.
        """
        steps = jnp.diff(ts)
        noise = jax.random.normal(key, (steps.size, self.noise_size), x0.dtype)
        seen = neighbour[:-1] if self.coupled else jnp.zeros_like(neighbour[:-1])

        def step(x, row):
            t, h, n, dw = row
            here = jnp.concatenate([x, t[None], n])
            g = self.diffusion(here).reshape(x.size, self.noise_size)
            x = x + h * self.drift(here) + g @ dw
            return x, x

        rows = (ts[:-1], steps, seen, jnp.sqrt(steps)[:, None] * noise)
        _, path = jax.lax.scan(step, x0, rows)
        return jnp.concatenate([x0[None], path])


def directed_chain_nets(
    channels: int, *, noise_size: int, width: int, depth: int, coupled: bool = True, key
) -> DirectedChainSDE:
    """A generator of two networks, whose noise begins small.

    **Arguments:**

    - `channels`: `d`.
    - `noise_size`, `coupled`: as `DirectedChainSDE`.
    - `width`, `depth`: of both networks.
    """
    first, second = jax.random.split(key)
    size = {"width": width, "depth": depth, "activation": lipswish}
    drift = MLP(2 * channels + 1, channels, **size, key=first)
    noise = MLP(2 * channels + 1, channels * noise_size, **size, key=second)
    last = _CALM * noise.layers[-1].weight
    noise = eqx.tree_at(lambda m: m.layers[-1].weight, noise, last)
    return DirectedChainSDE(drift, noise, noise_size, coupled)


def chain_generate(
    model: DirectedChainSDE,
    ts: Float[Array, " T"],
    starts: Float[Array, "Q d"],
    head: Float[Array, "T d"],
    *,
    key,
) -> Float[Array, "Q T d"]:
    """The paths of one chain, `X^1 = G(head)`, `X^{k+1} = G(X^k)`.

    **Arguments:**

    - `model`: `G`.
    - `ts`: times.
    - `starts`: of each path, independent of each other and of the head.
    - `head`: the first neighbour.
    - `key`: of the noise of all.
    """

    def link(neighbour, row):
        # Keys by step: a longer chain goes on where a shorter one ends.
        path = model(ts, row[0], neighbour, key=jax.random.fold_in(key, row[1]))
        return path, path

    return jax.lax.scan(link, head, (starts, jnp.arange(starts.shape[0])))[1]


class Chained(AbstractSampler):
    """Batches of series to be neighbours, how far training has come, and the law.

    **Arguments:**

    - `batches`: of the first two.
    - `law`: of all series.
    """

    batches: Ramped
    law: Law

    def sample(self, step, model, *, key):
        return (*self.batches.sample(step, model, key=key), self.law)


@dataclasses.dataclass(frozen=True)
class DirectedChain(AbstractLearnedMethod):
    """A stochastic equation whose drift and noise read a neighbour of the same law.

    **Arguments:**

    - `noise_size`: Brownian motions, 2.
    - `width`, `depth`: of both networks, 64 and 2.
    - `signature_depth`: the longest words; `None` for 4, or fewer where there would be more
      than 1000 words.
    - `whiten`: whether words are compared by their deviations and free of correlation,
      `True`; `False` is the published loss.
    - `chain`: steps of the chain inside the loss, 1. All but the first come in gradually, in
      the first half of training.
    - `penalty`: on the mean square correlation of all values at the end of that chain with
      all at its head, 0; it comes in as `chain` does.
    - `coupled`: `False` hides the neighbour, a plain neural stochastic equation.
    - `generations`: steps of the chain that new series come from, 1.
    - `batch_size`: series in a step, 256.
    - `positive`: learn logarithms; `None` decides by the data.
    - `training`: Adam with a cosine.

    **Raises:** `InputError` for sizes below 1 and a penalty below 0.

    **Reference:** min2023directed
    """

    noise_size: int = 2
    width: int = 64
    depth: int = 2
    signature_depth: int | None = None
    whiten: bool = True
    chain: int = 1
    penalty: float = 0.0
    coupled: bool = True
    generations: int = 1
    batch_size: int = 256
    positive: bool | None = None
    training: Training = chain_steps(600)

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "min2023directed"
    amortised: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"

    def __post_init__(self):
        sizes = ("noise_size", "width", "depth", "chain", "generations", "batch_size")
        for name in (*sizes, "signature_depth"):
            if (got := getattr(self, name)) is not None and got < 1:
                raise InputError(f"got {got}", where=f"{self.name}.{name}", fix="give 1 or more")
        if not self.penalty >= 0:
            cause = f"got {self.penalty}"
            raise InputError(cause, where=f"{self.name}.penalty", fix="give 0 or more")

    def supports(self, problem) -> Support:
        return asked(problem, self.name, ("generate",))

    def generate(self, problem) -> None:
        """Nothing is needed but the series of the problem."""

    def init(self, problem, *, key) -> DirectedChainSDE:
        return directed_chain_nets(
            len(problem.variables),
            noise_size=self.noise_size,
            width=self.width,
            depth=self.depth,
            coupled=self.coupled,
            key=key,
        )

    def batches(self, problem) -> Chained:
        table = table_of(problem, self.positive)
        depth = self._words(len(problem.variables))
        paths = jnp.asarray(table.paths, jnp.zeros(()).dtype)
        ramp = max(1, self.training.steps // 2)
        law = law_of(table.ts, table.paths, depth, self.whiten)
        return Chained(Ramped(Shuffled(paths, self.batch_size), ramp), law)

    def loss(self, model: DirectedChainSDE, batch, *, key):
        real, share, law = batch
        first, second = jax.random.split(key)
        count = real.shape[0]
        rows = jax.random.randint(first, (count, self.chain), 0, count)
        found = jax.vmap(lambda x, n, k: chain_generate(model, law.ts, x, n, key=k))(
            real[rows, 0], real, jax.random.split(second, count)
        )
        distances = jax.vmap(lambda x: law.distance(x, real), in_axes=1)(found)
        weights = jnp.where(jnp.arange(self.chain) == 0, jnp.ones_like(share), share)
        distance = distances @ weights / jnp.sum(weights)
        copied = jnp.mean(neighbour_correlation(found[:, -1], real) ** 2)
        parts = {"signature_loss": distances[0], "square_correlation": copied}
        if not self.penalty:
            return distance, parts
        return distance + self.penalty * share * copied, parts

    def finish(self, model: DirectedChainSDE, problem) -> Solution:
        table, grid = table_of(problem, self.positive), problem.evaluation_grid()
        return Solution(
            method=self.name,
            unknowns=tuple(problem.variables),
            coordinates=tuple(grid),
            grid=grid,
            evaluator=ChainedPaths(model, table, self.generations),
        )

    def _words(self, channels: int) -> int:
        """The depth of the signatures."""
        counts = np.cumsum([(channels + 1) ** k for k in range(1, (self.signature_depth or 4) + 1)])
        if self.signature_depth is None:
            return max(int(np.sum(counts <= _WORDS)), 1)
        if counts[-1] > _MOST:
            raise InputError(
                f"signatures of {channels} channels to depth {self.signature_depth} have "
                f"{counts[-1]} words, at most {_MOST} fit",
                where=f"{self.name}.signature_depth",
                fix="give a smaller depth, or leave it out",
            )
        return self.signature_depth


@dataclasses.dataclass(frozen=True)
class Table:
    """Series at common rows.

    **Arguments:**

    - `times`: of the rows, in the units of the problem.
    - `paths`: scaled `(N, T, d)`, gaps filled by straight lines.
    - `scaling`: of the channels.
    """

    times: np.ndarray
    paths: np.ndarray
    scaling: Scaling

    @property
    def ts(self) -> np.ndarray:
        """The times from 0 to 1."""
        return (self.times - self.times[0]) / (self.times[-1] - self.times[0])


def table_of(problem: SeriesProblem, positive: bool | None) -> Table:
    """The series to learn from at the rows of the longest, up to the end of the shortest,
    each counted from its own first time.

    **Arguments:**

    - `problem`: of the task generate.
    - `positive`: learn logarithms; `None` decides by the data.

    **Raises:** `InputError` for a single series, and where one has one row or a channel of it
    no value.
    """
    seen, scaling = problem.training(), scaling_of(problem, tuple(problem.variables), positive)
    if len(seen) < 2:
        raise InputError(
            "one series, and a law is learned from many",
            where="series",
            fix="give many series, or cut the one into pieces",
        )
    for one in seen:
        _check(one, problem.variables)
    longest = max(seen, key=lambda s: len(s.t))
    last = min(s.t[-1] - s.t[0] for s in seen)
    times = longest.t - longest.t[0]
    if np.sum(times <= last * (1 + 1e-9)) < 2:
        raise InputError(
            f"all series end {last:g} after their first time or later, where the longest has "
            "one row",
            where="series",
            fix="leave short series out",
        )
    # The last row lies at the end of the shortest, so that paths reach it.
    times = np.append(times[times < last * (1 - 1e-9)], last)
    rows = []
    for one in seen:
        z = scaling.encode(one.y)
        columns = ((one.t[np.isfinite(c)], c[np.isfinite(c)]) for c in z.T)
        rows.append(np.stack([np.interp(one.t[0] + times, t, c) for t, c in columns], axis=-1))
    first = min(s.t[0] for s in problem.series)  # from which new series are counted
    return Table(first + times, np.stack(rows), scaling)


def _check(series: Series, variables: tuple[str, ...]) -> None:
    """Whether a series is a path."""
    where = f"series '{series.name}'"
    if len(series.t) < 2:
        raise InputError("one row, at least 2 are needed", where=where, fix="leave it out")
    for name, column in zip(variables, series.y.T, strict=True):
        if not np.isfinite(column).any():
            raise InputError(f"'{name}' holds no number", where=where, fix="leave it out")


class ChainedPaths(eqx.Module):
    """New series at the end of chains; that of a number is always the same.

    **Arguments:**

    - `model`: trained.
    - `table`: the series, of which one is the head of a chain and others tell starts.
    - `generations`: steps of a chain.
    """

    model: DirectedChainSDE
    table: Table
    generations: int

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, 2)`: the number of the series, and times."""
        return by_number(points, self.table.times, self.sample)

    def sample(self, numbers: Any) -> np.ndarray:
        """Series at the rows `(n, T, c)`, by their numbers."""
        return self.chains(numbers, self.generations)[:, -1]

    def chains(self, numbers: Any, depth: int, heads: Any = None) -> np.ndarray:
        """Whole chains `(n, 1 + depth, T, c)`, the series at their heads first.

        **Arguments:**

        - `numbers`: of the chains.
        - `depth`: steps of each.
        - `heads`: paths `(n, T, c)` to begin at; by default series drawn from the data.
        """
        kind = jnp.result_type(*jax.tree.leaves(eqx.filter(self.model, eqx.is_array)))
        ts, paths = (jnp.asarray(x, kind) for x in (self.table.ts, self.table.paths))
        if heads is not None:
            heads = jnp.asarray(self.table.scaling.encode(np.asarray(heads, float)), kind)
        found = self._program(ts, paths, jnp.asarray(numbers), jnp.arange(depth), heads)
        return self.table.scaling.decode(np.asarray(found, float))

    @functools.cached_property
    def _program(self) -> Callable:
        return compiled(self.model, _new_chains)


def _new_chains(model, ts: Any, paths: Any, numbers: Any, steps: Any, heads: Any) -> Any:
    """Scaled chains `(n, 1 + depth, T, c)` by their numbers, from `heads` or series drawn
    from `paths`; `steps` are numbered from 0."""
    rows, starts, noises = jax.random.split(jax.random.key(0), 3)

    def drawn(key):
        return paths[jax.random.randint(key, (), 0, len(paths), jnp.int32)]

    def one(number, head):
        own = jax.random.fold_in(starts, number)
        others = jax.vmap(lambda i: drawn(jax.random.fold_in(own, i)))(steps)
        noise = jax.random.fold_in(noises, number)
        return jnp.concatenate(
            [head[None], chain_generate(model, ts, others[:, 0], head, key=noise)]
        )

    if heads is None:
        heads = jax.vmap(lambda i: drawn(jax.random.fold_in(rows, i)))(numbers)
    return jax.vmap(one)(numbers, heads)
