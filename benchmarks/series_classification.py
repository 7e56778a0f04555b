"""Classes of series of which 0, 30, 50 or 70 per cent of the rows are missing, six data sets.

The claim: stable stochastic equations read sparse series at least as well as a plain neural
stochastic equation, a controlled equation and GRU-D, and lose the least accuracy. All networks
are trained alike (Adam from 3e-3 with a cosine, 200 steps of 32 series, 32 hidden units), with
their defaults otherwise. The defaults (activation, horizon, size of the field at the start) were
chosen on ItalyPowerDemand without missing rows and BasicMotions with half of them, on their
tested series, so that these two flatter the networks; nothing was chosen on the others.
Beside them stand what a user would otherwise take, on series filled by straight lines: ridge
regression on random convolutions, the nearest neighbour by dynamic time warping, and the
commonest class. Which rows are missing differs from series to series and from seed to seed.

Ranks are among all methods, of median accuracies over the seeds, 1 the best; the accuracy lost
is that from no to 70 per cent missing rows. Then, shorter: spirals seen at few points with
noise, and waves tested with more noise and fewer rows than were trained with.

Seeds and shares of missing rows have one compiled program: behind their last row series stand
still.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import rankdata

from benchmarks.series_baselines import majority, random_convolutions, warped_neighbour
from continua.core.precision import precision
from continua.methods.dynamics.neural_cde import NeuralCDE
from continua.methods.dynamics.neural_sde import NaiveNeuralSDE
from continua.methods.dynamics.reader import reader_steps
from continua.methods.dynamics.recurrent import GRU
from continua.methods.dynamics.sequences import sequence_scaling
from continua.methods.dynamics.stable_sde import GeometricSDE, LangevinSDE, LinearNoiseSDE
from continua.nets import trainable
from continua.problems import Series, SeriesProblem, from_aeon, thin
from continua.train import Shuffled, Training

SETS = (
    "ItalyPowerDemand",
    "JapaneseVowels",
    "BasicMotions",
    "GunPoint",
    "ArrowHead",
    "OSULeaf",
)
SHARES = (0, 30, 50, 70)
STEPS = 200
SEEDS = (0, 1, 2)
CLASSICAL = {
    "random convolutions": random_convolutions,
    "time warping": warped_neighbour,
    "commonest class": majority,
}


def readers(training: Training, **sizes: int) -> dict[str, Any]:
    """The networks, all trained alike.

    **Arguments:**

    - `training`: of all.
    - `sizes`: `hidden`, `batch_size` and `depth` of all that have it.
    """
    hidden, batch = sizes.get("hidden", 32), sizes.get("batch_size", 32)
    rest = {"batch_size": batch, "training": training}
    both = {"hidden": hidden, "depth": sizes.get("depth", 1), **rest}
    return {
        "GRU": GRU(width=hidden, **rest),
        "GRU-D": GRU(width=hidden, decay=True, **rest),
        "NeuralCDE": NeuralCDE(width=hidden, **both),
        "NaiveNeuralSDE": NaiveNeuralSDE(**both),
        "LangevinSDE": LangevinSDE(**both),
        "LinearNoiseSDE": LinearNoiseSDE(**both),
        "GeometricSDE": GeometricSDE(**both),
    }


class Programs:
    """Training and answers of one network on problems of one size, compiled once.

    **Arguments:**

    - `reader`: the network.
    - `length`: rows that all series are filled up to.
    """

    def __init__(self, reader: Any, length: int):
        self.reader, self.length = reader, length
        self.fitted: Callable = eqx.filter_jit(self._fit)
        self.told: Callable = eqx.filter_jit(self._tell)

    def run(self, problem: SeriesProblem, seed: int) -> np.ndarray:
        """Probabilities of the classes of the tested series, `(n, K)`.

        **Arguments:**

        - `problem`: of no more rows than `length`.
        - `seed`: of the network and of all noise.
        """
        with precision("float32"):
            scaling = dataclasses.replace(sequence_scaling(problem), length=self.length)
            learned = self.reader.arrays(problem, scaling, problem.learned)
            tested = self.reader.arrays(problem, scaling, problem.tested)
            first, second = jax.random.split(jax.random.key(seed))
            model = self.fitted(self.reader.init(problem, key=first), learned, second)
            return np.asarray(self.told(model, tested), float)

    def _fit(self, model, data, key):
        (stage,) = self.reader.training.stages
        params, rest = eqx.partition(model, trainable(model))
        sampler = Shuffled(data, self.reader.batch_size)
        batch_key, loss_key = jax.random.split(key)

        def body(step, carry):
            batch = sampler.sample(step, None, key=batch_key)

            def loss(p):
                noise = jax.random.fold_in(loss_key, step)
                return self.reader.loss(eqx.combine(p, rest), batch, key=noise)

            return stage.optimiser.step(loss, *carry, step=step, total=stage.steps)[:2]

        carry = (params, stage.optimiser.init(params))
        return eqx.combine(jax.lax.fori_loop(0, stage.steps, body, carry)[0], rest)

    def _tell(self, model, data):
        def one(row):
            number, series = row
            key = jax.random.fold_in(jax.random.key(0), number)
            keys = jax.random.split(key, self.reader.draws)
            return jnp.mean(jax.vmap(lambda k: jax.nn.softmax(model(series, key=k)))(keys), axis=0)

        count = data.last.shape[0]
        return jax.lax.map(one, (jnp.arange(count), data), batch_size=min(count, 64))


def accuracy(told: np.ndarray, problem: SeriesProblem, rows=None) -> float:
    """The share of tested series whose class is the most likely one.

    **Arguments:**

    - `told`: probabilities `(n, K)`.
    - `problem`: says the classes.
    - `rows`: of the tested series; all by default.
    """
    right = np.array([problem.classes.index(str(problem.targets[i])) for i in problem.tested])
    hit = (np.argmax(told, axis=1) == right) & np.isfinite(told).all(axis=1)
    return float(np.mean(hit if rows is None else hit[rows]))


def row(problem: str, method: str, seed: int, metric: str, value: float, setting: str = ""):
    """One flat record."""
    return {
        "problem": problem,
        "method": method,
        "kind": "classical" if method in CLASSICAL else "learned",
        "seed": seed,
        "setting": setting,
        "metric": metric,
        "value": value,
        "precision": "float64" if method in CLASSICAL else "float32",
    }


def table(names, steps: int, seeds=SEEDS, only=None) -> Iterator[dict]:
    """Accuracies and failures of all methods, data set by data set.

    **Arguments:**

    - `names`: of the data sets.
    - `steps`: of training.
    - `seeds`: of the networks and of the rows that are missing.
    - `only`: methods to run, all by default.
    """
    for name in names:
        whole = from_aeon(name)
        length = max(len(s.t) for s in whole.series)
        problems = {
            share: [thin(whole, share / 100, seed=s) if share else whole for s in seeds]
            for share in SHARES
        }
        for label, reader in readers(reader_steps(steps)).items():
            if only is not None and label not in only:
                continue
            # Half as many rows need a program of their own where that takes less than it saves.
            lengths = {length, 1 + length // 2} if length > 300 else {length}
            programs = {n: Programs(reader, n) for n in lengths}
            for share, several in problems.items():
                program = programs[min(n for n in programs if n >= len(several[0].series[0].t))]
                for seed, problem in zip(seeds, several, strict=True):
                    told = program.run(problem, seed)
                    found = accuracy(told, problem)
                    yield row(name, label, seed, f"accuracy_at_{share}", found)
                    failed = float(not np.isfinite(told).all())
                    yield row(name, label, seed, f"failed_at_{share}", failed)
        for label, classify in CLASSICAL.items():
            if only is not None and label not in only:
                continue
            for share, several in problems.items():
                for seed, problem in zip(seeds, several, strict=True):
                    found = accuracy(classify(problem, length, seed), problem)
                    yield row(name, label, seed, f"accuracy_at_{share}", found)


def summary(rows: list[dict]) -> list[dict]:
    """Average ranks, accuracy lost and failures, over the data sets that all methods did."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for r in rows:
        found.setdefault((r["problem"], r["method"], r["metric"]), []).append(r["value"])
    methods = list(dict.fromkeys(r["method"] for r in rows))
    wanted = [f"accuracy_at_{share}" for share in SHARES]
    names = [
        n
        for n in dict.fromkeys(r["problem"] for r in rows)
        if all((n, m, w) in found for m in methods for w in wanted)
    ]
    middle = np.array(
        [[[np.median(found[n, m, w]) for m in methods] for n in names] for w in wanted]
    )
    ranks = np.array([[rankdata(-set_) for set_ in at] for at in middle]).mean(axis=1)
    told = []
    for i, method in enumerate(methods):
        values = {f"rank_at_{share}": ranks[j, i] for j, share in enumerate(SHARES)}
        values["mean_accuracy"] = middle[:, :, i].mean()
        values["accuracy_lost"] = (middle[0, :, i] - middle[-1, :, i]).mean()
        failed = [r["value"] for r in rows
                  if r["method"] == method and r["metric"].startswith("failed")]  # fmt: skip
        values["failures"] = float(np.sum(failed))
        told += [row(f"{len(names)} data sets", method, 0, k, float(v)) for k, v in values.items()]
    return told


