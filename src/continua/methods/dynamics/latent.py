r"""Latent ODE and latent SDE: series as views of a hidden state that moves by itself.

Trained by the bound on the likelihood of `latent_model`, its divergences weighted by a
number that rises from 0 to 1 in the first part of training. Long series are cut into
windows; all share one grid of hidden states. Answers are means over draws of the posterior
on the data, and from the last window on over free runs of the prior; their deviations hold
the spread of the draws and the noise of the data.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.errors import InputError
from continua.core.solution import Estimate, Solution
from continua.methods.base import AbstractLearnedMethod, Support, asked
from continua.methods.dynamics.latent_model import LatentModel
from continua.methods.dynamics.latent_series import Generated, Generation
from continua.methods.dynamics.latent_solve import steps_of
from continua.methods.dynamics.latent_window import Pace, Window
from continua.methods.dynamics.memory import Memory
from continua.methods.dynamics.observations import scaling_of
from continua.methods.dynamics.regularise import SolverRegulariser
from continua.methods.dynamics.rows import Rows
from continua.methods.dynamics.sequences import SequenceScaling, sequence_scaling
from continua.nets import compiled
from continua.problems import Series, SeriesProblem
from continua.train import Adam, Cosine, Ramped, Shuffled, Stage, Training

_RISE = 0.25  # of training, in which the weight of the divergences rises
_BEYOND = 0.5  # spans of a window that are forecast beyond the last row
_NORMAL = 1.4826  # deviation of a normal number over the median of its size
_EVEN = 1e-3  # of a step, by which the times of rows may differ from those of the grid


def latent_steps(steps: int, learning_rate: float = 5e-3) -> Training:
    """The training of a latent model: one stage of Adam with a cosine.

    **Arguments:**

    - `steps`: how many.
    - `learning_rate`: at the start.
    """
    return Training((Stage(Adam(learning_rate, Cosine(0.02), clip=1.0), steps),))


@dataclasses.dataclass(frozen=True)
class AbstractLatent(AbstractLearnedMethod):
    """Hidden dynamics behind series; subclasses state whether they are `noisy`.

    **Arguments:**

    - `states`: hidden ones, 4.
    - `width`, `depth`: of the networks, 32 and 2; `context`: what the reader keeps, 32.
    - `substeps`: steps between two rows, 2: of Runge and Kutta, with noise of Euler and
      Maruyama.
    - `window`: rows of a piece of a long series, `None` for whole series up to 100 rows.
    - `time_dependent`: whether the dynamics see the time since the first row, `False`.
    - `draws`: of the answers, 100.
    - `importance_draws`: of the posterior in the bound of a window, 1; the logarithm of the
      mean of the weights of more is a tighter bound, which takes as many times as long. The
      draws of answers are then weighted likewise.
    - `batch_size`: windows in a step, 64.
    - `positive`: learn logarithms; `None` decides by the data.
    - `training`: Adam with a cosine.
    - `tolerance`: relative and absolute, in hidden states, of adaptive steps, `None`: of
      `Tsit5` in place of `substeps`. A latent SDE is trained on its grid all the same, and the
      steps are those of `SPaRK` through its prior. The solution's `stats` count them a window.
    - `regulariser`: a `SolverRegulariser` of these steps, `None`.

    **Raises:** `InputError` for a regulariser alone, for no draw, and for a tolerance where noise
    remembers.
    """

    states: int = 4
    width: int = 32
    depth: int = 2
    context: int = 32
    substeps: int = 2
    window: int | None = None
    time_dependent: bool = False
    draws: int = 100
    importance_draws: int = 1
    batch_size: int = 64
    positive: bool | None = None
    training: Training = latent_steps(2000)
    tolerance: float | None = None
    regulariser: SolverRegulariser | None = None

    noisy: ClassVar[bool]
    kind: ClassVar[str] = "learned"
    amortised: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"

    def __post_init__(self):
        if self.tolerance is not None and not self.tolerance > 0:
            raise InputError(
                f"got {self.tolerance}", where=f"{self.name}.tolerance", fix="give one such as 1e-4"
            )
        if self.importance_draws < 1:
            raise InputError(
                f"got {self.importance_draws}",
                where=f"{self.name}.importance_draws",
                fix="give 1, or 8 for a tighter bound",
            )
        if self.regulariser is not None and self.tolerance is None:
            raise InputError(
                "fixed steps cost the same whatever the field",
                where=f"{self.name}.regulariser",
                fix="give tolerance=1e-4 too, of adaptive steps",
            )

    def supports(self, problem) -> Support:
        tasks = ("forecast", "interpolate", "generate")
        return asked(problem, self.name, tasks, takes=("inputs", "statics"))

    def generate(self, problem) -> None:
        """A latent model needs no data but the series of the problem."""

    def init(self, problem, *, key) -> LatentModel:
        layout = layout_of(problem, self.window, self.substeps, self.positive)
        longest = max(len(s.t) for s in layout.series)
        if self.time_dependent and longest > layout.rows:
            raise InputError(
                f"series of {longest} rows are cut into windows of {layout.rows}, which lose the "
                "time since the first row",
                where=f"{self.name}.time_dependent",
                fix=f"give window={longest}, or leave time_dependent out",
            )
        if (memory := self.memory(layout)) is not None and self.tolerance is not None:
            raise InputError(
                "the steps of noise that remembers are exact for its memories, and fixed",
                where=f"{self.name}.tolerance",
                fix="leave it out, or take LatentSDE",
            )
        return LatentModel(
            self.states,
            len(problem.variables),
            len(problem.inputs) + len(problem.statics),
            width=self.width,
            depth=self.depth,
            context=self.context,
            noisy=self.noisy,
            time_dependent=self.time_dependent,
            pace=layout.pace,
            memory=memory,
            tolerance=self.tolerance,
            key=key,
        )

    @abc.abstractmethod
    def memory(self, layout: "Layout") -> Memory | None:
        """The memory of the noise; `None` for white noise or none."""

    def batches(self, problem) -> Ramped:
        layout = layout_of(problem, self.window, self.substeps, self.positive)
        return Ramped(Shuffled(layout.windows(), self.batch_size), max(1, self.training.steps))

    def loss(self, model: LatentModel, batch, *, key):
        windows, progress = batch
        weight = jnp.minimum(progress / _RISE, 1.0)
        keys = jax.random.split(key, windows.share.shape[0])

        def one(window, key):
            own = {"draws": self.importance_draws, "regulariser": self.regulariser}
            return model.bound(window, weight, key=key, **own)

        bounds, parts = jax.vmap(one)(windows, keys)
        count = jnp.sum(windows.mask)
        total, solver = -jnp.sum(bounds) / count, parts.pop("solver", None)
        parts = {name: jnp.sum(value) / count for name, value in parts.items()}
        if self.regulariser is not None:
            parts["solver"] = jnp.mean(solver)
            total = total + self.regulariser.weight_at(progress) * parts["solver"]
        return total, parts

    def finish(self, model: LatentModel, problem) -> Solution:
        layout = layout_of(problem, self.window, self.substeps, self.positive)
        if problem.task == "generate":
            evaluator: Any = Generated(model, layout.generation())
            spread = None
        else:
            evaluator = _answers(model, layout, self.draws, self.importance_draws > 1)
            spread = dataclasses.replace(evaluator, deviation=True)
        grid, memory = problem.evaluation_grid(), model.memory
        learned = memory is not None and memory.learned
        return Solution(
            method=self.name,
            unknowns=tuple(problem.variables),
            coordinates=tuple(grid),
            grid=grid,
            evaluator=evaluator,
            parameters={"hurst": Estimate(float(memory.hurst))} if memory and learned else {},
            spread=spread,
            stats={} if model.tolerance is None else steps_of(model, layout.windows()),
        )


@dataclasses.dataclass(frozen=True)
class LatentODE(AbstractLatent):
    """A hidden ordinary differential equation, its start told by a network that reads the
    series backwards.

    **Arguments:** as `AbstractLatent`.

    **Reference:** rubanova2019latent
    """

    reference: ClassVar[str] = "rubanova2019latent"
    noisy: ClassVar[bool] = False

    def memory(self, layout) -> None:
        """There is none."""


@dataclasses.dataclass(frozen=True)
class LatentSDE(AbstractLatent):
    """A hidden stochastic differential equation (Ito, diagonal noise), with a posterior that
    is steered by the data still to come.

    **Arguments:** as `AbstractLatent`.

    **Reference:** li2020scalable
    """

    reference: ClassVar[str] = "li2020scalable"
    noisy: ClassVar[bool] = True

    def memory(self, layout) -> None:
        """White noise has none."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the series of a problem lie on the grid of hidden states.

    **Arguments:**

    - `scaling`: of channels and times; one row's step is `1 / steps` of nothing else.
    - `log`: whether values are logarithms.
    - `series`: what may be seen of each, up to the split.
    - `whole`: each with all of its times and inputs.
    - `statics`: scaled, a row a series.
    - `rows`: most rows of a window.
    - `nodes`: steps of the grid in a window.
    - `unit`: the time of one step of the grid, in the units of the problem.
    - `pace`: of the data.
    """

    scaling: SequenceScaling
    log: bool
    series: tuple[Series, ...]
    whole: tuple[Series, ...]
    statics: np.ndarray
    rows: int
    nodes: int
    unit: float
    pace: Pace

    def windows(self) -> Window:
        """All windows to learn from, stacked."""
        pieces = [w for r in range(len(self.series)) for w in self.training(r)]
        return jax.tree.map(lambda *x: jnp.stack(x), *pieces)

    def training(self, r: int) -> list[Window]:
        """The windows of a series to learn from: overlapping by half."""
        count = len(self.series[r].t)
        stride = max(1, (self.rows - 1) // 2)
        last = max(count - self.rows, 0)
        begins = sorted({*range(0, last, stride), last})
        return [self.window(r, b, min(b + self.rows, count)) for b in begins]

    def answering(self, r: int) -> list[tuple[int, int]]:
        """First and last row (behind it) of the windows that answer for a series: they meet
        at their ends, and the last is as long as it can be."""
        count = len(self.series[r].t)
        ends = [count]
        while ends[-1] > self.rows:
            ends.append(ends[-1] - self.rows + 1)
        return [(max(e - self.rows, 0), e) for e in reversed(ends)]

    def window(self, r: int, begin: int, end: int) -> Window:
        """Some rows of a series."""
        series, dtype = self.series[r].rows(_slice(len(self.series[r].t), begin, end)), _dtype()
        y = np.log(series.y) if self.log else series.y
        here = len(self.scaling.variables)
        scaled = (y - self.scaling.mean[:here]) / self.scaling.std[:here]
        there = np.isfinite(scaled)
        times = (series.t - series.t[0]) / self.unit  # in steps of the grid
        pad = self.rows - len(times)
        node = np.clip(np.floor(times + _EVEN).astype(int), 0, self.nodes - 1)
        share = np.clip(times - node, 0.0, 1.0)
        measured = np.flatnonzero(there.any(axis=1))
        ahead = np.searchsorted(times[measured], np.arange(self.nodes) + _EVEN)
        following = np.append(measured, self.rows)[np.minimum(ahead, len(measured))]
        return Window(
            times=jnp.asarray(np.pad(times * self.pace.step, (0, pad), mode="edge"), dtype),
            values=jnp.asarray(np.pad(np.where(there, scaled, 0.0), ((0, pad), (0, 0))), dtype),
            mask=jnp.asarray(np.pad(there.astype(float), ((0, pad), (0, 0))), dtype),
            acting=jnp.asarray(self.acting(r, series.t[0], self.nodes), dtype),
            node=jnp.asarray(np.pad(node, (0, pad), mode="edge")),
            share=jnp.asarray(np.pad(share, (0, pad), mode="edge"), dtype),
            following=jnp.asarray(following),
        )

    def acting(self, r: int, begin: float, nodes: int) -> np.ndarray:
        """Scaled inputs and statics of a series at nodes from a time on, `(nodes + 1, D)`."""
        whole, here = self.whole[r], len(self.scaling.variables)
        columns = np.repeat(self.statics[r][None], nodes + 1, axis=0)
        if whole.inputs is None:
            return columns
        scaled = (whole.inputs - self.scaling.mean[here:]) / self.scaling.std[here:]
        at = begin + self.unit * np.arange(nodes + 1)
        inputs = np.stack([np.interp(at, whole.t, c) for c in scaled.T], axis=-1)
        return np.concatenate([inputs, columns], axis=1)

    def ahead(self, r: int, begin: float) -> int:
        """Steps from the head of the last window to the end of what is asked for."""
        seen, whole = self.series[r].t, self.whole[r].t
        end = float(whole[-1])
        if self.whole[r].inputs is None:  # inputs are known no further
            end = max(end, float(seen[-1]) + _BEYOND * (float(seen[-1]) - begin))
        return max(int(np.ceil((end - begin) / self.unit - _EVEN)), 1)

    @property
    def most(self) -> int:
        """Steps of the longest run: of a window, and of what is asked for behind the last."""
        heads = ((r, s.t[self.answering(r)[-1][0]]) for r, s in enumerate(self.series))
        return max(self.nodes, *(self.ahead(r, float(head)) for r, head in heads))

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Scaled values to those of the data, or their logarithms."""
        here = len(self.scaling.variables)
        return values * self.scaling.std[:here] + np.asarray(self.scaling.mean[:here])

    def generation(self) -> "Generation":
        """What new series are made with."""
        longest = max(range(len(self.whole)), key=lambda r: np.ptp(self.whole[r].t))
        begin = float(self.whole[longest].t[0])
        nodes = self.ahead(longest, begin)
        # Series are counted from their own first times, new ones from the first of all.
        first = min(float(s.t[0]) for s in self.whole)
        return Generation(
            self.scaling, self.log, first, self.unit, self.acting(longest, begin, nodes)
        )


