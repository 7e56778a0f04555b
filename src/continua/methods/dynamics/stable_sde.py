r"""Stable neural stochastic differential equations that read series: three forms of drift and
noise that keep their solutions bounded on irregular and sparse data (Ito, diagonal noise).

    Langevin       dz = g(y) dt      + s(t) dW
    linear noise   dz = g(t, y) dt   + s(t) z dW
    geometric      dz = z g(t, y) dt + z s(t) dW,   z(t_0) > 0

with `y = A [u, B X(t)]`, `u` a linear map of `z`, or of `(sin t, cos t, z)` where `t` enters,
`X` the path through time, values and inputs, `z(t_0) = zeta(X(t_0))`, and networks `g`, `s`.
Steps of Euler and Maruyama lie on the rows of the series; a step to a row has the values of
that row. The geometric form is stepped by its logarithm,

    d log z = (g - s^2/2) dt + s dW,

exact for constant `g`, `s` and positive whatever the step. With `clip`, `g` ends in
`c tanh`, `c` learned, and noise is limited to `tanh(s)` and `tanh(s z)`. Time runs from 0 to
`horizon` over the longest series. The noise of a step is made from its number.
"""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from continua.core.errors import InputError
from continua.integrate.stochastic import brownian
from continua.methods.dynamics.reader import AbstractReader, reader_steps
from continua.methods.dynamics.sequences import (
    Sequence,
    SequenceScaling,
    path_size,
    sequence_scaling,
)
from continua.methods.dynamics.stability import StabilityReport, stability_of
from continua.nets import MLP, Linear, softplus
from continua.problems import SeriesProblem
from continua.train import Training


class Track(eqx.Module):
    """The knots of a path through one series, or many with a leading axis.

    **Arguments:**

    - `times`: of the rows, standing still behind the last one, `(L,)`.
    - `path`: values of the path there, `(L, P)`.
    - `statics`, `last`, `target`: as `Sequence`.
    """

    times: Float[Array, "*r L"]
    path: Float[Array, "*r L P"]
    statics: Float[Array, "*r T"]
    last: Int[Array, "*r"]
    target: Float[Array, "*r"]


@dataclasses.dataclass(frozen=True)
class TrackCoding:
    """How a series becomes knots; gaps are filled by straight lines.

    **Arguments:**

    - `counts`: whether the numbers of measurements are channels.
    """

    counts: bool

    def __call__(self, sequences: Sequence, scaling: SequenceScaling) -> Track:
        """The knots of stacked series."""
        path = sequences.path(counts=scaling.rows if self.counts else 0.0, straight=True)
        rest = (sequences.statics, sequences.last, sequences.target)
        return Track(sequences.times, path, *rest)


class Drift(eqx.Module):
    """`g(t, z, x)`: a network of a linear map of the state, time features and the path.

    **Arguments:**

    - `path`, `hidden`: channels of `x` and `z`.
    - `depth`: hidden layers.
    - `timed`: whether `t` enters.
    - `clip`: whether it ends in `c tanh`.
    """

    embed: Linear
    inner: Linear
    joined: Linear
    mlp: MLP
    scale: Float[Array, " h"] | None
    timed: bool = eqx.field(static=True)

    def __init__(self, path: int, hidden: int, depth: int, *, timed: bool, clip: bool, key):
        embed, inner, joined, mlp = jax.random.split(key, 4)
        self.embed = Linear(path, hidden, key=embed)
        self.inner = Linear(hidden + 2 * timed, hidden, key=inner)
        self.joined = Linear(2 * hidden, hidden, key=joined)
        self.mlp = MLP(hidden, hidden, width=hidden, depth=depth, activation=jax.nn.silu, key=mlp)
        self.scale = jnp.ones(hidden) if clip else None
        self.timed = timed

    def ahead(self, t: Any, x: Float[Array, " P"]) -> Float[Array, " h"]:
        """What of the linear maps is known without the state, apart from the loop."""
        size = self.inner.weight.shape[0]
        u = jnp.zeros(size, x.dtype)
        u = self.inner(jnp.concatenate([_clock(t, x.dtype), u]) if self.timed else u)
        return self.joined(jnp.concatenate([u, self.embed(x)]))

    def after(self, z: Float[Array, " h"], ahead: Float[Array, " h"]) -> Float[Array, " h"]:
        """`g`, of what `ahead` gave and the state."""
        size = z.shape[0]
        matrix = self.joined.weight[:, :size] @ self.inner.weight[:, -size:]
        raw = self.mlp(matrix @ z + ahead)
        return raw if self.scale is None else self.scale * jnp.tanh(raw)


