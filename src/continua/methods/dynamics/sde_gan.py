r"""SDE-GAN: new series by a stochastic equation that a critic of whole paths cannot tell apart.

    min_G max_D  mean D(series) - mean D(G),

`G` a neural stochastic equation from normal numbers on, `D` a neural controlled equation along
the path that it judges, both in `sde_gan_model`. Over all `D` of slope 1 the maximum is the
Wasserstein distance of the two laws. That slopes stay bounded, the entries of all matrices of
`D` are clipped after every step; no gradient of a gradient is taken.

One backward pass has both gradients, that in `D` with its sign turned on the way, and one step
of one optimiser goes down for `G` and up for `D`. Such steps go around an equilibrium. These are
therefore optimistic, get shorter, and the weights of their second half are averaged.

Both see deviations from the mean path of the series: what moves all paths alike is then no
matter of the game. Where rows of a series are missing, `D` sees straight lines in their place,
of new paths too: each of these is seen at the rows of the series that stands beside it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.base import AbstractLearnedMethod, Support, asked
from continua.methods.dynamics.directed_chain import table_of
from continua.methods.dynamics.observations import Scaling
from continua.methods.dynamics.rows import by_number
from continua.methods.dynamics.sde_gan_model import (
    AdversarialPaths,
    CDECritic,
    SDEGenerator,
    clip_lipschitz,
    reversed_gradient,
)
from continua.nets import Fixed, compiled
from continua.problems import SeriesProblem
from continua.train import Averaged, Cosine, OptimisticAdam, Shuffled, Stage, Training

_LEAST = 1e-3  # size at which noise begins where series have none


def adversarial_steps(steps: int, learning_rate: float = 6e-3) -> Training:
    """The training of a generator and a critic: one stage of optimistic Adam with a cosine,
    whose weights are averaged over its second half.

    **Arguments:**

    - `steps`: how many.
    - `learning_rate`: of the generator, at the start.
    """
    return Training((Stage(Averaged(OptimisticAdam(learning_rate, Cosine(0.02))), steps),))


@dataclasses.dataclass(frozen=True)
class SDEGAN(AbstractLearnedMethod):
    """A neural stochastic equation trained against a neural controlled equation.

    **Arguments:**

    - `states`: of the generator, 16; `noise_size`: its Brownian motions, 3; `seed_size`: the
      normal numbers that it begins with, 5.
    - `critic_states`: of the critic, 16.
    - `width`, `depth`: of all networks, 16 and 1.
    - `horizon`: the time of the generator from the first row to the last; `None` for the sum
      of the mean squares of all increments, in deviations, and 1 at the least.
    - `critic_horizon`: the time of the critic, 16.
    - `sharpness`: what paths, in deviations, are multiplied by before the critic sees them,
      10: its layers bend little, and where all it sees is small it tells means alone.
    - `critic_rate`: its learning rate over that of the generator, 2.
    - `first_rate`: that of the networks of first states over that of all else of theirs, 1;
      the published 10 is for the slow steps of Adadelta.
    - `clip`: whether the matrices of the critic are clipped, `True`.
    - `batch_size`: series in a step, 128, and as many new ones.
    - `positive`: learn logarithms; `None` decides by the data.
    - `training`: optimistic Adam with a cosine, and an average of weights.

    **Raises:** `InputError` for sizes below 1, and numbers that are not positive.

    **Reference:** kidger2021neural
    """

    states: int = 16
    noise_size: int = 3
    seed_size: int = 5
    critic_states: int = 16
    width: int = 16
    depth: int = 1
    horizon: float | None = None
    critic_horizon: float = 16.0
    sharpness: float = 10.0
    critic_rate: float = 2.0
    first_rate: float = 1.0
    clip: bool = True
    batch_size: int = 128
    positive: bool | None = None
    training: Training = adversarial_steps(1000)

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "kidger2021neural"
    amortised: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"

    def __post_init__(self):
        sizes = ("states", "noise_size", "seed_size", "critic_states", "width", "depth")
        for name in (*sizes, "batch_size"):
            if (got := getattr(self, name)) < 1:
                raise InputError(f"got {got}", where=f"{self.name}.{name}", fix="give 1 or more")
        for name in ("horizon", "critic_horizon", "sharpness", "critic_rate", "first_rate"):
            got = getattr(self, name)
            if got is not None and not got > 0:
                where = f"{self.name}.{name}"
                raise InputError(f"got {got}", where=where, fix="give a positive number")

    def supports(self, problem) -> Support:
        return asked(problem, self.name, ("generate",))

    def generate(self, problem) -> None:
        """Nothing is needed but the series of the problem."""

    def init(self, problem, *, key) -> AdversarialPaths:
        channels = len(problem.variables)
        ts, noise = centred(problem, self.positive).pace(self.horizon)
        sizes = {"width": self.width, "depth": self.depth}
        first, second = jax.random.split(key)
        generator = SDEGenerator(
            channels,
            states=self.states,
            noise_size=self.noise_size,
            seed_size=self.seed_size,
            noise=noise,
            first_rate=self.first_rate,
            key=first,
            **sizes,
        )
        rates = (self.first_rate * self.critic_rate, self.critic_rate)
        critic = CDECritic(channels, states=self.critic_states, rates=rates, key=second, **sizes)
        ts = Fixed(jnp.asarray(ts, jnp.zeros(()).dtype))
        return self.project(AdversarialPaths(generator, critic, ts))

    def project(self, model: AdversarialPaths) -> AdversarialPaths:
        """The model with its critic clipped, which training calls for after every step.

        **Arguments:**

        - `model`: after a step.
        """
        if not self.clip:
            return model
        return eqx.tree_at(lambda m: m.critic, model, clip_lipschitz(model.critic))

    def batches(self, problem) -> Shuffled:
        table, kind = centred(problem, self.positive), jnp.zeros(()).dtype
        sights = sights_of(problem, table)
        return Shuffled((jnp.asarray(table.paths, kind), sights), self.batch_size)

    def loss(self, model: AdversarialPaths, batch, *, key):
        real, sights = batch
        ts = model.ts.value
        fake = model.generator(ts, jnp.arange(real.shape[0]), key=key)
        fake = fake if sights is None else sights(fake)
        arrays, rest = eqx.partition(model.critic, eqx.is_array)
        critic = eqx.combine(reversed_gradient(arrays), rest)
        # Both in one call: half as many steps.
        both = self.sharpness * jnp.concatenate([real, fake])
        scores = critic(self.critic_horizon / ts[-1] * ts, both)
        good, bad = jnp.split(scores, 2)
        return jnp.mean(good) - jnp.mean(bad), {}

    def finish(self, model: AdversarialPaths, problem) -> Solution:
        table, grid = centred(problem, self.positive), problem.evaluation_grid()
        bare = dataclasses.replace(table, paths=table.paths[:0])  # series need not be saved
        return Solution(
            method=self.name,
            unknowns=tuple(problem.variables),
            coordinates=tuple(grid),
            grid=grid,
            evaluator=GeneratedPaths(model.generator, model.ts, bare),
        )


@dataclasses.dataclass(frozen=True)
class Centred:
    """Series as deviations from their mean path.

    **Arguments:**

    - `times`: of the rows, in the units of the problem.
    - `paths`: deviations `(N, T, C)`, about 1.
    - `middle`: the mean path, scaled, `(T, C)`.
    - `spread`: the size of deviations from it, scaled, `(C,)`.
    - `scaling`: of the channels.
    """

    times: np.ndarray
    paths: np.ndarray
    middle: np.ndarray
    spread: np.ndarray
    scaling: Scaling

    def decode(self, paths: np.ndarray) -> np.ndarray:
        """Deviations to values in the units of the data.

        **Arguments:**

        - `paths`: `(*, T, C)`.
        """
        return self.scaling.decode(self.middle + self.spread * paths)

    def pace(self, horizon: float | None) -> tuple[Float[np.ndarray, " T"], float]:
        """The times of the rows for the generator, in which its noise and its drift are
        about 1, and the size of the noise at the start.

        **Arguments:**

        - `horizon`: the last of these times; `None` for the sum of the mean squares of all
          increments, and 1 at the least.
        """
        square = float((np.diff(self.paths, axis=1) ** 2).mean(axis=(0, 2)).sum())
        horizon = max(square, 1.0) if horizon is None else horizon
        share = (self.times - self.times[0]) / (self.times[-1] - self.times[0])
        return horizon * share, max((square / horizon) ** 0.5, _LEAST)


def centred(problem: SeriesProblem, positive: bool | None) -> Centred:
    """The series to learn from, at common rows as `table_of` has them.

    **Arguments:**

    - `problem`, `positive`: as `table_of`.

    **Raises:** as `table_of`.
    """
    table = table_of(problem, positive)
    middle = table.paths.mean(axis=0)
    spread = (table.paths - middle).std(axis=(0, 1))
    spread = np.where(spread > 0, spread, 1.0)
    paths = (table.paths - middle) / spread
    return Centred(table.times, paths, middle, spread, table.scaling)


class Sights(eqx.Module):
    """Which rows of a path are seen, straight lines being in the place of the others.

    **Arguments:**

    - `before`, `after`: for every row the seen ones about it, `(*B, T, C)`.
    - `share`: how far from the first of them to the second it lies.
    - `shift`: of straight lines from the mean path, as far as it is not straight.
    """

    before: Int[Array, "*B T C"]
    after: Int[Array, "*B T C"]
    share: Float[Array, "*B T C"]
    shift: Float[Array, "*B T C"]

    def __call__(self, paths: Float[Array, "*B T C"]) -> Float[Array, "*B T C"]:
        """Deviations from the mean path as they are seen."""
        first, second = (jnp.take_along_axis(paths, i, axis=-2) for i in (self.before, self.after))
        return first + self.share * (second - first) + self.shift


def sights_of(problem: SeriesProblem, table: Centred) -> Sights | None:
    """How the training series are seen at common rows; `None` where nothing is missing.

    Measurements between two rows count as those of the nearest one.

    **Arguments:**

    - `problem`, `table`: the series, and what `centred` has made of them.
    """
    rows, found = table.times - table.times[0], []
    for one in problem.training():
        t = one.t - one.t[0]
        found.append([_sight(t[np.isfinite(column)], rows) for column in one.y.T])
    before, after, share = np.moveaxis(np.array(found), (2, 3), (0, 2))  # (3, N, T, C)
    if np.all(share == 0) and np.all(before == np.arange(len(rows))[:, None]):
        return None
    kind, path = jnp.zeros(()).dtype, table.middle / table.spread
    before, after = (jnp.asarray(x.astype(np.int32)) for x in (before, after))
    lines = Sights(before, after, jnp.asarray(share, kind), jnp.zeros(share.shape, kind))
    path = jnp.broadcast_to(jnp.asarray(path, kind), share.shape)
    return dataclasses.replace(lines, shift=lines(path) - path)


def _sight(own: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows before and after, and the share between them, `(3, T)`, for measured times."""
    slack = 1e-9 * rows[-1]
    after = np.minimum(np.searchsorted(own, rows - slack), len(own) - 1)
    before = np.where(own[after] > rows + slack, np.maximum(after - 1, 0), after)
    gap = own[after] - own[before]
    share = np.where(gap > 0, (rows - own[before]) / np.where(gap > 0, gap, 1.0), 0.0)
    nearest = np.rint(np.interp(own, rows, np.arange(len(rows))))
    return np.stack([nearest[before], nearest[after], share])


class GeneratedPaths(eqx.Module):
    """New series of a generator; that of a number is always the same.

    **Arguments:**

    - `generator`: trained.
    - `ts`: the times of the rows for the generator.
    - `table`: how deviations become values.
    """

    generator: SDEGenerator
    ts: Fixed
    table: Centred

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, 2)`: the number of the series, and times."""
        return by_number(points, self.table.times, self.sample)

    def sample(self, numbers: Any) -> np.ndarray:
        """Series at the rows `(n, T, c)`, by their numbers."""
        return self.table.decode(np.asarray(self._program(jnp.asarray(numbers)), float))

    @functools.cached_property
    def _program(self) -> Callable:
        return compiled((self.generator, self.ts), _new_paths)


def _new_paths(model: tuple[SDEGenerator, Fixed], numbers: Any) -> Any:
    """Deviations `(n, T, C)` by their numbers."""
    generator, ts = model
    return generator(ts.value, numbers, key=jax.random.key(0))
