r"""Fractional noise: errors of the memories, bridges, and Hurst indices told from series.

The error of the memories is `E int_0^T (B - sum_k w_k (Y_k - Y_k(0)))^2 dt` over that without
them. Bridges are paths of fractional noise from 0, seen once, at `t = 2`, as 0 with deviation
1/2: the deviation of the posterior at ten times stands beside the exact one, and the loss
(divergence and squared misfit) beside its exact minimum. Hurst indices are learned by the bound
on the likelihood from 512 Ornstein-Uhlenbeck series in fractional noise, drawn by the exact
covariance of that noise, by the tighter bound of 8 draws, and, as a check, by the exact
likelihood of the memories.
"""

import dataclasses
import functools
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import minimize
from scipy.special import gamma, hyp2f1

from continua.core.precision import precision
from continua.integrate.stochastic.fractional import MarkovFBM
from continua.methods import FractionalSDE, LatentSDE
from continua.methods.dynamics.latent import latent_steps, layout_of
from continua.methods.dynamics.memory import Memory, Steer, fractional, walk, white
from continua.nets import MLP, Fixed
from continua.problems import Series, SeriesProblem

_END, _SEEN = 2.0, 0.5  # of a bridge: its last time, and the deviation of what is seen there
_THETA, _SIGMA, _SPAN, _START = 1.0, 0.6, 3.0, 0.5  # of the series
_STEPS = 800  # of training
_DRAWS = 40  # times a bound is drawn
_TIGHT = 8  # draws of the posterior in a tighter bound
_PARTS = 4  # steps of the truth between two rows


def covariance(hurst: float, t: np.ndarray) -> np.ndarray:
    """`E B(s) B(t)` of Riemann and Liouville's fractional Brownian motion.

    **Arguments:**

    - `hurst`: its index.
    - `t`: times above 0, `(n,)`.
    """
    a = hurst + 0.5
    first, last = np.minimum.outer(t, t), np.maximum.outer(t, t)
    whole = first**a * last ** (a - 1) / a * hyp2f1(1 - a, 1, a + 1, first / last)
    return whole / gamma(a) ** 2


def memory_covariance(memory: Memory, hurst: float, t: np.ndarray) -> np.ndarray:
    """The same of memories of kind II.

    **Arguments:**

    - `memory`: which they are.
    - `hurst`, `t`: as `covariance`.
    """
    rates = np.asarray(memory.rates)
    shares = np.polynomial.chebyshev.chebval(2 * hurst - 1, np.asarray(memory.table))
    first, last = np.minimum.outer(t, t), np.maximum.outer(t, t)
    kept = shares * np.exp(-(last - first)[..., None] * rates)
    sums = rates[:, None] + rates
    begun = -np.expm1(-sums * t[:, None, None]) / sums @ shares  # (n, K), by the memory of `last`
    earlier = np.minimum.outer(np.arange(len(t)), np.arange(len(t)))
    return (kept * begun[earlier]).sum(axis=-1)


def approximation() -> list[dict]:
    """Relative errors of the memories for all indices and both kinds."""
    rows = []
    with precision("float64"):
        for kind, terms, fastest in (("II", 5, 20.0), ("II", 10, 100.0), ("I", 5, 20.0)):
            noise = MarkovFBM(terms, fastest, kind=kind)
            for tenth in range(1, 10):
                value = float(noise.relative_error(tenth / 10))
                own = {"problem": f"memories, H = 0.{tenth}", "seed": 0, "kind": "classical"}
                label = f"{terms} memories, kind {kind}"
                rows.append({**own, "method": label, "metric": "relative_error", "value": value})
    return rows


class Control(eqx.Module):
    """`u(t, x, Y)` of a bridge, 0 at the start.

    **Arguments:**

    - `mlp`: of sine and cosine of the time, the state and the memories.
    """

    mlp: MLP

    def __init__(self, terms: int, width: int, *, key):
        mlp = MLP(3 + terms, 1, width=width, depth=2, key=key)
        last = jax.tree.map(jnp.zeros_like, mlp.layers[-1])
        self.mlp = eqx.tree_at(lambda m: m.layers[-1], mlp, last)

    def __call__(self, t, z, scaled) -> jax.Array:
        return self.mlp(jnp.concatenate([jnp.sin(t)[None], jnp.cos(t)[None], z, scaled]))


