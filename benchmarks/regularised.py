"""Fields that are trained to be cheap to integrate, beside the same without.

The claim: two rings are told apart by a flow (512 points as one system, tanh network 3-64-64-2,
`Tsit5` at 1e-5, Adam from 5e-3, 400 steps) that takes at most 0.6 times as many accepted
steps when trained with a regulariser, at equal accuracy, in at most 1.15 times the time of
training; the local regulariser is within a tenth of the global one. Weights fall from 30 to
15, which was chosen on seed 0: from 1 to 0.5 the local one took 11 steps, from 10 to 5 10.
Steps are those on the points of the training at its tolerance. Runs are trained in turns, a few
steps of each at a time; seconds are those of the processor, their ratios medians over the turns.

Latent equations are trained alike: a latent SDE of walks between two wells, whose steps are
those of `SPaRK` through the prior at 1e-2, and a latent ODE of few, noisy series at 1e-4. Beside
the steps stands the bound on the likelihood of other series, in scaled values. Weights fall
from 0.2 to 0.1 on the walks, where 0.1 left 0.67 of the steps and 0.3 0.54 (medians of the same
three seeds; 0.2 0.57), and from 300 to 100: a latent ODE of exact spirals had 12 of 12 steps at a
weight of 30 and 10 at 300 (one seed). The exact field of the spirals takes 13 steps at 1e-4.

Then a `NeuralODE` is fitted to a noisy, damped oscillation with adaptive steps. There the data
say how fast states move, so that little is left to choose. With 2,000 steps of training and
segments of 5 a weight from 30 to 15 took 55 accepted steps in place of 58 on seed 0, with a
larger error, and one from 300 to 150 took 38 and lost the oscillation.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import run as run_method
from benchmarks.laws import generation
from continua.core.precision import precision
from continua.integrate import Continuous, Replay, Tsit5, solve
from continua.methods import LatentODE, LatentSDE, NeuralODE
from continua.methods.dynamics.latent import latent_steps, layout_of
from continua.methods.dynamics.latent_solve import steps_of
from continua.methods.dynamics.neural_ode import fit_steps
from continua.methods.dynamics.regularise import SolverRegulariser
from continua.nets import MLP, Linear
from continua.problems import Series, SeriesProblem
from continua.train import Adam

SEEDS = (0, 1, 2)
STEPS = 400
POINTS = 256  # of each ring
LATENT_STEPS = 300
ODE_RAMP: dict[str, Any] = {"weight": 300.0, "final_weight": 100.0}
SDE_RAMP: dict[str, Any] = {"weight": 0.2, "final_weight": 0.1}
TURN = 20  # steps of one run before the next has its turn
TOLERANCE = 1e-5


class Flow(eqx.Module):
    """Points that a field moves for one unit of time, and a linear map of where they end."""

    mlp: MLP
    head: Linear

    def __init__(self, *, key):
        first, second = jax.random.split(key)
        self.mlp = MLP(3, 2, width=64, depth=2, key=first)
        self.head = Linear(2, 1, key=second)

    def field(self, t: Any, y: Any) -> Any:
        """`dy/dt` of points `(n, 2)`."""
        time = jnp.broadcast_to(jnp.asarray(t, y.dtype), (y.shape[0], 1))
        return jax.vmap(self.mlp)(jnp.concatenate([y, time], axis=1))


def rings(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points within a radius of 0.5 and between those of 1 and 1.5, and which they are.

    **Arguments:**

    - `count`: of each.
    - `seed`: of the draw.
    """
    rng = np.random.default_rng(seed)
    label = np.repeat([0.0, 1.0], count)
    radius = rng.uniform(0, 0.5, 2 * count) + label
    angle = rng.uniform(0, 2 * np.pi, 2 * count)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1), label


@dataclasses.dataclass(frozen=True)
class Run:
    """One way to train the flow: how its gradients are taken, and what is added.

    **Arguments:**

    - `gradient`: of the solve.
    - `regulariser`: `None` for nothing.
    """

    gradient: Any = Replay(256)
    regulariser: SolverRegulariser | None = None

    def moved(self, model: Flow, points: Any, key: Any) -> tuple[Any, Any]:
        """The trajectory of the points as one system, and the penalty."""

        def field(t, y, model):
            return model.field(t, y)

        options = {"t0": 0.0, "t1": 1.0, "y0": points, "args": model, "gradient": self.gradient}
        options |= {"rtol": TOLERANCE, "atol": TOLERANCE}
        if self.regulariser is None:
            return solve(field, Tsit5(), **options), jnp.zeros((), points.dtype)
        return self.regulariser.solve(field, Tsit5(), key=key, **options)

    def loss(self, model: Flow, points: Any, label: Any, progress: Any, key: Any) -> Any:
        """Cross-entropy, and the weighted penalty."""
        found, penalty = self.moved(model, points, key)
        error = jnp.mean(cross_entropy(model, found.ys[0], label))
        if self.regulariser is None:
            return error
        return error + self.regulariser.weight_at(progress) * penalty