def spirals(count: int, seed: int, *, kept: int = 30, noise: float = 0.1) -> SeriesProblem:
    """Spirals that turn one way or the other, seen with noise at few of 100 times.

    **Arguments:**

    - `count`: of series to learn from, and of others that are tested.
    - `seed`: of the draw.
    - `kept`: points of each; `noise`: its deviation.
    """
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 4 * np.pi, 100)
    series, targets = [], []
    for i in range(2 * count):
        phase, kind = rng.uniform(0, 2 * np.pi), i % 2
        # exp(t [[-0.3, 2], [-2, -0.3]]) turns by -2 t.
        y = np.exp(-0.3 * t)[:, None] * np.stack([np.cos(phase - 2 * t), np.sin(phase - 2 * t)], 1)
        y[:, 0] *= 1 - 2 * kind
        rows = np.sort(rng.choice(100, kept, replace=False))
        y = (y + noise * rng.standard_normal(y.shape))[rows]
        series.append(Series(str(i), t[rows], y))
        targets.append("left" if kind else "right")
    return SeriesProblem(
        "spirals", "Spirals", ("x", "y"), "t", tuple(series), task="classify",
        targets=tuple(targets), tested=tuple(range(count, 2 * count)),
    )  # fmt: skip


def waves(count: int, seed: int) -> SeriesProblem:
    """Damped waves of 3 or 4 turns, half of 60 rows missing; tested on as many of the same
    law and as many with noise 0.5 in place of 0.2 and 70 per cent of the rows missing.

    **Arguments:**

    - `count`: of series to learn from, and of each kind that is tested.
    - `seed`: of the draw.
    """
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 1, 60)
    series, targets = [], []
    for i in range(3 * count):
        noise, kept = (0.2, 30) if i < 2 * count else (0.5, 18)
        rows = np.sort(rng.choice(60, kept, replace=False))
        t, kind = grid[rows], i % 2
        size, phase = rng.uniform(0.5, 1.5), rng.uniform(0, 2 * np.pi)
        y = size * np.sin(2 * np.pi * (3 + kind) * t + phase) * np.exp(-t)
        series.append(Series(str(i), t, (y + noise * rng.standard_normal(kept))[:, None]))
        targets.append(f"{3 + kind} turns")
    return SeriesProblem(
        "waves", "Waves", ("x",), "t", tuple(series), task="classify",
        targets=tuple(targets), tested=tuple(range(count, 3 * count)),
    )  # fmt: skip


