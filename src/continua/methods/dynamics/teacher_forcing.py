r"""Recurrent maps of chaotic series, learned by generalised teacher forcing.

    z_t = F(s_{t-1}),   s_t = (1 - alpha) z_t + alpha zhat_t,
    L = mean |B z_t - x_t|^2 + penalty (|1-a|^2 + |W_1|^2 + |W_2|^2 + |h|^2),

over windows of the series, `z_t` before the forcing (`forcing.py`). `F` is a shallow
piecewise linear network or a Runge-Kutta step of a neural ordinary differential equation. `x`
is the measured row, or that and rows before it (delay embedding); the first states are `x`
itself (`zhat = x`, the others start at `L x`), or `zhat = pinv(B) x` with `B` learned.
Before a forecast the map reads the data, forced as strongly as forecasts within them are
best by: what training needs says little about how far measurements are to be believed.
"""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.base import AbstractLearnedMethod, Support, asked
from continua.methods.dynamics.even import delayed, even_series, evenly_spaced, without_gaps
from continua.methods.dynamics.forcing import AdaptiveForcing, forced_rollout
from continua.methods.dynamics.iterates import (
    AbstractMap,
    fixed_number,
    forecast_error,
    iterates_of,
    with_deviation,
)
from continua.methods.dynamics.model import members_of
from continua.methods.dynamics.observations import Scaling, scaling_of
from continua.nets import Fixed, ShallowPLRNN, VectorField
from continua.train import AbstractSampler, Adam, Exponential, Stage, Training

_CELLS = ("plrnn", "ode")
_SHORTEST = 10  # rows of a window
_READINGS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
_CONDITION = 1e-6  # weight of (1 - condition number)^2 of a learned observation