def cross_entropy(model: Flow, y: Any, label: Any) -> Any:
    """That of each point."""
    score = jax.vmap(model.head)(y)[:, 0]
    return jax.nn.softplus(score) - label * score


def program(loss: Callable, optimiser: Adam, total: int) -> Callable:
    """A few steps of training as one compiled call.

    **Arguments:**

    - `loss`: `(model, step, key, *data)`.
    - `optimiser`: of the model.
    - `total`: steps of the training.
    """

    @eqx.filter_jit
    def steps(carry, begin, count, key, *data):
        def body(i, carry):
            drawn = jax.random.fold_in(key, begin + i)
            objective = lambda p: (loss(p, begin + i, drawn, *data), {})  # noqa: E731
            return optimiser.step(objective, *carry, step=begin + i, total=total)[:2]

        return jax.lax.fori_loop(0, count, body, carry)

    return steps


def in_turns(programs: dict[str, Callable], begin: Any, total: int, key: Any, *data) -> dict:
    """All runs from one start, a few steps of each at a time.

    **Arguments:**

    - `programs`: from `program`, by name.
    - `begin`: a model and the state of its optimiser.
    - `total`: steps of training.
    - `key`, `data`: handed through.

    **Returns:** by name the trained model, and seconds of the processor of each turn.
    """
    found = {name: (begin, []) for name in programs}

    def turn(name, carry, at, count):
        given = (jnp.asarray(at), jnp.asarray(count), key, *data)
        return jax.block_until_ready(programs[name](carry, *given))

    for name in programs:  # compiled before anything is timed, for what comes back too
        turn(name, turn(name, begin, 0, 1), 0, 1)
    for at in range(0, total, TURN):
        for name, (carry, seconds) in found.items():
            start = time.process_time()
            carry = turn(name, carry, at, TURN)
            found[name] = (carry, [*seconds, time.process_time() - start])
    return {name: (carry[0], seconds) for name, (carry, seconds) in found.items()}


@eqx.filter_jit
def measured(model: Flow, points: Any, label: Any, others: Any, other_label: Any) -> dict:
    """Steps, evaluations and errors of a trained flow, the accuracy on other points too."""
    found, _ = Run().moved(model, points, None)
    there = Run().moved(model, others, None)[0].ys[0]

    def accuracy(y, label):
        right = (jax.vmap(model.head)(y)[:, 0] > 0) == (label > 0)
        return jnp.mean(right.astype(points.dtype))

    return {
        "accepted_steps": found.steps,
        "attempted_steps": found.steps + found.rejected,
        "evaluations": found.evaluations,
        "cross_entropy": jnp.mean(cross_entropy(model, found.ys[0], label)),
        "accuracy": accuracy(found.ys[0], label),
        "accuracy_on_other_points": accuracy(there, other_label),
    }


def trained(runs: dict[str, Run], count: int, total: int, seeds) -> dict[str, list[dict]]:
    """The rings by all runs.

    **Arguments:**

    - `runs`: by name.
    - `count`: points of each ring.
    - `total`: steps of training.
    - `seeds`: of points, weights and local steps.

    **Returns:** for each run and seed what was measured, and seconds of its turns.
    """

    def loss(run):
        def of(model, step, key, points, label):
            return run.loss(model, points, label, step.astype(points.dtype) / total, key)

        return of

    optimiser = Adam(5e-3)
    programs = {name: program(loss(run), optimiser, total) for name, run in runs.items()}
    found: dict[str, list[dict]] = {name: [] for name in runs}
    for seed in seeds:
        points, label = (jnp.asarray(x, jnp.float32) for x in rings(count, seed))
        others, other_label = (jnp.asarray(x, jnp.float32) for x in rings(count, 1000 + seed))
        first, second = jax.random.split(jax.random.key(seed))
        model = Flow(key=first)
        begin = (model, optimiser.init(model))
        for name, (model, turns) in in_turns(programs, begin, total, second, points, label).items():
            values = measured(model, points, label, others, other_label)
            found[name].append({k: float(v) for k, v in values.items()} | {"turns": turns})
    return found


