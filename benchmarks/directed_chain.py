r"""Directed chains: the law of new paths, and how much of a neighbour is in them, step by step.

Paths whose frequency is hidden: `x_t = sin(2 pi f t + phi) + 0.05 W_t`, `f` 1 or 2, `phi`
uniform, 21 rows on `[0, 1]`, so that no value tells what follows without those before it.
2,048 are learned from. Chains begin at them; after each of 8 steps 16,384 new paths are
measured against 16,384 others of the true law, so that distances are those of the laws and not
of the samples:

- `signature_distance`, `marginal_distance` (Wasserstein, in deviations) and the mean shares
  `power_1`, `power_2` of the variance that lie at both frequencies;
- `correlation_before`, `correlation_head`: the mean size over the rows of the correlation with
  the neighbour, and with the series at the head of the chain, at the same time;
- `told_by_head`: the share of the variance that is a linear function of the whole head, which
  sees copies that are shifted too, less that of chance;
- `same_frequency`: how often both have more power at the same frequency, 0.5 where they are
  independent.

`series learned from` are the floor: as far as copies are from others of the law. Networks
(width 32) and steps of training (600 of 256 paths) are the same throughout; the plain
equation is the same with the neighbour hidden.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from continua.core.precision import precision
from continua.methods import DirectedChain
from continua.methods.dynamics.directed_chain import chain_steps
from continua.metrics import marginal_distance, signature_distance
from continua.nets import count_parameters
from continua.problems import Series, SeriesProblem
from continua.train import fit

ROWS, DEEPEST = 21, 8
METHODS = {
    "plain, published loss": DirectedChain(width=32, coupled=False, whiten=False),
    "chain, published loss": DirectedChain(width=32, whiten=False),
    "plain": DirectedChain(width=32, coupled=False),
    "chain": DirectedChain(width=32),
    "chain, penalty 10": DirectedChain(width=32, penalty=10.0),
    "trained on chains of 3": DirectedChain(width=32, chain=3),
}


def hidden_frequency(count: int, seed: int) -> np.ndarray:
    """Paths `(n, 21)`.

    **Arguments:**

    - `count`, `seed`: how many, and of what draw.
    """
    draw, t = np.random.default_rng(seed), np.linspace(0, 1, ROWS)
    frequency, phase = draw.integers(1, 3, count), draw.uniform(0, 2 * np.pi, count)
    steps = np.sqrt(t[1]) * draw.standard_normal((count, ROWS - 1))
    walk = np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))
    return np.sin(2 * np.pi * frequency[:, None] * t + phase[:, None]) + 0.05 * walk


def problem_of(learned: int, tested: int, seed: int) -> SeriesProblem:
    """The problem of making more such paths.

    **Arguments:**

    - `learned`, `tested`: how many.
    - `seed`: of their draw.
    """
    paths, t = hidden_frequency(learned + tested, seed), np.linspace(0, 1, ROWS)
    return SeriesProblem(
        name="hidden_frequency",
        title="Waves of a hidden frequency",
        variables=("x",),
        time="t",
        series=tuple(Series(str(i), t, x[:, None]) for i, x in enumerate(paths)),
        task="generate",
        tested=tuple(range(learned, learned + tested)),
    )


def powers(paths: np.ndarray) -> np.ndarray:
    """The shares of the variance over the rows at frequencies 1 and 2, `(n, 2)`."""
    waves = np.abs(np.fft.rfft(paths[:, :-1, 0], axis=1))[:, 1:] ** 2
    return waves[:, :2] / np.maximum(waves.sum(axis=1, keepdims=True), 1e-12)


def law(paths: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """How far paths `(n, T, 1)` are from others in law."""
    first, second = powers(paths).mean(axis=0)
    return {
        "signature_distance": signature_distance(paths, real),
        "marginal_distance": marginal_distance(paths, real),
        "power_1": float(first),
        "power_2": float(second),
    }


def dependence(paths: np.ndarray, before: np.ndarray, head: np.ndarray) -> dict[str, float]:
    """How much of neighbours and heads is in paths, all `(n, T, 1)`."""

    def correlation(other):
        found = [np.corrcoef(a, b)[0, 1] for a, b in zip(paths.T[0], other.T[0], strict=True)]
        return float(np.mean(np.abs(found[1:])))

    count, rows = paths.shape[:2]
    table = np.concatenate([head[..., 0], np.ones((count, 1))], axis=1)
    values = paths[:, 1:, 0]
    rest = values - table @ np.linalg.lstsq(table, values, rcond=None)[0]
    left = (rest**2).sum() / ((values - values.mean(axis=0)) ** 2).sum()
    # Of independent numbers as many columns tell this share by chance.
    told = 1 - left * (count - 1) / (count - 1 - rows)
    faster = [np.argmax(powers(x), axis=1) for x in (paths, head)]
    return {
        "correlation_before": correlation(before),
        "correlation_head": correlation(head),
        "told_by_head": float(told),
        "same_frequency": float(np.mean(faster[0] == faster[1])),
    }


def case(label: str, problem: SeriesProblem, seed: int, quick: bool) -> list[dict]:
    """The records of one method, after every step of its chains.

    **Arguments:**

    - `label`: of `METHODS`.
    - `problem`: whose paths are learned.
    - `seed`, `quick`: as `main` has them.
    """
    method = METHODS[label]
    if quick:
        method = dataclasses.replace(method, width=16, batch_size=64, training=chain_steps(30))
    with precision(method.precision):
        fitted = fit(method, problem, key=jax.random.key(seed))
        made: Any = method.finish(fitted.model, problem).evaluator
        chains = made.chains(np.arange(len(problem.tested)), DEEPEST)
    real = np.stack([s.y for s in problem.held_out()])
    own = {
        "problem": problem.name,
        "method": label,
        "kind": method.kind,
        "seed": seed,
        "precision": method.precision,
        "seconds_compile": fitted.compile,
        "seconds_train": fitted.seconds,
        "parameters": count_parameters(fitted.model),
    }
    rows = []
    for k in range(1, DEEPEST + 1):
        new, before, head = (chains[:, i] for i in (k, k - 1, 0))
        found = {**law(new, real), **dependence(new, before, head)}
        setting = {"setting": f"step {k}"}
        rows += [{**own, **setting, "metric": name, "value": x} for name, x in found.items()]
    return rows


def floor(problem: SeriesProblem, seed: int) -> list[dict]:
    """The records of the series that are learned from.

    **Arguments:**

    - `problem`, `seed`: as `case`.
    """
    learned, real = (np.stack([s.y for s in x]) for x in (problem.training(), problem.held_out()))
    own = {
        "problem": problem.name,
        "method": "series learned from",
        "kind": "trivial",
        "seed": seed,
        "setting": "step 0",
    }
    found = law(learned, real)
    return [{**own, "metric": name, "value": x} for name, x in found.items()]


def main(quick: bool = False) -> list[dict]:
    """All methods; flat records.

    **Arguments:**

    - `quick`: few paths and steps, one seed.
    """
    rows: list[dict] = []
    for seed in range(1 if quick else 3):
        problem = problem_of(*((128, 64) if quick else (2048, 16384)), seed)
        rows += floor(problem, seed)
        for label in METHODS:
            rows += case(label, problem, seed, quick)
    return rows