def _slice(count: int, begin: int, end: int) -> np.ndarray:
    rows = np.arange(count)
    return (rows >= begin) & (rows < end)


def _dtype():
    return jnp.zeros(()).dtype


def layout_of(
    problem: SeriesProblem, window: int | None, substeps: int, positive: bool | None
) -> Layout:
    """The grid of a problem.

    **Arguments:**

    - `problem`: of the task forecast, interpolate or generate.
    - `window`: most rows of a piece, `None` for 100 at the most.
    - `substeps`: steps of the grid between two rows.
    - `positive`: learn logarithms; `None` decides by the data.

    **Raises:** `InputError` for a window of one row, and as `sequence_scaling`.
    """
    if window is not None and window < 2:
        raise InputError(f"got {window}", where="window", fix="give 2 rows or more")
    log = scaling_of(problem, tuple(problem.variables), positive).log
    logged = problem
    if log:
        series = tuple(dataclasses.replace(s, y=np.log(s.y)) for s in problem.series)
        logged = dataclasses.replace(problem, series=series)
    scaling = sequence_scaling(logged)
    seen = problem.training()
    rows = min(max(len(s.t) for s in seen), window or 100)
    spacing = float(np.median(np.concatenate([np.diff(s.t) for s in seen])))
    unit = spacing / substeps
    spans = [s.t[min(b + rows, len(s.t)) - 1] - s.t[b] for s in seen for b in range(len(s.t))]
    nodes = max(int(np.ceil(max(spans) / unit - _EVEN)), 1)
    learned = problem.learned
    table = np.array([[v[i] for v in problem.statics.values()] for i in learned])
    statics = (table - scaling.static_mean) / scaling.static_std
    whole = tuple(problem.series[i] for i in learned)
    pace = _pace(logged.training(), scaling, unit * nodes, 1.0 / nodes, substeps)
    return Layout(scaling, log, seen, whole, statics, rows, nodes, unit, pace)