def row(problem: str, method: str, seed: int, metric: str, value: float) -> dict:
    """One flat record."""
    kind, digits = "learned", "float64" if problem == "oscillation" else "float32"
    case = {"problem": problem, "method": method, "kind": kind, "seed": seed, "precision": digits}
    return {**case, "metric": metric, "value": value}


def compared(problem: str, found: dict[str, list[dict]], seeds) -> list[dict]:
    """Rows of all runs, with ratios to the first of them.

    **Arguments:**

    - `problem`: its name.
    - `found`: from `trained`, or likewise.
    - `seeds`: of the runs.
    """
    rows = []
    first = next(iter(found))
    for name, several in found.items():
        for seed, values, base in zip(seeds, several, found[first], strict=True):
            seconds, usual = (np.array(v["turns"]) for v in (values, base))
            told = {k: v for k, v in values.items() if k != "turns"}
            told["processor_seconds"] = float(seconds.sum())
            if name != first:
                told["ratio_accepted_steps"] = values["accepted_steps"] / base["accepted_steps"]
                told["ratio_processor_seconds"] = float(np.median(seconds / usual))
            rows += [row(problem, name, seed, k, v) for k, v in told.items()]
    return rows


def ring_rows(quick: bool) -> list[dict]:
    """The two rings, by steps that are gone back over and by the continuous adjoint.

    **Arguments:**

    - `quick`: few points and steps, one seed.
    """
    ramp: dict[str, Any] = {"weight": 30.0, "final_weight": 15.0}
    local, whole = SolverRegulariser(**ramp), SolverRegulariser(scope="global", **ramp)
    count, total, seeds = (32, 2 * TURN, SEEDS[:1]) if quick else (POINTS, STEPS, SEEDS)
    groups: list[dict[str, Run]] = [
        {"plain": Run(), "local": Run(regulariser=local), "global": Run(regulariser=whole)}
    ]
    if not quick:
        back = Continuous()
        groups.append({"plain, adjoint": Run(back), "local, adjoint": Run(back, local)})
    with precision("float32"):
        found = [trained(g, count, total, seeds) for g in groups]
    return [r for f in found for r in compared("two rings", f, seeds)]


def spirals(quick: bool) -> SeriesProblem:
    """Few, short, noisy series of a damped rotation at random times.

    **Arguments:**

    - `quick`: still fewer.
    """
    rng, learned, tested = np.random.default_rng(0), *((8, 4) if quick else (40, 100))
    series = []
    for i in range(learned + tested):
        t = np.append(0.0, np.sort(rng.uniform(0, 6, 14)))
        turned = np.exp((-0.1 + 1.14j) * t) * (rng.standard_normal(2) @ np.array([1, 1j]))
        y = np.stack([turned.real, turned.imag], axis=1)
        series.append(Series(str(i), t, y + 0.3 * rng.standard_normal(y.shape)))
    return SeriesProblem(
        name="noisy_spirals",
        title="Noisy spirals",
        variables=("x", "y"),
        time="t",
        series=tuple(series),
        task="generate",
        tested=tuple(range(learned, learned + tested)),
    )


def latent_rows(quick: bool) -> list[dict]:
    """A latent ODE and a latent SDE, with their bounds on the likelihood of other series.

    **Arguments:**

    - `quick`: few series and steps, one seed.
    """
    seeds, total = (SEEDS[:1], TURN) if quick else (SEEDS, LATENT_STEPS)
    sizes: dict[str, Any] = {"context": 16, "substeps": 1, "batch_size": 64}
    ordinary = LatentODE(states=4, tolerance=1e-4, training=latent_steps(total, 1e-2), **sizes)
    stochastic = LatentSDE(states=2, tolerance=1e-2, training=latent_steps(total), **sizes)
    rows = []
    for label, problem, method, ramp in (
        ("latent SDE, wells", generation("double_well", quick), stochastic, SDE_RAMP),
        ("latent ODE, spirals", spirals(quick), ordinary, ODE_RAMP),
    ):
        scopes = {"local": "local_biased", "global": "global"}
        runs = {"plain": method} | {
            name: dataclasses.replace(method, regulariser=SolverRegulariser(scope=scope, **ramp))
            for name, scope in scopes.items()
        }
        with precision("float32"):
            rows += compared(label, latent_runs(runs, problem, total, seeds), seeds)
    return rows