class Noise(eqx.Module):
    """`s(t) = sigmoid(theta) softplus(MLP(sin t, cos t))`, `(h,)`.

    A rectifier in place of softplus would let noise die for good.

    **Arguments:**

    - `hidden`: size of the state.
    - `start`: about the size of the noise at the start.
    """

    mlp: MLP
    theta: Float[Array, ""]

    def __init__(self, hidden: int, start: float = 0.1, *, key):
        mlp = MLP(2, hidden, width=hidden, depth=1, activation=softplus, key=key)
        # softplus(b) = e^b for small ones.
        shift = jnp.log(jnp.expm1(start / jax.nn.sigmoid(1.0))) * jnp.ones(hidden)
        self.mlp = eqx.tree_at(lambda m: m.layers[-1].bias, mlp, shift)
        self.theta = jnp.ones(())

    def __call__(self, t: Any) -> Float[Array, " h"]:
        raw = self.mlp(_clock(t, self.theta.dtype))
        return jax.nn.sigmoid(self.theta) * softplus(raw)


def _clock(t: Any, dtype: Any) -> Array:
    t = jnp.asarray(t, dtype)
    return jnp.stack([jnp.sin(t), jnp.cos(t)])


class StableField(eqx.Module):
    """Drift and noise of one of the three kinds.

    **Arguments:**

    - `kind`: `"langevin"`, `"linear"` or `"geometric"`.
    - `g`: has `ahead(t, x)`, what is known without the state, and `after(z, ahead)`.
    - `s`: `t -> (h,)`.
    - `clip`: whether noise is limited by tanh.
    """

    g: Any
    s: Any
    kind: str = eqx.field(static=True)
    clip: bool = eqx.field(static=True)

    def drift(self, t: Any, z: Float[Array, " h"], x: Float[Array, " P"]) -> Float[Array, " h"]:
        """What multiplies `dt`."""
        g = self.g.after(z, self.g.ahead(t, x))
        return z * g if self.kind == "geometric" else g

    def diffusion(self, t: Any, z: Float[Array, " h"]) -> Float[Array, " h"]:
        """What multiplies `dW`, component by component."""
        return self._noise(self.s(t), z)

    def _noise(self, s, z):
        if self.kind == "linear":
            return jnp.tanh(s * z) if self.clip else s * z
        s = jnp.tanh(s) if self.clip else s
        return z * s if self.kind == "geometric" else s

    def rows(self, t: Float[Array, " I"], x: Float[Array, "I P"]) -> tuple[Any, Any]:
        """What all steps take that does not hang on the state.

        **Arguments:**

        - `t`: times of their heads; `x`: the path at their ends.
        """
        return jax.vmap(self.g.ahead)(t, x), jax.vmap(self.s)(t)

    def step(self, z: Float[Array, " h"], row: tuple[Any, Any], h: Any, dw: Any):
        """The state after a step: Euler and Maruyama, in the logarithm where geometric.

        **Arguments:**

        - `z`: the state; `row`: of this step from `rows`.
        - `h`: the step; `dw`: what the Brownian motion does in it.
        """
        g, s = self.g.after(z, row[0]), row[1]
        if self.kind != "geometric":
            return z + g * h + self._noise(s, z) * dw
        s = jnp.tanh(s) if self.clip else s
        return z * jnp.exp((g - s**2 / 2) * h + s * dw)


def trajectory(field: Any, start: Float[Array, " h"], times, path, *, key, unit: float = 1.0):
    """States `(L, h)` of a stochastic equation at given times, the start first.

    **Arguments:**

    - `field`: has `rows(t, x)` and `step(z, row, h, dw)`.
    - `start`: the state at the first time.
    - `times`: `(L,)`; equal neighbours repeat the state.
    - `path`: what is read, `(L, P)`.
    - `unit`: of the times.
    - `key`: of the noise, which is a function of the number of the step.
    """
    # Differences first: those of scaled times need not be 0 where equal times are compiled.
    steps = unit * jnp.diff(times)
    seed = brownian.seeds(key, jnp.zeros(1), start.shape[0])
    # Series are short: one table of noise costs less than drawing it in the loop.
    normal = brownian.normal(seed, jnp.arange(steps.shape[0]), 0, start.dtype)
    dw = jnp.sqrt(steps)[:, None] * normal.T

    def step(z, row):
        z = field.step(z, *row)
        return z, z

    _, states = jax.lax.scan(step, start, (field.rows(unit * times[:-1], path[1:]), steps, dw))
    return jnp.concatenate([start[None], states])


class StochasticNetwork(eqx.Module):
    """A stochastic equation that reads a series, and a network of its last state.

    **Arguments:**

    - `zeta`: `(X(t_0), statics)` to the state at the start.
    - `field`: has `rows(t, x)` and `step(z, row, h, dw)`.
    - `head`: the last state to scores.
    - `horizon`: time of the longest series.
    - `positive`: whether the state starts above 0.
    """

    zeta: Linear
    field: Any
    head: MLP
    horizon: float = eqx.field(static=True)
    positive: bool = eqx.field(static=True)

    def states(self, series: Track, *, key) -> Float[Array, "L h"]:
        """The hidden state at every row."""
        start = self.zeta(jnp.concatenate([series.path[0], series.statics]))
        if self.positive:
            start = softplus(start) + 1e-4
        return trajectory(self.field, start, series.times, series.path, key=key, unit=self.horizon)

    def __call__(self, series: Track, *, key) -> Float[Array, " K"]:
        """The scores of one series, for one draw of noise."""
        return self.head(self.states(series, key=key)[-1])