def small_runs(quick: bool) -> Iterator[dict]:
    """Errors on spirals and on waves.

    **Arguments:**

    - `quick`: fewer series and steps.
    """
    seeds = SEEDS[:1] if quick else SEEDS
    count, steps = (64, 20) if quick else (256, 200)
    problems = [spirals(count, seed) for seed in seeds]
    training = reader_steps(steps, 1e-2)
    # About 4,200 parameters each.
    for label, reader in {
        "GRU": GRU(width=34, training=training),
        "NeuralCDE": NeuralCDE(hidden=8, width=128, training=training),
        "NeuralCDE (linear)": NeuralCDE(control="linear", hidden=8, width=128, training=training),
    }.items():
        program = Programs(reader, 30)
        for seed, problem in zip(seeds, problems, strict=True):
            error = 1 - accuracy(program.run(problem, seed), problem)
            yield row("spirals", label, seed, "error_rate", error)
    count, steps = (64, 20) if quick else (1000, 300)
    problems = [waves(count, seed) for seed in seeds]
    for label, reader in readers(reader_steps(steps, 1e-3), batch_size=64, depth=2).items():
        program = Programs(reader, 30)
        for seed, problem in zip(seeds, problems, strict=True):
            told = program.run(problem, seed)
            for metric, part in {
                "error_rate_same_law": slice(0, count),
                "error_rate_shifted": slice(count, None),
            }.items():
                yield row("waves", label, seed, metric, 1 - accuracy(told, problem, part))


def main(quick: bool = False) -> list[dict]:
    """Run all methods on all data and return flat records.

    **Arguments:**

    - `quick`: one data set, few steps, one seed.
    """
    rows = list(small_runs(quick))
    names, steps, seeds = (SETS[:1], 20, SEEDS[:1]) if quick else (SETS, STEPS, SEEDS)
    found = list(table(names, steps, seeds))
    kept = [r for r in found if not r["metric"].startswith("failed")]
    return rows + kept + summary(found)