def bridge_path(memory: Memory, control: Control | None, steps: int, key):
    """States `(G + 1,)` and the loss of a path; without a control as `FractionalSDE` begins."""
    zero, one = jnp.zeros(1), jnp.ones(1)

    def law(i, t, z, y):
        if control is not None:
            return zero, one, memory.pushed(control(t, z, memory.scaled(y)))
        until = _END - t
        aim, spread = memory.aim(until), memory.variance(until) + _SEEN**2
        size = aim @ memory.step_covariance(z.dtype) @ aim
        pull = -(z + memory.expected(y, until)) / spread
        return zero, one, Steer(zero, aim, pull, one - size / spread)

    times = memory.step * jnp.arange(steps)
    start = memory.begin(1, key=key)
    states, _, path = walk(memory, zero, start, law, times, key=key)
    return states[:, 0], path + states[-1, 0] ** 2 / (2 * _SEEN**2)


def bridges(quick: bool) -> list[dict]:
    """Bridges by a learned control, by the guide of `FractionalSDE`, and with white noise.

    **Arguments:**

    - `quick`: few steps and paths.
    """
    steps, count, train = (20, 200, 10) if quick else (100, 4000, 800)
    seeds, rows = range(1 if quick else 3), []
    step, noise = _END / steps, MarkovFBM(horizon=_END)
    at = np.arange(1, 11) * steps // 10
    with precision("float32"):
        brownian = {s: _learned(white(step), s, steps, count, train) for s in seeds}
        for hurst in (0.3, 0.7):
            memory = fractional(noise, hurst, step=step)
            exact = covariance(hurst, step * at)
            wide = exact[:, -1] ** 2 / (exact[-1, -1] + _SEEN**2)
            right = np.sqrt(np.diag(exact) - wide)
            least = 0.5 * np.log1p(exact[-1, -1] / _SEEN**2)
            for seed in seeds:
                found = {
                    "learned control": _learned(memory, seed, steps, count, train),
                    "guide alone": _drawn(memory, None, seed, steps, count),
                    "white noise": brownian[seed],
                }
                errors = {k: np.sqrt(np.mean((v[0][at] - right) ** 2)) for k, v in found.items()}
                for method, (_, loss) in found.items():
                    values = {
                        "deviation_error": errors[method],
                        "ratio_of_white_noise": errors["white noise"] / errors[method],
                        "loss": loss,
                        "least_loss": least,
                    }
                    own = {"problem": f"bridge, H = {hurst}", "method": method, "seed": seed}
                    rows += _flat(own, values)
    return rows


def _learned(memory: Memory, seed: int, steps: int, count: int, train: int):
    """Train a control; deviations of the posterior at all nodes, and the loss."""
    control = Control(len(memory.rates), 32, key=jax.random.key(seed))
    program = _trainer(memory.rates, memory.table, steps, train)
    found = program(memory.raw.value, control, jnp.asarray(seed))
    return _drawn(memory, found, 100 + seed, steps, count)


@functools.cache
def _trainer(rates: tuple, table: tuple, steps: int, train: int):
    """One compiled training for all indices and seeds, which are data of the program."""

    @eqx.filter_jit
    def run_all(raw, control, seed):
        memory = Memory(Fixed(raw), rates, _END / steps, table, 1.0, False)
        optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, train))
        weights, rest = eqx.partition(control, eqx.is_array)

        def loss(weights, key):
            control = eqx.combine(weights, rest)
            draw = jax.vmap(lambda k: bridge_path(memory, control, steps, k)[1])
            return jnp.mean(draw(jax.random.split(key, 32)))

        def one(carry, i):
            weights, state = carry
            slope = jax.grad(loss)(weights, jax.random.fold_in(jax.random.key(seed), i))
            change, state = optimiser.update(slope, state)
            return (eqx.apply_updates(weights, change), state), None

        start = (weights, optimiser.init(weights))
        (weights, _), _ = jax.lax.scan(one, start, jnp.arange(train))
        return eqx.combine(weights, rest)

    return run_all


def _drawn(memory: Memory, control: Control | None, seed: int, steps: int, count: int):
    """Deviations at all nodes, and the mean loss, of many paths."""
    keys = jax.random.split(jax.random.key(seed), count)
    program = _drawer(memory.rates, memory.table, steps)
    states, losses = program(memory.raw.value, control, keys)
    return np.asarray(states, float).std(axis=0), float(jnp.mean(losses))


@functools.cache
def _drawer(rates: tuple, table: tuple, steps: int):
    @eqx.filter_jit
    def draw(raw, control, keys):
        memory = Memory(Fixed(raw), rates, _END / steps, table, 1.0, False)
        return jax.vmap(lambda k: bridge_path(memory, control, steps, k))(keys)

    return draw