@dataclasses.dataclass(frozen=True)
class AbstractStochasticReader(AbstractReader):
    """A reader by a stochastic equation, answers averaged over draws of its noise.

    **Arguments:**

    - `hidden`: size of the state and of all layers, 32.
    - `depth`: hidden layers of the drift, 1.
    - `horizon`: time of the longest series, 10.
    - `draws`: of the noise, averaged in answers, 10; in training there is one.
    - `batch_size`: series in a step of training, 32.
    - `training`: Adam with a cosine.

    **Raises:** `InputError` for sizes below 1 and a horizon that is not positive.
    """

    hidden: int = 32
    depth: int = 1
    horizon: float = 10.0
    draws: int = 10
    batch_size: int = 32
    training: Training = reader_steps(600)

    kind: ClassVar[str] = "learned"
    amortised: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"

    def __post_init__(self):
        for name in ("hidden", "batch_size", "draws"):
            if (got := getattr(self, name)) < 1:
                raise InputError(f"got {got}", where=f"{self.name}.{name}", fix="give 1 or more")
        if not self.horizon > 0:
            raise InputError(
                f"got {self.horizon:g}",
                where=f"{self.name}.horizon",
                fix="give a positive time",
            )


@dataclasses.dataclass(frozen=True)
class AbstractStableSDE(AbstractStochasticReader):
    """A reader by a stochastic equation of the kind `form`, which subclasses state.

    **Arguments:** as `AbstractStochasticReader`, and

    - `clip`: whether drift and noise are limited, `True`.
    - `counts`: whether the numbers of measurements are channels of the path, `False`.
    """

    clip: bool = True
    counts: bool = False

    form: ClassVar[str]
    reference: ClassVar[str] = "oh2024stable"

    @property
    def coding(self) -> TrackCoding:
        """How series become knots."""
        return TrackCoding(self.counts)

    def network(self, problem, size, *, key) -> StochasticNetwork:
        path = path_size(problem, counts=self.counts)
        zeta, drift, noise, head = jax.random.split(key, 4)
        timed, hidden, clip = self.form != "langevin", self.hidden, self.clip
        field = StableField(
            Drift(path, hidden, self.depth, timed=timed, clip=clip, key=drift),
            Noise(hidden, key=noise),
            self.form,
            clip,
        )
        return StochasticNetwork(
            Linear(path + len(problem.statics), hidden, key=zeta),
            field,
            MLP(hidden, size, width=hidden, depth=1, activation=jax.nn.relu, key=head),
            self.horizon,
            self.form == "geometric",
        )

    def check_stability(self, model: StochasticNetwork, problem: SeriesProblem) -> StabilityReport:
        """Whether a model meets what the theory of its form asks for.

        **Arguments:**

        - `model`: trained or not, `solution.evaluator.model` of a solution.
        - `problem`: whose first series say where the state goes.
        """
        numbers = range(min(16, len(problem.series)))
        series = self.arrays(problem, sequence_scaling(problem), numbers)
        return stability_of(model, series)


@dataclasses.dataclass(frozen=True)
class LangevinSDE(AbstractStableSDE):
    """Additive noise: `dz = g(y) dt + s(t) dW`, `g` blind to time.

    **Arguments:** as `AbstractStableSDE`.

    **Raises:** `InputError` for sizes below 1 and a horizon that is not positive.

    **Reference:** oh2024stable
    """

    form: ClassVar[str] = "langevin"


@dataclasses.dataclass(frozen=True)
class LinearNoiseSDE(AbstractStableSDE):
    """Noise that grows with the state: `dz = g(t, y) dt + s(t) z dW`.

    **Arguments:** as `AbstractStableSDE`.

    **Raises:** `InputError` for sizes below 1 and a horizon that is not positive.

    **Reference:** oh2024stable
    """

    form: ClassVar[str] = "linear"


@dataclasses.dataclass(frozen=True)
class GeometricSDE(AbstractStableSDE):
    """States above 0: `dz = z g(t, y) dt + z s(t) dW`, stepped by the logarithm.

    **Arguments:** as `AbstractStableSDE`, but

    - `horizon`: 6, over which states change by factors of `e^6` at the most to begin with.

    **Raises:** `InputError` for sizes below 1 and a horizon that is not positive.

    **Reference:** oh2024stable
    """

    horizon: float = 6.0

    form: ClassVar[str] = "geometric"
