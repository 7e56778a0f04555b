"""Latent SDE and latent ODE: new series, likelihoods, hidden values, bands of forecasts.

Generated are an Ornstein-Uhlenbeck process whose noise grows with time (a third of its values
missing) and walks between two wells: measured by the scores of `compare`, the logarithms of
the ratios of deviations at three times, and the correlation of increments with those before.
The bound on the likelihood stands beside the exact likelihood of a linear equation. Half of
the values of noisy waves is hidden. The last three cycles of the yearly sunspots are forecast.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import run
from benchmarks.laws import DEVIATION, generation, law_rows
from continua.core.precision import precision
from continua.methods import ARIMA, KalmanSmoother, LatentODE, LatentSDE, Oscillator, Persistence
from continua.methods.dynamics.latent import latent_steps, layout_of
from continua.problems import Series, SeriesProblem, hide, sunspots


def likelihood(quick: bool, seed: int) -> list[dict]:
    """The bound per row beside the exact likelihood, on new series of a linear equation.

    **Arguments:**

    - `quick`, `seed`: as `main` has them.
    """
    problem = generation("stationary", quick)
    steps = latent_steps(40 if quick else 1500)
    method = LatentSDE(states=1, context=16, substeps=1, batch_size=128, training=steps)
    solution, (row, *_) = run(problem, method, seed=seed)
    values = np.stack([s.y[:, 0] for s in problem.held_out()])
    # From row to row the process decays, and the first value has its own law.
    decay, variance = np.exp(-0.2), DEVIATION**2
    exact = sum(
        (-(gap**2) / (2 * v) - 0.5 * np.log(2 * np.pi * v)).sum()
        for gap, v in (
            (values[:, 1:] - decay * values[:, :-1], variance * (1 - decay**2)),
            (values[:, 0], variance),
        )
    )
    found = {
        "bound_per_row": held_out_bound(method, solution, problem),
        "likelihood_per_row": exact / values.size,
    }
    own = {**row, "problem": "likelihood"}
    return [{**own, "metric": name, "value": float(x)} for name, x in found.items()]


def held_out_bound(method, solution, problem, draws: int = 20) -> float:
    """The mean bound on the likelihood of the tested series, a row, in their units.

    **Arguments:**

    - `method`, `solution`, `problem`: what was trained on what.
    - `draws`: of the posterior, a series.
    """
    with precision("float32"):
        layout = layout_of(problem, method.window, method.substeps, method.positive)
        tested, none = problem.held_out(), np.zeros((len(problem.tested), 0))
        held = dataclasses.replace(layout, series=tested, whole=tested, statics=none)
        pieces = [held.window(r, 0, len(tested[r].t)) for r in range(len(tested))]
        windows = jax.tree.map(lambda *x: jnp.stack(x), *pieces)
        model = solution.evaluator.model

        @jax.jit
        def bound(key):
            keys = jax.random.split(key, len(pieces))
            return jnp.sum(jax.vmap(lambda w, k: model.elbo(w, 1.0, key=k)[0])(windows, keys))

        found = [float(bound(jax.random.key(i))) for i in range(draws)]
        count = float(jnp.sum(windows.mask))
    return float(np.mean(found) / count - np.log(layout.scaling.std[0]))


def waves(quick: bool, seed: int) -> SeriesProblem:
    """Noisy waves of two channels at uneven times, half of their values hidden."""
    draw, series = np.random.default_rng(seed), []
    for i in range(12 if quick else 100):
        t = np.sort(draw.uniform(0, 12, 40))
        size, phase = draw.uniform(0.5, 1.5), draw.uniform(0, 2 * np.pi)
        y = size * np.stack([np.sin(t + phase), np.cos(t + phase)], axis=-1)
        series.append(Series(str(i), t, y + 0.05 * draw.standard_normal(y.shape)))
    problem = SeriesProblem(
        name="hidden_waves", title="Waves", variables=("a", "b"), time="t", series=tuple(series)
    )
    return hide(problem, 0.5, seed=seed)


def lines(problem, seed: int) -> list[dict]:
    """Errors of straight lines between what is seen.

    **Arguments:**

    - `problem`: of hidden values.
    - `seed`: for the record.
    """
    gaps = []
    for seen, whole in zip(problem.training(), problem.held_out(), strict=True):
        for c in range(seen.y.shape[1]):
            there = np.isfinite(seen.y[:, c])
            found = np.interp(whole.t, seen.t[there], seen.y[there, c])
            gap = found - whole.y[:, c]
            gaps.append(gap[np.isfinite(gap)])
    value = float(np.sqrt(np.mean(np.concatenate(gaps) ** 2)))
    own = {"problem": problem.name, "method": "straight lines", "kind": "trivial", "seed": seed}
    return [{**own, "metric": "rmse_held_out", "value": value}]


def banded(problem, method, *, label: str = "", seed: int = 0) -> list[dict]:
    """A forecast's records, with the share of what was held out in its band of 90 %.

    **Arguments:**

    - `problem`, `method`: of one series.
    - `label`, `seed`: as `run`.
    """
    solution, rows = run(problem, method, label=label, seed=seed)
    (held,) = problem.held_out()
    if solution.spread is None:
        return rows
    gap = np.abs(solution.values(held.t).T - held.y)
    inside = gap <= 1.645 * solution.deviation(held.t).T
    return [*rows, {**rows[0], "metric": "coverage_90", "value": float(np.mean(inside))}]


def laws(kind: str, quick: bool, seed: int) -> list[dict]:
    """New series by a latent SDE and by a latent ODE with noise on its values alone.

    **Arguments:**

    - `kind`: as `laws.paths`.
    - `quick`, `seed`: as `main` has them.
    """
    problem, rows = generation(kind, quick, missing=0.3 if kind == "growing" else 0.0), []
    own: dict[str, Any] = {"states": 2, "context": 16, "substeps": 1, "batch_size": 128}
    steps = latent_steps(40 if quick else 800)
    for cls in (LatentSDE, LatentODE):
        method = cls(**own, time_dependent=kind == "growing", training=steps)
        rows += law_rows(problem, *run(problem, method, seed=seed))
    return rows


def hidden(quick: bool, seed: int) -> list[dict]:
    """Hidden values by the latent models, a Kalman smoother and straight lines.

    **Arguments:**

    - `quick`, `seed`: as `main` has them.
    """
    problem, rows = waves(quick, seed), lines(waves(quick, seed), seed)
    steps = latent_steps(40 if quick else 800)
    for cls in (LatentODE, LatentSDE):
        rows += run(problem, cls(batch_size=32, training=steps), seed=seed)[1]
    return rows + run(problem, KalmanSmoother(Oscillator()), seed=seed)[1]


def forecasts(quick: bool, seed: int) -> list[dict]:
    """The last cycles of the sunspots, by a latent SDE and, once, by the classical methods.

    **Arguments:**

    - `quick`, `seed`: as `main` has them.
    """
    steps, problem = latent_steps(40 if quick else 1500), sunspots()
    method = LatentSDE(window=45, states=4, batch_size=32, training=steps)
    rows = banded(problem, method, seed=seed)
    if seed == 0:
        for baseline in (ARIMA(order=(9, 0, 0)), KalmanSmoother(), Persistence()):
            rows += banded(problem, baseline)
    return rows


def main(quick: bool = False) -> list[dict]:
    """All parts; flat records.

    **Arguments:**

    - `quick`: few series and steps, one seed.
    """
    rows: list[dict] = []
    for seed in range(1 if quick else 3):
        for kind in ("growing", "double_well"):
            rows += laws(kind, quick, seed)
        rows += likelihood(quick, seed) + hidden(quick, seed) + forecasts(quick, seed)
    return rows