def law(hurst: float, rows: int, memory: Memory | None = None, theta: float = _THETA):
    """Of the rows behind the first: covariance at `sigma = 1`, and decay of the first.

    **Arguments:**

    - `hurst`: the index.
    - `rows`: with the first.
    - `memory`: in place of the exact noise, in units of the span.
    - `theta`: the rate.
    """
    fine = (rows - 1) * _PARTS
    unit = np.arange(1, fine + 1) / fine
    if memory is None:
        driven = covariance(hurst, _SPAN * unit)
    else:
        driven = memory_covariance(memory, hurst, unit)
    step = _SPAN / fine
    lag = np.subtract.outer(np.arange(fine), np.arange(fine))
    # The noise is straight between the nodes, and the equation is solved exactly.
    share = -np.expm1(-theta * step) / (theta * step)
    kernel = np.where(lag >= 0, np.exp(-theta * step * np.maximum(lag, 0)), 0.0) * share
    moved = kernel @ (np.eye(fine) - np.eye(fine, k=-1))
    kept = np.arange(_PARTS - 1, fine, _PARTS)
    table = moved @ driven @ moved.T
    return table[np.ix_(kept, kept)], np.exp(-theta * _SPAN * unit[kept])


def series_problem(hurst: float, seed: int, quick: bool) -> SeriesProblem:
    """The problem of making more Ornstein-Uhlenbeck series in fractional noise.

    **Arguments:**

    - `hurst`, `seed`: of the series.
    - `quick`: few of them.
    """
    learned, tested, rows = (16, 8, 8) if quick else (512, 128, 32)
    table, decay = law(hurst, rows)
    draw = np.random.default_rng(seed)
    first = _START * draw.standard_normal(learned + tested)
    noise = draw.standard_normal((learned + tested, rows - 1)) @ np.linalg.cholesky(table).T
    values = np.column_stack([first, decay * first[:, None] + _SIGMA * noise])
    t = np.linspace(0, _SPAN, rows)
    return SeriesProblem(
        name=f"series, H = {hurst}",
        title="Ornstein-Uhlenbeck series in fractional noise",
        variables=("x",),
        time="t",
        series=tuple(Series(str(i), t, x[:, None]) for i, x in enumerate(values)),
        task="generate",
        tested=tuple(range(learned, learned + tested)),
    )


def _logpdf(values: np.ndarray, table: np.ndarray, decay: np.ndarray, sigma: float) -> float:
    """The mean logarithm of the density of the rows behind the first, a row."""
    gap = (values[:, 1:] - decay * values[:, :1]) / sigma
    root = np.linalg.cholesky(table)
    white_rows = np.linalg.solve(root, gap.T)
    each = -(white_rows**2).sum() / gap.size - 2 * np.log(np.diag(root)).sum() / len(root)
    return (each - np.log(2 * np.pi)) / 2 - np.log(sigma)


def likelihood_per_row(problem: SeriesProblem, hurst: float) -> float:
    """The exact likelihood of the tested series, as a bound is told.

    **Arguments:**

    - `problem`: of `series_problem`.
    - `hurst`: its index.
    """
    values = np.stack([s.y[:, 0] for s in problem.held_out()])
    rows = values.shape[1]
    first = -((values[:, 0] / _START) ** 2).mean() / 2 - np.log(_START) - np.log(2 * np.pi) / 2
    return float((first + (rows - 1) * _logpdf(values, *law(hurst, rows), _SIGMA)) / rows)


def by_likelihood(problem: SeriesProblem) -> float:
    """The index at which the likelihood of the memories is largest, with rate and noise free.

    **Arguments:**

    - `problem`: of `series_problem`.
    """
    values = np.stack([s.y[:, 0] for s in problem.training()])
    rows = values.shape[1]
    noise = MarkovFBM(5, 2.0 * (rows - 1), 1.0, slowest=0.3)  # as `FractionalSDE` has them
    memory = fractional(noise, None, step=1 / (rows - 1))

    def cost(raw):
        hurst, theta, sigma = 1 / (1 + np.exp(-raw[0])), np.exp(raw[1]), np.exp(raw[2])
        table, decay = law(hurst, rows, memory, theta)
        return -_logpdf(values, table, decay, sigma)

    options = {"xatol": 1e-3, "fatol": 1e-7}
    found = minimize(cost, np.zeros(3), method="Nelder-Mead", options=options)
    return float(1 / (1 + np.exp(-found.x[0])))


