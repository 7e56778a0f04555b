r"""Neural controlled differential equations: a hidden state that a path through the data drives.

    z(t_0) = zeta(X(t_0)),     dz = F(z) dX,     scores = a linear map of z(t_n),

`X` a path through time, values and inputs, and with `counts` through the numbers of
measurements; `F: R^h -> R^{h x P}` a network that ends in tanh, without which `z` grows
exponentially with the length of the path. With `rank`, `F = U V`, `U (h, r)`, `V (r, P)`.

Steps lie on the rows of a series, with `X'` in closed form: in the interval `h_i` from row `i`
a control has the slopes `D_i` (linear), or from `b_i = D_{i-1}` to `D_i` (Hermite),

    X' = b + (D - b) (4 u - 3 u^2),   u = (t - t_i) / h_i.

Both methods of steps integrate these polynomials exactly: where `F` is constant
`z(t_n) = zeta + F (X(t_n) - X(t_0))` to rounding. Of the paths,

- `"rectilinear"` never looks ahead: time moves on, then the values jump to the new ones,
  gaps keep the last value. The state at a row depends on what came up to it alone;
- `"linear"`, `"hermite"`: so does it where no value is missing, but gaps are filled by
  straight lines, which look ahead to the next value;
- `"log_signature"`: windows of several rows enter as a whole, by the logarithm of the
  signature of the straight lines in them,

      z <- z + int_0^1 G(z) L_k du,   G: R^h -> R^{h x beta},

  so that long series take few steps.
"""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from continua.core.errors import InputError, suggest
from continua.core.solution import Solution
from continua.integrate.controlled import log_signature_control, lyndon_words, rectilinear
from continua.methods.dynamics.reader import AbstractReader, Told, reader_steps
from continua.methods.dynamics.sequences import Sequence, SequenceScaling, path_size
from continua.nets import MLP, Linear
from continua.train import Training