def forced_steps(steps: int, learning_rate: float = 1e-2) -> Training:
    """The training of a forced map: one stage of Adam, its rate falling to a hundredth.

    **Arguments:**

    - `steps`: how many.
    - `learning_rate`: at the start.
    """
    schedule = Exponential(rate=0.01, every=steps, warmup=min(100, max(1, steps // 10)))
    return Training((Stage(Adam(learning_rate, schedule), steps),))


class RungeKuttaMap(eqx.Module):
    """A map from row to row by fourth-order steps of a vector field.

    **Arguments:**

    - `field`: `dz/dt`, the time between two rows as its unit.
    - `substeps`: steps between two rows.
    """

    field: VectorField
    substeps: int = eqx.field(static=True)

    def __call__(self, z: Float[Array, " m"]) -> Float[Array, " m"]:
        h, field = 1 / self.substeps, self.field

        def step(z, _):
            k1 = field(0.0, z)
            k2 = field(0.0, z + h / 2 * k1)
            k3 = field(0.0, z + h / 2 * k2)
            k4 = field(0.0, z + h * k3)
            return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        # A loop within that over rows costs more than the step itself.
        return jax.lax.scan(step, z, None, self.substeps, unroll=min(self.substeps, 4))[0]


class ForcedMap(AbstractMap):
    """A map of hidden states, and how they are seen; a leading axis of members on arrays.

    **Arguments:**

    - `cell`: `F`.
    - `lift`: `L` `(m - n, n)`, or `None` where the states are `x` and no more.
    - `readout`: `B` `(n, m)`, or `None` where the first states are `x`.
    - `alpha`, `reading`: the strength of the forcing in training, and where data are read for
      a forecast, one a member.
    - `scaling`, `states`, `interval`: of the measured rows.
    - `dimension`, `delay`: of the delay embedding.
    """

    cell: Any
    lift: Float[Array, "*k r n"] | None
    readout: Float[Array, "*k n m"] | None
    alpha: Fixed
    reading: Fixed
    scaling: Scaling
    states: tuple[str, ...]
    interval: float
    dimension: int
    delay: int

    @property
    def memory(self) -> int:
        return 1 + (self.dimension - 1) * self.delay

    def signals(self, x: Float[Array, "T n"]) -> Float[Array, "T q"]:
        """What states are forced to, for one member."""
        return x if self.readout is None else x @ jnp.linalg.pinv(self.readout).T

    def start(self, signal: Float[Array, " q"]) -> Float[Array, " m"]:
        """The first state."""
        if self.lift is None:
            return signal
        return jnp.concatenate([signal, self.lift @ signal])

    def seen(self, z: Float[Array, "*T m"], count: int) -> Float[Array, "*T n"]:
        """What is measured of states, `count` numbers."""
        return z[..., :count] if self.readout is None else z @ self.readout.T

    def forced(self, x: Float[Array, "T n"], there, alpha) -> tuple[Any, Any]:
        """States before and after forcing along embedded rows, for one member."""
        signals = self.signals(x)
        if self.readout is not None:  # a state stands for all of a row
            there = jnp.broadcast_to(jnp.all(there, axis=1, keepdims=True), signals.shape)
        start = self.start(signals[0])
        return forced_rollout(self.cell, start, signals, alpha, there)

    def read(self, x, there, rows):
        embedded = delayed(x, self.dimension, self.delay)
        known = delayed(there, self.dimension, self.delay)
        lost, channels = self.memory - 1, x.shape[1]

        def one(member):
            before, after = member.forced(embedded, known, member.reading.value)
            told = member.seen(before, embedded.shape[1])[1:, :channels]
            return jnp.concatenate([x[: lost + 1], told]), after[rows - lost]

        return eqx.filter_vmap(one, in_axes=(eqx.if_array(0),))(self)

    def run(self, states, steps: int):
        channels = len(self.states)
        width = channels * self.dimension

        def one(member, state):
            def advance(z, _):
                z = member.cell(z)
                return z, member.seen(z, width)[:channels]

            return jax.lax.scan(advance, state, None, steps)[1]

        def many(member, states):
            return jax.vmap(lambda state: one(member, state))(states)

        return eqx.filter_vmap(many, in_axes=(eqx.if_array(0), 0))(self, states)

    def step(self, z: Float[Array, " m"]) -> Float[Array, " m"]:
        """One step of the first member, in scaled coordinates."""
        arrays, rest = eqx.partition(self.cell, eqx.is_array)
        return eqx.combine(jax.tree.map(lambda a: a[0], arrays), rest)(z)


class Windows(AbstractSampler):
    """Random windows of embedded series.

    **Arguments:**

    - `values`, `there`: `(r, L, n)`, gaps filled, and false in gaps.
    - `heads`: series and first row of every window there is, `(w, 2)`.
    - `length`: rows of a window; `count`: windows in a draw.
    """

    values: Any
    there: Any
    heads: Any
    length: int = eqx.field(static=True)
    count: int = eqx.field(static=True)

    def sample(self, step, model, *, key):
        chosen = jax.random.randint(
            jax.random.fold_in(key, step), (self.count,), 0, len(self.heads)
        )

        def cut(array, head):
            size = (1, self.length, array.shape[2])
            return jax.lax.dynamic_slice(array, (head[0], head[1], 0), size)[0]

        heads = self.heads[chosen]
        tables = {"values": self.values, "there": self.there}
        return {k: jax.vmap(lambda h, a=a: cut(a, h))(heads) for k, a in tables.items()}


@dataclasses.dataclass(frozen=True)
class TeacherForcing(AbstractLearnedMethod):
    """A recurrent map learned by generalised teacher forcing, for chaotic series.

    **Arguments:**

    - `cell`: `"plrnn"`, a shallow piecewise linear network, or `"ode"`, a Runge-Kutta step of
      a neural field.
    - `hidden`: width of its hidden layer, 50.
    - `size`: of the state, `None` for that of the embedded row.
    - `forcing`: `alpha`: an `AdaptiveForcing`, which costs twice the time, or a number from 0
      to 1; 0.1 to 0.3 where rows are close together.
    - `window`: rows in a window, 60.
    - `batch_size`: windows in a step, 32.
    - `dimension`, `delay`: of the delay embedding, 1 (none) and 1 row.
    - `observation`: `"identity"`, or `"affine"` to learn `B`.
    - `clipped`: whether the piecewise linear network is, `True`.
    - `substeps`: Runge-Kutta steps between two rows, 1.
    - `penalty`: of weights, 1e-5.
    - `members`: maps from different starts, 5; they give the spread.
    - `positive`: learn logarithms; `None` decides by the data.
    - `training`: Adam; where the forcing is adaptive a stage keeps its windows for as many
      steps as the forcing is kept.

    **Raises:** `InputError` for numbers out of range.

    **Reference:** hess2023generalized
    """

    cell: str = "plrnn"
    hidden: int = 50
    size: int | None = None
    forcing: float | AdaptiveForcing = AdaptiveForcing()
    window: int = 60
    batch_size: int = 32
    dimension: int = 1
    delay: int = 1
    observation: str = "identity"
    clipped: bool = True
    substeps: int = 1
    penalty: float = 1e-5
    members: int = 5
    positive: bool | None = None
    training: Training = forced_steps(6000)

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "hess2023generalized"
    amortised: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"

    def __post_init__(self):
        where = self.name
        for name, choices in (("cell", _CELLS), ("observation", ("identity", "affine"))):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"got '{getattr(self, name)}'",
                    where=f"{where}.{name}",
                    fix=f"give one of {', '.join(choices)}",
                )
        for name, least in (("dimension", 1), ("delay", 1), ("window", 2), ("members", 1)):
            if getattr(self, name) < least:
                raise InputError(
                    f"got {getattr(self, name)}",
                    where=f"{where}.{name}",
                    fix=f"give {least} or more",
                )
        if not isinstance(self.forcing, AdaptiveForcing):
            if not 0 <= self.forcing <= 1:
                raise InputError(
                    f"got {self.forcing:g}", where=f"{where}.forcing", fix="give 0 to 1, 0.2 say"
                )
            return
        if self.forcing.estimate == "parameters" and self.cell != "plrnn":
            raise InputError(
                "a bound from parameters is known of the piecewise linear network alone",
                where=f"{where}.forcing",
                fix="take AdaptiveForcing('product')",
            )
        every = self.forcing.every
        stages = (dataclasses.replace(s, refresh=every) for s in self.training.stages)
        kept = dataclasses.replace(self.training, stages=tuple(stages))
        object.__setattr__(self, "training", kept)

    def supports(self, problem) -> Support:
        lost = (self.dimension - 1) * self.delay
        if not (known := asked(problem, self.name, ("forecast",))).ok:
            return known
        if problem.equation is not None:
            return Support(False, f"{self.name} uses no equation, NeuralODE does")
        return evenly_spaced(problem, self.name, lost + _SHORTEST, "NeuralODE")

    def generate(self, problem) -> None:
        """Teacher forcing needs no data but the series of the problem."""

    def init(self, problem, *, key) -> ForcedMap:
        states = tuple(problem.variables)
        scaling = scaling_of(problem, states, self.positive)
        windows = self.batches(problem)
        count = windows.values.shape[2]
        size = self.size or count
        if self.observation == "identity" and size < count:
            raise InputError(
                f"{size} states for rows of {count} numbers",
                where=f"{self.name}.size",
                fix=f"give {count} or more, or observation='affine'",
            )
        rates = _rates(windows)
        affine = self.observation == "affine"

        def member(key):
            first, second = jax.random.split(key)
            rate = rates.mean() if affine or size > count else rates
            cell = self._cell(size, rate, first)
            if affine:  # Kaiming's deviation for a linear map
                return cell, None, jax.random.normal(second, (count, size)) / size**0.5
            spare = size - count
            lift = jax.random.normal(second, (spare, count)) / count**0.5 if spare else None
            return cell, lift, None

        cell, lift, readout = members_of(member, self.members, key=key)
        alpha = 1.0 if isinstance(self.forcing, AdaptiveForcing) else self.forcing
        (t, _), *_ = even_series(problem)
        interval = float(t[-1] - t[0]) / (len(t) - 1)
        alphas = fixed_number(alpha, self.members)
        return ForcedMap(
            cell=cell,
            lift=lift,
            readout=readout,
            alpha=alphas,
            reading=alphas,
            scaling=scaling,
            states=states,
            interval=interval,
            dimension=self.dimension,
            delay=self.delay,
        )

    def _cell(self, size: int, rate, key) -> ShallowPLRNN | RungeKuttaMap:
        if self.cell == "plrnn":
            return ShallowPLRNN(size, self.hidden, clipped=self.clipped, key=key)
        field = VectorField(size, width=self.hidden, depth=1, key=key)
        scale = jnp.asarray(rate, field.scale.dtype) * jnp.ones(size)
        return RungeKuttaMap(eqx.tree_at(lambda f: f.scale, field, scale), self.substeps)

    def batches(self, problem) -> Windows:
        scaling = scaling_of(problem, tuple(problem.variables), self.positive)
        values, there = [], []
        for _, y in even_series(problem):
            z = scaling.encode(y)
            values.append(delayed(without_gaps(z), self.dimension, self.delay))
            there.append(delayed(np.isfinite(z), self.dimension, self.delay))
        longest, shortest = (f(len(v) for v in values) for f in (max, min))
        length = min(self.window, shortest)
        heads = [(r, i) for r, v in enumerate(values) for i in range(len(v) - length + 1)]

        def stacked(tables, dtype):
            padded = [np.pad(x, ((0, longest - len(x)), (0, 0))) for x in tables]
            return jnp.asarray(np.stack(padded), dtype)

        count = self.batch_size * max(1, *(s.refresh for s in self.training.stages))
        dtype = jnp.zeros(()).dtype
        table, known = stacked(values, dtype), stacked(there, bool)
        return Windows(table, known, jnp.asarray(heads), length, count)

    def adapt(self, model: ForcedMap, batch, *, key) -> ForcedMap:
        """The model with the strength of the forcing that its Jacobians need."""
        if not isinstance(self.forcing, AdaptiveForcing):
            return model
        forcing, values = self.forcing, batch["values"][: self.batch_size]

        def one(member):
            states = jax.vmap(lambda x: jax.vmap(member.start)(member.signals(x)))(values)
            return forcing.updated(member.alpha.value, forcing.needed(member.cell, states))

        alpha = eqx.filter_vmap(one, in_axes=(eqx.if_array(0),))(model)
        return eqx.tree_at(lambda m: m.alpha.value, model, alpha)

    def loss(self, model: ForcedMap, batch, *, key):
        pool = batch["values"].shape[0]
        if pool > self.batch_size:  # some of the windows that are kept
            rows = jax.random.randint(key, (self.batch_size,), 0, pool)
            batch = jax.tree.map(lambda x: x[rows], batch)

        def one(member):
            forced = jax.vmap(lambda x, there: member.forced(x, there, member.alpha.value)[0])
            before = forced(batch["values"], batch["there"])
            gap = member.seen(before, batch["values"].shape[2]) - batch["values"]
            mask = batch["there"][:, 1:].astype(gap.dtype)
            data = jnp.sum(mask * gap[:, 1:] ** 2) / jnp.maximum(jnp.sum(mask), 1.0)
            return data, _weight(member, self.penalty)

        data, weight = eqx.filter_vmap(one, in_axes=(eqx.if_array(0),))(model)
        parts = {"data": jnp.mean(data), "alpha": jnp.mean(model.alpha.value)}
        return jnp.mean(data) + jnp.mean(weight), parts

    def finish(self, model: ForcedMap, problem) -> Solution:
        tried = [
            eqx.tree_at(lambda m: m.reading, model, fixed_number(r, self.members))
            for r in _READINGS
        ]
        errors = [forecast_error(m, problem) for m in tried]
        best = int(np.argmin(errors))
        evaluator = iterates_of(tried[best], problem)
        grid = problem.evaluation_grid()
        return Solution(
            method=self.name,
            unknowns=tuple(problem.variables),
            coordinates=tuple(grid),
            grid=grid,
            evaluator=evaluator,
            spread=with_deviation(evaluator),
            stats={"alpha": float(jnp.mean(model.alpha.value)), "reading": _READINGS[best]},
        )


def _weight(member: ForcedMap, penalty: float) -> Any:
    """What is added to the loss for the size of the parameters, for one member."""
    cell = member.cell
    if isinstance(cell, ShallowPLRNN):
        parts = [1 - cell.a, cell.w1, cell.w2, cell.h1, cell.h2]
    else:
        parts = [layer.weight for layer in cell.field.mlp.layers]
    parts += [] if member.lift is None else [member.lift]
    total = penalty * sum(jnp.sum(p**2) for p in parts)
    if member.readout is not None:
        sizes = jnp.linalg.svd(member.readout, compute_uv=False)
        total = total + _CONDITION * (1 - sizes[0] / sizes[-1]) ** 2
    return total


def _rates(windows: Windows) -> np.ndarray:
    """Root mean square of the change from row to row, a number for each channel."""
    values, there = np.asarray(windows.values, float), np.asarray(windows.there)
    both = there[:, 1:] & there[:, :-1]
    squares = (both * np.diff(values, axis=1) ** 2).sum(axis=(0, 1))
    rates = np.sqrt(squares / np.maximum(both.sum(axis=(0, 1)), 1))
    return np.where(rates > 0, rates, 1.0)