def trained(method, problems: list[SeriesProblem], seeds: list[int]) -> tuple[list, list[float]]:
    """Models of many problems, and the bounds on the likelihood of their tested series, a row.

    All are trained as `solve` does it, side by side in one program; sizes at the start are those
    of the first problem.

    **Arguments:**

    - `method`: a latent model.
    - `problems`, `seeds`: one for each.
    """
    ((stage,), total) = method.training.stages, method.training.steps
    draws = method.importance_draws
    with precision("float32"):
        models = [
            method.init(p, key=jax.random.key(s)) for p, s in zip(problems, seeds, strict=True)
        ]
        rest = eqx.filter(models[0], eqx.is_inexact_array, inverse=True)
        weights = _stacked([eqx.filter(m, eqx.is_inexact_array) for m in models])
        data = _stacked([eqx.filter(method.batches(p), eqx.is_array) for p in problems])
        sampler = eqx.filter(method.batches(problems[0]), eqx.is_array, inverse=True)
        held = _stacked([_held_out(method, p) for p in problems])

        def train(weights, data, key):
            def one(carry, i):
                def objective(weights):
                    batch = eqx.combine(data, sampler).sample(i, None, key=key)
                    model = eqx.combine(weights, rest)
                    return method.loss(model, batch, key=jax.random.fold_in(key, i))

                found = stage.optimiser.step(objective, *carry, step=i, total=total)
                return found[:2], None

            start = (weights, stage.optimiser.init(weights))
            return jax.lax.scan(one, start, jnp.arange(total))[0][0]

        def bound(weights, windows, key):
            model = eqx.combine(weights, rest)
            keys = jax.random.split(key, windows.share.shape[0])
            each = jax.vmap(lambda w, k: model.bound(w, 1.0, draws=draws, key=k)[0])(windows, keys)
            return jnp.sum(each) / jnp.sum(windows.mask)

        keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
        weights = jax.jit(jax.vmap(train))(weights, data, keys)
        many = jax.jit(jax.vmap(bound, in_axes=(0, 0, None)))
        each = [np.asarray(many(weights, held, jax.random.key(i)), float) for i in range(_DRAWS)]
        scales = [np.log(_layout(method, p).scaling.std[0]) for p in problems]
        found = [eqx.combine(w, rest) for w in _apart(weights, len(seeds))]
    return found, [float(x) for x in np.mean(each, axis=0) - scales]


def _stacked(trees: list):
    """One tree of many that have the leaves of the first; all else is that of the first."""
    leaves = zip(*map(jax.tree.leaves, trees), strict=True)
    return jax.tree.unflatten(jax.tree.structure(trees[0]), [jnp.stack(x) for x in leaves])


def _apart(tree, count: int) -> list:
    return [jax.tree.map(operator.itemgetter(i), tree) for i in range(count)]


def _layout(method, problem: SeriesProblem):
    return layout_of(problem, method.window, method.substeps, method.positive)


def _held_out(method, problem: SeriesProblem):
    """The windows of the tested series."""
    tested, none = problem.held_out(), np.zeros((len(problem.tested), 0))
    held = dataclasses.replace(_layout(method, problem), series=tested, whole=tested, statics=none)
    return _stacked([held.window(r, 0, len(tested[r].t)) for r in range(len(tested))])


def indices(quick: bool) -> list[dict]:
    """The index of series, by `FractionalSDE`, with a tighter bound too, and by the likelihood;
    a bound by `LatentSDE`.

    **Arguments:**

    - `quick`: as `main` has it.
    """
    cases = [(h, s) for s in range(1 if quick else 3) for h in (0.2, 0.4, 0.7)]
    problems = [series_problem(h, s, quick) for h, s in cases]
    settings: dict[str, Any] = {"states": 1, "context": 16, "substeps": 1, "batch_size": 64}
    training, rows = latent_steps(20 if quick else _STEPS, 1e-2), []
    methods = {
        "FractionalSDE": FractionalSDE(**settings, training=training),
        f"FractionalSDE, {_TIGHT} draws": FractionalSDE(
            **settings, training=training, importance_draws=_TIGHT
        ),
        "LatentSDE": LatentSDE(**settings, training=training),
    }
    for label, method in methods.items():
        models, bounds = trained(method, problems, [s for _, s in cases])
        found = zip(cases, problems, models, bounds, strict=True)
        for (hurst, seed), problem, model, bound in found:
            likelihood = likelihood_per_row(problem, hurst)
            values = {"bound_per_row": bound, "likelihood_per_row": likelihood}
            if model.memory is not None:
                values |= _told(float(model.memory.hurst), hurst)
            own = {"problem": problem.name, "method": label, "seed": seed, "kind": "learned"}
            rows += _flat({**own, "precision": "float32"}, values)
    for (hurst, seed), problem in zip(cases, problems, strict=True):
        own = {"problem": problem.name, "method": "likelihood of the memories", "seed": seed}
        rows += _flat(own, _told(by_likelihood(problem), hurst))
    return rows


def _told(found: float, hurst: float) -> dict[str, float]:
    return {"hurst": found, "hurst_error": abs(found - hurst)}


def _flat(own: dict, values: dict) -> list[dict]:
    kind = {"kind": "classical"}
    return [{**kind, **own, "metric": name, "value": float(x)} for name, x in values.items()]


def main(quick: bool = False) -> list[dict]:
    """All parts; flat records.

    **Arguments:**

    - `quick`: few series, paths and steps, one seed.
    """
    return approximation() + bridges(quick) + indices(quick)