CONTROLS = ("hermite", "linear", "rectilinear", "log_signature")
# Where stages lie, what each takes of the one before it, and their weights. Both sum
# polynomials of degree 2 exactly, which the slopes of Hermite controls are.
STEPS: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]] = {
    "ralston": ((0.0, 2 / 3), (0.0, 2 / 3), (1 / 4, 3 / 4)),
    "rk4": ((0.0, 1 / 2, 1 / 2, 1.0), (0.0, 1 / 2, 1 / 2, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}

_START = 0.1  # of the size that weights of the field usually start with


class Driven(eqx.Module):
    """What drives the hidden state along one series, or many with a leading axis.

    **Arguments:**

    - `start`: the path at its first row, `(P,)`.
    - `rates`: for each step and stage its derivative times the step, `(I, S, B)`, 0 behind
      the last row.
    - `statics`, `last`, `target`: as `Sequence`.
    """

    start: Float[Array, "*r P"]
    rates: Float[Array, "*r I S B"]
    statics: Float[Array, "*r T"]
    last: Int[Array, "*r"]
    target: Float[Array, "*r"]


@dataclasses.dataclass(frozen=True)
class ControlCoding:
    """How a series becomes the steps of a control, computed once before training.

    **Arguments:**

    - `control`, `counts`, `window`, `log_depth`, `steps`, `substeps`: as `NeuralCDE`.
    """

    control: str
    counts: bool
    window: int
    log_depth: int
    steps: str
    substeps: int

    def __call__(self, sequences: Sequence, scaling: SequenceScaling) -> Driven:
        """The steps of stacked series."""
        counts = scaling.rows if self.counts else 0.0
        path = sequences.path(counts=counts, straight=self.control != "rectilinear")
        rates = jax.vmap(self.rates)(sequences.knots, path, sequences.last)
        return Driven(path[:, 0], rates, sequences.statics, sequences.last, sequences.target)

    def rates(self, knots: Float[Array, " L"], path: Float[Array, "L P"], last: Any):
        """Derivatives times steps at all stages, `(I, S, B)`.

        **Arguments:**

        - `knots`: increasing.
        - `path`: values there, without gaps.
        - `last`: the row after which the path stands still.
        """
        if self.control == "log_signature":
            control = log_signature_control(knots, path, self.window, self.log_depth)
            return self._repeated(jnp.diff(control.xs, axis=0))
        if self.control == "rectilinear":
            return self._repeated(jnp.diff(rectilinear(path[:, 0], path[:, 1:]).xs, axis=0))
        moves = jnp.diff(path, axis=0)
        if self.control == "linear":
            return self._repeated(moves)
        steps = jnp.diff(knots)[:, None]
        before = jnp.concatenate([moves[:1], moves[:-1] * (steps[1:] / steps[:-1])])
        # The slope of the last measured interval does not go on behind it.
        before = jnp.where(jnp.arange(moves.shape[0])[:, None] < last, before, 0)
        u = self._places(path.dtype)
        rates = before[:, None] + (moves - before)[:, None] * (4 * u - 3 * u**2)[:, None]
        return rates.reshape(-1, len(STEPS[self.steps][0]), path.shape[1]) / self.substeps

    def _places(self, dtype: Any) -> Array:
        """The stages of all substeps as parts of an interval."""
        stages = np.array(STEPS[self.steps][0])
        return jnp.asarray((np.arange(self.substeps)[:, None] + stages).ravel() / self.substeps,
                           dtype)  # fmt: skip

    def _repeated(self, moves: Array) -> Array:
        """Rates that do not change within an interval."""
        rates = jnp.repeat(moves / self.substeps, self.substeps, axis=0)
        return jnp.repeat(rates[:, None], len(STEPS[self.steps][0]), axis=1)

    def channels(self, size: int) -> int:
        """The number of channels of the rates.

        **Arguments:**

        - `size`: of the path.
        """
        deep = self.log_depth if self.control == "log_signature" else 1
        return len(lyndon_words(size, deep))

    def step_of_row(self, row: Any) -> Any:
        """How many steps lead to a row."""
        return row * self.substeps * (2 if self.control == "rectilinear" else 1)


def driven(field: Any, start: Float[Array, " h"], rates: Float[Array, "I S B"], steps: str):
    """States `(I + 1, h)` of `dz = F(z) dX`, the start among them.

    **Arguments:**

    - `field`: `(z, rate) -> F(z) rate`.
    - `start`: the first state.
    - `rates`: from `ControlCoding`.
    - `steps`: a name in `STEPS`.
    """
    _, inner, weights = STEPS[steps]

    def step(z, rate):
        slope, total = jnp.zeros_like(z), z
        for i, (a, b) in enumerate(zip(inner, weights, strict=True)):
            slope = field(z + a * slope if i else z, rate[i])
            total = total + b * slope
        return total, total

    _, states = jax.lax.scan(step, start, rates)
    return jnp.concatenate([start[None], states])


class ControlledNetwork(eqx.Module):
    """A neural controlled differential equation with a linear map of its state.

    **Arguments:**

    - `path`, `channels`, `statics`, `size`: of the control, its rates, the series and scores.
    - `hidden`: of the state; `width`, `depth`: of the network in the field.
    - `rank`: of the field; `None` for full.
    - `coding`: says the steps.
    """

    zeta: Linear
    mlp: MLP
    head: Linear
    rank: int | None = eqx.field(static=True)
    coding: ControlCoding = eqx.field(static=True)

    def __init__(self, path, channels, statics, size, hidden, width, depth, rank, coding, *, key):
        zeta, mlp, head = jax.random.split(key, 3)
        outputs = hidden * channels if rank is None else rank * (hidden + channels)
        activation = jax.nn.silu
        self.zeta = Linear(path + statics, hidden, key=zeta)
        mlp = MLP(hidden, outputs, width=width, depth=depth, activation=activation, key=mlp)
        # A field that starts small: long, rough paths would saturate it before it has learned.
        last = mlp.layers[-1].weight
        self.mlp = eqx.tree_at(lambda m: m.layers[-1].weight, mlp, _START * last)
        self.head = Linear(hidden, size, key=head)
        self.rank, self.coding = rank, coding

    def field(self, z: Float[Array, " h"], rate: Float[Array, " B"]) -> Float[Array, " h"]:
        """`F(z)` times a rate."""
        matrix = jnp.tanh(self.mlp(z))
        if self.rank is None:
            return matrix.reshape(z.shape[0], -1) @ rate
        left, right = jnp.split(matrix, [self.rank * z.shape[0]])
        right = right.reshape(self.rank, -1) @ rate
        return left.reshape(z.shape[0], self.rank) @ right / self.rank

    def states(self, series: Driven) -> Float[Array, "I1 h"]:
        """The hidden state before and after every step."""
        start = self.zeta(jnp.concatenate([series.start, series.statics]))
        return driven(self.field, start, series.rates, self.coding.steps)

    def __call__(self, series: Driven, *, key=None) -> Float[Array, " K"]:
        """The scores of one series."""
        return self.head(self.states(series)[-1])

    def along(self, series: Driven) -> Float[Array, "L K"]:
        """The scores at every row of one series, the last ones repeated behind it."""
        states = self.states(series)
        rows = self.coding.step_of_row(jnp.arange(states.shape[0]))
        count = 1 + (states.shape[0] - 1) // self.coding.step_of_row(1)
        return jax.vmap(self.head)(states[rows[:count]])


@dataclasses.dataclass(frozen=True)
class NeuralCDE(AbstractReader):
    r"""A neural controlled differential equation, `dz = F(z) dX`.

    **Arguments:**

    - `control`: the path, `"hermite"` (cubic, backward differences), `"linear"`,
      `"rectilinear"` (looks at nothing that is still to come) or `"log_signature"`.
    - `counts`: whether the numbers of measurements are channels of the path, `False`; of use
      where it tells something when and what is measured.
    - `window`, `log_depth`: rows to a step and depth of the log-signatures, 8 and 2.
    - `hidden`: size of the state, 32.
    - `width`, `depth`: of the network in the field, 32 and 1.
    - `rank`: of the field as a matrix; `None` for full.
    - `steps`: `"ralston"`, of order 2, or `"rk4"`; `substeps`: between two knots, 1.
    - `batch_size`: series in a step of training, 32.
    - `training`: Adam with a cosine.

    **Raises:** `InputError` for another control or method of steps, and numbers below 1.

    **Reference:** kidger2020neural
    """

    control: str = "hermite"
    counts: bool = False
    window: int = 8
    log_depth: int = 2
    hidden: int = 32
    width: int = 32
    depth: int = 1
    rank: int | None = None
    steps: str = "ralston"
    substeps: int = 1
    batch_size: int = 32
    training: Training = reader_steps(600)

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "kidger2020neural"
    amortised: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"

    def __post_init__(self):
        for name, known in (("control", CONTROLS), ("steps", tuple(STEPS))):
            if (got := getattr(self, name)) not in known:
                raise InputError(f"got '{got}'", where=f"NeuralCDE.{name}", fix=suggest(got, known))
        for name in ("window", "hidden", "width", "substeps", "batch_size"):
            if (got := getattr(self, name)) < 1:
                raise InputError(f"got {got}", where=f"NeuralCDE.{name}", fix="give 1 or more")
        lyndon_words(1, self.log_depth)

    @property
    def coding(self) -> ControlCoding:
        """How series become steps."""
        return ControlCoding(
            self.control, self.counts, self.window, self.log_depth, self.steps, self.substeps
        )

    def network(self, problem, size, *, key) -> ControlledNetwork:
        path = path_size(problem, counts=self.counts)
        return ControlledNetwork(
            path,
            self.coding.channels(path),
            len(problem.statics),
            size,
            self.hidden,
            self.width,
            self.depth,
            self.rank,
            self.coding,
            key=key,
        )


def read_along(solution: Solution, series: Any, statics: Any = ()) -> list[np.ndarray]:
    """What a trained `NeuralCDE` tells after each row of series, as they come in.

    With the rectilinear control an answer depends on the rows up to it alone; with the
    others it does where no value is missing.

    **Arguments:**

    - `solution`: of a `NeuralCDE`.
    - `series`: of the channels that were learned from.
    - `statics`: a row for each series, where the problem has any.

    **Returns:** for each series probabilities of the classes, or numbers, `(T, K)`.

    **Raises:** `InputError` for another solution, and for log-signatures, whose steps end
    at windows.
    """
    told = solution.evaluator
    if not isinstance(told, Told) or not isinstance(told.model, ControlledNetwork):
        raise InputError(
            f"{solution.method} has no state at every row", where="read_along", fix="use NeuralCDE"
        )
    if told.model.coding.control == "log_signature":
        raise InputError(
            "log-signatures have a state at the ends of windows only",
            where="read_along",
            fix='train with control="rectilinear"',
        )
    scores = np.asarray(_along(told.model, told.arrays(series, statics)), float)
    if told.scaling.classes:
        values = np.exp(scores - scores.max(axis=-1, keepdims=True))
        values = values / values.sum(axis=-1, keepdims=True)
    else:
        values = told.scaling.target_mean + told.scaling.target_std * scores
    return [v[: len(s.t)] for v, s in zip(values, series, strict=True)]


@eqx.filter_jit  # whose programs are kept, for series that go on
def _along(model: ControlledNetwork, series: Any) -> Any:
    """Scores `(n, T, K)` at all rows."""
    return jax.vmap(model.along)(series)
