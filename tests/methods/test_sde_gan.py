"""SDE-GAN: slopes that stay bounded, one backward pass for two players, and new series."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import continua as ct
from continua.compare import score
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.integrate.stochastic import SDE, StochasticReversibleHeun, solve_sde
from continua.integrate.stochastic.brownian import normal, seeds
from continua.methods.dynamics.sde_gan import (
    SDEGAN,
    adversarial_steps,
    centred,
    sights_of,
)
from continua.methods.dynamics.sde_gan_model import (
    CDECritic,
    SDEGenerator,
    clip_lipschitz,
    reversed_gradient,
)
from continua.metrics import marginal_distance, signature_distance
from continua.nets import Linear, lipswish
from continua.problems import Series, SeriesProblem
from continua.train import Adam, OptimisticAdam, Stage, Training, fit

KEY = jax.random.key(0)
SMALL: dict[str, Any] = {"states": 4, "critic_states": 4, "width": 4, "batch_size": 16}


def walks(count=64, rows=9, *, gaps=True, uneven=False, **fields) -> SeriesProblem:
    rng, series = np.random.default_rng(0), []
    for i in range(count):
        t = np.linspace(2, 3, rows)
        t[1:-1] += uneven * rng.uniform(-0.03, 0.03, rows - 2)
        y = np.cumsum(0.4 + 0.6 * rng.standard_normal((rows, 1)), axis=0)
        if gaps and i % 3 == 0:
            y[4] = np.nan
        series.append(Series(str(i), t, y))
    fields = {"task": "generate", "tested": tuple(range(count - 4, count)), **fields}
    return SeriesProblem(
        name="walks", title="Walks", variables=("x",), time="t", series=tuple(series), **fields
    )


def column_sums(tree) -> list[float]:
    linear = [
        x
        for x in jax.tree.leaves(tree, is_leaf=lambda n: isinstance(n, Linear))
        if isinstance(x, Linear)
    ]
    return [float(jnp.abs(x.weight).sum(axis=0).max()) for x in linear]


def test_the_slope_of_lipswish():
    x = jnp.linspace(-10, 10, 200_001)
    slopes = jax.vmap(jax.grad(lipswish))(x)
    assert float(jnp.abs(slopes).max()) == pytest.approx(0.99975, abs=1e-5)


def test_layers_of_a_clipped_critic_have_slopes_of_one_at_the_most():
    critic = CDECritic(3, states=5, rates=(1.0, 1.0), width=7, depth=2, key=KEY)
    clipped = clip_lipschitz(jax.tree.map(lambda x: 30 * x, critic))
    sums = column_sums(clipped)
    assert len(sums) == 3 * 3 + 1
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)  # all of them at the bound
    biases = [m.bias for m in critic.first.value.layers]
    for found, right in zip((m.bias for m in clipped.first.value.layers), biases, strict=True):
        np.testing.assert_allclose(found, 30 * right)  # they are free
    # So the network of the first states brings any two points nearer in the 1-norm.
    a, b = jax.random.normal(jax.random.key(1), (2, 500, 4))
    moved = jnp.abs(jax.vmap(clipped.first.value)(a) - jax.vmap(clipped.first.value)(b)).sum(1)
    assert float((moved / jnp.abs(a - b).sum(1)).max()) <= 1.0


def test_weights_are_clipped_by_training():
    method = SDEGAN(**SMALL, training=adversarial_steps(5, 0.05))
    model = fit(method, walks(), key=KEY).model
    assert max(column_sums(model.critic)) <= 1 + 1e-6
    wide = jax.tree.map(lambda x: 3 * x, model)
    assert max(column_sums(method.project(wide).critic)) <= 1 + 1e-6
    free = dataclasses.replace(method, clip=False).project(wide)
    assert max(column_sums(free.critic)) > 1.2
    for a, b in zip(
        *(jax.tree.leaves(m.generator) for m in (method.project(wide), wide)), strict=True
    ):
        np.testing.assert_array_equal(a, b)  # the generator is never clipped


def gradients(method, model, batch):
    """Of the loss, and of both players apart without a reversal."""

    def plain(generator, critic):
        fake = generator(model.ts.value, jnp.arange(len(batch[0])), key=KEY)
        ts = method.critic_horizon / model.ts.value[-1] * model.ts.value
        scores = [critic(ts, method.sharpness * x) for x in (batch[0], fake)]
        return jnp.mean(scores[0]) - jnp.mean(scores[1])

    both = eqx.filter_grad(lambda m: method.loss(m, batch, key=KEY)[0])(model)
    down = eqx.filter_grad(lambda g: plain(g, model.critic))(model.generator)
    up = eqx.filter_grad(lambda c: plain(model.generator, c))(model.critic)
    return both, down, up


def test_one_backward_pass_has_the_gradients_of_both_players():
    method, problem = SDEGAN(**SMALL), walks(gaps=False)
    model = method.init(problem, key=KEY)
    batch = method.batches(problem).sample(0, model, key=KEY)
    assert batch[1] is None
    both, down, up = gradients(method, model, batch)
    for found, right, sign in ((both.generator, down, 1), (both.critic, up, -1)):
        pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(right), strict=True))
        assert len(pairs) > 8
        for a, b in pairs:
            np.testing.assert_allclose(a, sign * b, rtol=1e-9, atol=1e-12)
        assert max(float(jnp.abs(a).max()) for a, _ in pairs) > 1e-3
    tree = {"a": jnp.ones(2), "b": None}
    np.testing.assert_array_equal(reversed_gradient(tree)["a"], tree["a"])


def test_the_gradient_of_the_loss_is_that_of_differences():
    method, problem = SDEGAN(**SMALL), walks(uneven=True)
    model = method.init(problem, key=KEY)
    batch = method.batches(problem).sample(0, model, key=KEY)
    assert batch[1] is not None
    gradient = eqx.filter_grad(lambda m: method.loss(m, batch, key=KEY)[0])(model)
    for part, sign in (("generator", 1), ("critic", -1)):
        leaves, structure = jax.tree.flatten(eqx.filter(getattr(model, part), eqx.is_array))
        rest = eqx.filter(getattr(model, part), eqx.is_array, inverse=True)
        ways = [jnp.cos(jnp.arange(float(x.size))).reshape(x.shape) for x in leaves]

        def loss(step, part=part, leaves=leaves, ways=ways, structure=structure, rest=rest):
            moved = [x + step * w for x, w in zip(leaves, ways, strict=True)]
            whole = eqx.combine(jax.tree.unflatten(structure, moved), rest)
            changed = dataclasses.replace(model, **{part: whole})
            return method.loss(changed, batch, key=KEY)[0]

        found = sum(
            float(jnp.sum(g * w))
            for g, w in zip(jax.tree.leaves(getattr(gradient, part)), ways, strict=True)
        )
        about = (loss(1e-6) - loss(-1e-6)) / 2e-6
        assert found == pytest.approx(sign * float(about), rel=1e-6)


def test_the_generator_is_the_solution_of_its_equation():
    sizes = {"states": 4, "noise_size": 3, "seed_size": 2, "width": 5, "depth": 1}
    model = SDEGenerator(2, noise=0.7, first_rate=1.0, key=KEY, **sizes)
    ts = jnp.array([0.0, 0.4, 0.5, 1.3])
    found = model(ts, jnp.arange(6), key=KEY)
    few = model(ts, jnp.array([4, 1]), key=KEY)
    np.testing.assert_allclose(few, found[jnp.array([4, 1])], rtol=1e-12, atol=1e-14)
    sde = SDE(
        lambda t, x, _: model.drift(t, x),
        lambda t, x, _: model.diffusion(t, x),
        "general",
        "stratonovich",
    )
    first, noise = jax.random.split(KEY)
    x0 = model.first.value(normal(seeds(first, 3, 2), 0, 0, ts.dtype))
    right = solve_sde(
        sde, StochasticReversibleHeun(), t0=0.0, t1=1.3, saveat=np.asarray(ts), dt0=9.0, y0=x0,
        key=noise, path=3,
    )  # fmt: skip
    np.testing.assert_allclose(jax.vmap(model.readout)(right.ys), found[3], atol=1e-12)


def test_the_critic_sees_speed_and_not_the_company():
    critic = CDECritic(1, states=6, rates=(1.0, 1.0), width=8, depth=1, key=KEY)
    ts = jnp.linspace(0, 8, 33)
    slow = jnp.linspace(0, 4, 33)[:, None]
    fast = jnp.minimum(2 * slow, 4.0)  # the same path, gone through in half of the time
    paths = jnp.stack([slow, fast, -slow])
    scores = critic(ts, paths)
    assert abs(float(scores[0] - scores[1])) > 1e-3
    np.testing.assert_allclose(critic(ts, paths[1:])[0], scores[1], rtol=1e-12)


def test_new_paths_are_seen_where_the_data_are():
    rng, rows = np.random.default_rng(3), np.arange(12.0)
    whole = rng.standard_normal((5, 12, 2))
    missing = rng.random(whole.shape) < 0.4
    missing[0] = False  # the longest has all rows
    holes = np.where(missing, np.nan, whole)
    series = tuple(Series(str(i), rows + 7, y) for i, y in enumerate(holes))
    problem = SeriesProblem("holes", "", ("a", "b"), "t", series, task="generate")
    table = centred(problem, False)
    sights = sights_of(problem, table)
    assert sights is not None
    # The series themselves have straight lines between what is measured.
    scaled = (table.scaling.encode(whole) - table.middle) / table.spread
    np.testing.assert_allclose(sights(jnp.asarray(scaled)), table.paths, atol=1e-12)
    assert np.abs(scaled - table.paths).max() > 1
    np.testing.assert_allclose(table.decode(scaled), whole, atol=1e-12)
    twin = Series("twin", rows, whole[0])
    full = dataclasses.replace(problem, series=(series[0], twin))
    assert sights_of(full, centred(full, False)) is None


def test_times_between_rows_count_as_the_nearest():
    rows = np.arange(4.0)
    times = np.array([0.0, 1.3, 1.8, 3.0])
    series = (Series("a", rows, np.ones((4, 1))), Series("b", times, np.ones((4, 1))))
    problem = SeriesProblem("uneven", "", ("x",), "t", series, task="generate")
    sights = sights_of(problem, centred(problem, False))
    assert sights is not None
    np.testing.assert_array_equal(sights.before[1, :, 0], [0, 0, 2, 3])
    np.testing.assert_array_equal(sights.after[1, :, 0], [0, 1, 3, 3])
    np.testing.assert_allclose(sights.share[1, :, 0], [0, 1 / 1.3, 0.2 / 1.2, 0])


def test_training_comes_nearer_to_the_law(tmp_path):
    problem = walks(256)
    sizes = {**SMALL, "states": 8, "batch_size": 64}
    method = SDEGAN(**sizes, training=adversarial_steps(200, 1e-2))
    start = method.finish(method.init(problem, key=KEY), problem)
    solution = ct.solve(problem, method, key=KEY)
    assert solution.result.ok
    real = np.stack([s.y for s in walks(512, gaps=False).series])
    for distance in (marginal_distance, signature_distance):
        before, after = (distance(x.evaluator.sample(range(300)), real) for x in (start, solution))
        assert after < 0.4 * before
    paths: Any = solution.evaluator
    new = paths.sample([0, 3, 7])
    np.testing.assert_allclose(paths.sample([7])[0], new[2], atol=1e-5)
    t = np.linspace(2, 3, 9)
    np.testing.assert_allclose(solution(np.full(9, 3.0), t), new[1, :, 0], atol=1e-5)
    assert np.isnan(solution(3.0, 3.2))
    assert 0 < score(solution, problem)["signature_distance"] < np.inf
    solution.save(tmp_path)
    np.testing.assert_array_equal(Solution.load(tmp_path)(3.0, t), solution(3.0, t))


def test_optimism_finds_the_equilibrium_that_plain_steps_go_around():
    """`min_x max_y x y`, from both gradients at once."""

    def loss(p):
        return p["x"] * reversed_gradient(p["y"]), {}

    def end(optimiser):
        p, state, n = {"x": jnp.ones(()), "y": jnp.ones(())}, None, 2000
        state = optimiser.init(p)

        def step(i, carry):
            return optimiser.step(loss, *carry, step=i, total=n)[:2]

        p, _ = jax.lax.fori_loop(0, n, step, (p, state))
        return float(jnp.hypot(p["x"], p["y"]))

    assert end(OptimisticAdam(3e-2)) < 0.1
    assert end(Adam(3e-2, b1=0.0, b2=0.99)) > 0.5


def test_what_cannot_be_learned_is_said():
    with pytest.raises(InputError, match=r"SDEGAN.width: got 0; give 1 or more"):
        SDEGAN(width=0)
    with pytest.raises(InputError, match=r"SDEGAN.sharpness: got -1.0; give a positive number"):
        SDEGAN(sharpness=-1.0)
    with pytest.raises(InputError, match="one series, and a law is learned from many"):
        ct.solve(walks(2, tested=(1,)), SDEGAN())
    empty = Series("empty", np.arange(2.0), np.full((2, 1), np.nan))
    problem = walks(5, tested=())
    problem = dataclasses.replace(problem, series=(*problem.series, empty))
    with pytest.raises(InputError, match="series 'empty': 'x' holds no number"):
        ct.solve(problem, SDEGAN())
    forecast = walks(5, tested=(), task="forecast")
    assert SDEGAN().supports(forecast).reason == "SDEGAN does not forecast series"
    assert isinstance(Training((Stage(OptimisticAdam()),)), Training)