def latent_runs(runs: dict[str, Any], problem: SeriesProblem, total: int, seeds) -> dict:
    """Latent models by all runs, from one start and with the same batches.

    **Arguments:**

    - `runs`: methods that differ in their regulariser, by name.
    - `problem`: of the task generate.
    - `total`: steps of training.
    - `seeds`: of weights and batches.

    **Returns:** as `trained`.
    """

    def loss(method):
        def of(model, step, key, sampler):
            first, second = jax.random.split(key)
            return method.loss(model, sampler.sample(step, model, key=first), key=second)[0]

        return of

    first = next(iter(runs.values()))
    (stage,) = first.training.stages
    layout = layout_of(problem, first.window, first.substeps, first.positive)
    held, none = problem.held_out(), np.zeros((len(problem.tested), 0))
    tested = dataclasses.replace(layout, series=held, whole=held, statics=none).windows()
    programs = {n: program(loss(m), stage.optimiser, total) for n, m in runs.items()}
    found: dict[str, list[dict]] = {name: [] for name in runs}
    for seed in seeds:
        one, two = jax.random.split(jax.random.key(seed))
        model = first.init(problem, key=one)
        begin = (model, stage.optimiser.init(model))
        taken = in_turns(programs, begin, total, two, first.batches(problem))
        for name, (model, turns) in taken.items():
            values = steps_of(model, layout.windows())
            bound = {"bound_per_row": float(bound_per_row(model, tested))}
            found[name].append({**values, **bound, "turns": turns})
    return found


@eqx.filter_jit
def bound_per_row(model: Any, windows: Any) -> Any:
    """The bound on the likelihood of scaled values, for each of them; a mean over draws."""

    def drawn(key):
        keys = jax.random.split(key, windows.share.shape[0])
        return jnp.sum(jax.vmap(lambda w, k: model.elbo(w, 1.0, key=k)[0])(windows, keys))

    found = jax.lax.map(drawn, jax.random.split(jax.random.key(0), 8))
    return jnp.mean(found) / jnp.sum(windows.mask)


def oscillation(seed: int) -> SeriesProblem:
    """A damped oscillation at 60 uneven times with noise, the last quarter held out.

    **Arguments:**

    - `seed`: of times and noise.
    """
    rng = np.random.default_rng(seed)
    t = np.sort(np.append(rng.uniform(0, 8, 59), 0.0))
    y = np.exp(-0.15 * t)[:, None] * np.stack([np.cos(2 * t), np.sin(2 * t)], 1)
    series = Series("one", t, y + 0.02 * rng.standard_normal(y.shape))
    return SeriesProblem("oscillation", "Damped oscillation", ("x", "y"), "t", (series,), split=6.0)


def series_rows(quick: bool) -> list[dict]:
    """A neural ordinary equation with adaptive steps.

    **Arguments:**

    - `quick`: few steps, one seed.
    """
    steps, seeds = (10, SEEDS[:1]) if quick else (500, SEEDS)
    options = {"members": 1, "segment": 15, "tolerance": TOLERANCE, "training": fit_steps(steps)}
    rows = []
    for seed in seeds:
        plain = 0.0
        for name, regulariser in {
            "NeuralODE": None,
            "NeuralODE, local": SolverRegulariser(weight=1.0, final_weight=0.1),
        }.items():
            method = NeuralODE(regulariser=regulariser, **options)
            solution, found = run_method(oscillation(seed), method, label=name, seed=seed)
            rows += [r for r in found if r["metric"] in ("rmse_held_out", "rmse_training")]
            taken, seconds = solution.stats["accepted_steps"], found[0]["seconds_train"]
            rows.append(row("oscillation", name, seed, "accepted_steps", taken))
            rows.append(row("oscillation", name, seed, "seconds_train", seconds))
            if regulariser is None:
                plain = taken
            else:
                rows.append(row("oscillation", name, seed, "ratio_accepted_steps", taken / plain))
    return rows


def main(quick: bool = False) -> list[dict]:
    """Train all runs and return flat records.

    **Arguments:**

    - `quick`: small data and few steps, one seed.
    """
    return ring_rows(quick) + latent_rows(quick) + series_rows(quick)