def _pace(seen, scaling: SequenceScaling, length: float, step: float, substeps: int) -> Pace:
    """How fast scaled data go, with `length` as the unit of time."""
    slopes, rough = [np.ones(0)], [np.ones(0)]
    for series in seen:
        steps = np.diff(series.t)[:, None] / length
        moved = np.diff(series.y, axis=0) / scaling.std[: series.y.shape[1]]
        slopes.append(np.abs(moved / steps)[np.isfinite(moved)])
        rough.append(np.abs(moved / np.sqrt(steps))[np.isfinite(moved)])
    # Medians: between rows that nearly meet, noise alone makes any slope.
    sizes = [np.concatenate(p) for p in (slopes, rough)]
    rate, roughness = (_NORMAL * float(np.median(s)) if len(s) else 0.0 for s in sizes)
    return Pace(step, step * substeps, rate or 1.0, roughness or 1.0)


def _answers(model: LatentModel, layout: Layout, draws: int, weighted: bool) -> Rows:
    """Means and deviations on all series, beyond the last window by the prior; draws `weighted`
    by how much likelier they are than the posterior holds them."""
    most = layout.most
    noise = np.asarray(model.noise, float)

    def draw(model, window, acting, key):
        inner, rest = jax.random.split(key)
        states, start, path, _ = model.posterior(window, key=inner, at_draw=weighted)
        weight = model.log_likelihood(window, states) - start - path
        extra = model.march(states[-1], acting[layout.nodes :], None, key=rest, begin=layout.nodes)
        return jax.vmap(model.decode)(jnp.concatenate([states, extra[0][1:]])), weight

    def many(model, window, acting, key):
        keys = jax.random.split(key, draws)
        found, weights = jax.vmap(lambda k: draw(model, window, acting, k))(keys)
        share = jax.nn.softmax(weights if weighted else jnp.zeros_like(weights))
        mean = jnp.tensordot(share, found, 1)
        return mean, jnp.sqrt(jnp.tensordot(share, (found - mean) ** 2, 1))

    run: Callable = compiled(model, many)
    times, values, deviations = [], [], []
    for r in range(len(layout.series)):
        pieces = _pieces(layout, r, run, most)
        here, mean, wide = (np.concatenate(part) for part in zip(*pieces, strict=True))
        times.append(here)
        values.append(layout.decode(mean))
        spread = np.sqrt(wide**2 + noise**2)
        deviations.append(spread * layout.scaling.std[: len(layout.scaling.variables)])
    return Rows(tuple(times), tuple(values), tuple(deviations), layout.log)


def _pieces(layout: Layout, r: int, run: Callable, most: int) -> list[tuple]:
    """Times, means and deviations of one series, window by window."""
    series, windows, found = layout.series[r], layout.answering(r), []
    for j, (begin, end) in enumerate(windows):
        head = float(series.t[begin])
        acting = jnp.asarray(layout.acting(r, head, most), _dtype())
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), r), j)
        mean, wide = run(layout.window(r, begin, end), acting, key)
        at = head + layout.unit * np.arange(most + 1)
        final = j + 1 == len(windows)
        # A window answers from where the one before it ends, to its own last row.
        first = float(series.t[windows[j - 1][1] - 1]) if j else head
        last = head + layout.unit * layout.ahead(r, head) if final else float(series.t[end - 1])
        slack = _EVEN * layout.unit
        keep = (at > first + slack if j else at >= first) & (at <= last + slack)
        found.append((at[keep], np.asarray(mean, float)[keep], np.asarray(wide, float)[keep]))
    return found
