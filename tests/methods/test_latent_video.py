"""Latent videos: the posterior and its cost, gradients, answers, training, files."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import continua as ct
from continua.compare import score
from continua.core.errors import InputError
from continua.core.precision import precision
from continua.methods.dynamics.latent_video import LatentVideo, video_steps
from continua.metrics import peak_signal_to_noise
from continua.problems import moving_digits

KEY = jax.random.key(0)
IMAGES = np.kron(np.random.default_rng(0).uniform(0.3, 1.0, (10, 2, 2)), np.ones((1, 3, 3)))
SMALL = {"states": 2, "channels": 4, "features": 8, "width": 8, "substeps": 2, "memories": 3}


def blocks(count=6, tested=2, **changes):
    """Videos of 16 by 16 pixels with bright blocks of 6 by 6 that move."""
    given = {"images": IMAGES, "enlarged": 1, "size": 16, "length": 6, "observed": 4, **changes}
    return moving_digits(count, tested, **given)


def model_of(**changes):
    """An untrained model of small sizes."""
    return LatentVideo(**{**SMALL, **changes}).init(blocks(), key=KEY)


def with_control(model, bias):
    """The same model, whose control is a constant."""
    return eqx.tree_at(lambda m: m.control.layers[-1].bias, model, bias)


@eqx.filter_jit
def read(model, frames):
    """Content, features and contexts, compiled."""
    return model.read(frames)


@eqx.filter_jit
def posterior(model, contexts, key):
    """States, memories and divergences, compiled."""
    return model.posterior(contexts, contexts, key=key)


@eqx.filter_jit
def march(model, x, past, key, steps: int, begin: int = 0):
    """The prior from a node on, compiled."""
    return model.march(x, past, None, key=key, steps=steps, begin=begin)


@eqx.filter_jit
def elbo(model, frames, keys, weight):
    """Bounds of videos and their parts, compiled."""
    return jax.vmap(lambda y, k: model.elbo(y, weight, key=k))(frames, keys)


@pytest.mark.parametrize("noise", ["fractional", "white"])
def test_posterior_without_control_is_the_prior(noise):
    model = model_of(noise=noise)  # its control begins as 0
    contexts = jax.random.normal(KEY, (6, 8))
    states, pasts, _, path = posterior(model, contexts, KEY)
    assert float(path) == 0.0
    key = jax.random.split(KEY)[1]
    free, memories, zero = march(model, states[0], pasts[0], key, 10)
    assert states.shape == (11, 2)
    np.testing.assert_allclose(free, states, atol=1e-14)
    np.testing.assert_allclose(memories, pasts, atol=1e-14)
    assert float(zero) == 0.0
    # In pieces, as futures are drawn.
    later = march(model, states[4], pasts[4], key, 6, 4)[0]
    np.testing.assert_allclose(later, states[4:], atol=1e-12)


@pytest.mark.parametrize("noise", ["fractional", "white"])
def test_divergence_of_a_constant_control(noise):
    u = jnp.array([0.7, -1.2])
    model = with_control(model_of(noise=noise), u)
    contexts = jnp.zeros((6, 8))
    _, pasts, start, path = posterior(model, contexts, KEY)
    np.testing.assert_allclose(path, 5 * jnp.sum(u**2) / 2, rtol=1e-12)
    # The same noise, driven: memories differ by (1 - exp(-g t)) u / g, and white noise by u t.
    rates = np.asarray(model.memory.rates)
    free = posterior(with_control(model, jnp.zeros(2)), contexts, KEY)[1]
    t = np.arange(11)[:, None, None] / 2
    moved = -np.expm1(-rates * t) / rates if noise == "fractional" else t
    np.testing.assert_allclose(pasts - free, moved * u[:, None], atol=1e-12)
    # The start against the formula for normal laws.
    mean, log_variance = model.begin(contexts, contexts)
    exact = jnp.sum(jnp.exp(log_variance) + mean**2 - 1 - log_variance) / 2
    np.testing.assert_allclose(start, exact, rtol=1e-12)


def test_white_noise_is_euler_and_maruyama():
    model = model_of(noise="white")
    x = jnp.array([0.3, -0.2])
    states = march(model, x, jnp.zeros((2, 1)), KEY, 4)[0]
    coefficients = eqx.filter_jit(lambda x: (model.drift(x), model.diffusion(x)))
    for i in range(4):
        draw = jax.random.normal(jax.random.fold_in(KEY, i), (2, 1))[:, 0]
        b, s = coefficients(x)
        x = x + 0.5 * b + 0.5**0.5 * s * draw
        np.testing.assert_allclose(states[i + 1], x, atol=1e-13)
    # Each coordinate of the diffusion sees itself alone.
    slopes = jax.jit(jax.jacobian(model.diffusion))(x)
    assert slopes[0, 1] == slopes[1, 0] == 0.0
    assert slopes[0, 0] != 0.0


def test_gradient_of_the_bound():
    frames = jnp.asarray(blocks().frames[1], float)
    model = with_control(model_of(), jnp.array([0.2, -0.1]))
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    flat, tree = ravel_pytree(weights)

    def bound(flat):
        return eqx.combine(tree(flat), rest).elbo(frames, key=KEY)[0]

    both = jax.jit(jax.value_and_grad(bound))
    slope = both(flat)[1]
    hurst = lambda m: m.memory.raw.value  # noqa: E731
    zeros = jax.tree.map(jnp.zeros_like, weights)
    index = ravel_pytree(eqx.tree_at(hurst, zeros, jnp.ones(())))[0]
    assert float(slope @ index) != 0.0
    ways = [jax.random.normal(jax.random.fold_in(KEY, i), flat.shape) for i in range(3)]
    for way in (*ways, index):  # all weights at once, and the Hurst index alone
        numbers = (both(flat + 1e-6 * way)[0] - both(flat - 1e-6 * way)[0]) / 2e-6
        np.testing.assert_allclose(slope @ way, numbers, rtol=2e-5)


def test_bound_of_a_video_knows_no_other_video():
    model, frames = model_of(), jnp.asarray(blocks().frames[:3], float)
    keys = jax.random.split(KEY, 3)
    one = jnp.ones(())
    bounds, parts = elbo(model, frames, keys, one)
    changed, _ = elbo(model, frames.at[2].set(0.0), keys, one)
    np.testing.assert_allclose(bounds[:2], changed[:2], rtol=1e-13)
    assert bounds[2] != changed[2]
    turned = elbo(model, frames[::-1], keys[::-1], one)[0]
    np.testing.assert_allclose(turned, bounds[::-1], rtol=1e-12)
    # The bound by its definition, of its parts: r = 0.2, 6 frames of 256 pixels.
    likelihood = -parts["squares"] / 0.08 - 6 * 256 * 0.5 * np.log(2 * np.pi * 0.04)
    divergence = parts["start"] + parts["path"]
    np.testing.assert_allclose(bounds, likelihood - divergence, rtol=1e-12)
    weighed = elbo(model, frames, keys, one / 4)[0]
    np.testing.assert_allclose(weighed, bounds + 0.75 * divergence, rtol=1e-12)
    # What the loss of a batch is: of a frame.
    method = LatentVideo(**SMALL)
    loss = eqx.filter_jit(lambda m, b, k: method.loss(m, b, key=k)[0])
    mean = loss(model, (frames, one), KEY)
    np.testing.assert_allclose(mean, -jnp.mean(bounds) / 6, rtol=1e-12)


def test_what_is_read_of_the_first_frames():
    model, frames = model_of(), jnp.asarray(blocks().frames[0], float)
    content, features, contexts = read(model, frames)
    first, _, early = read(model, frames[:4])
    np.testing.assert_allclose(first, content, atol=1e-13)
    np.testing.assert_allclose(early[:2], contexts[:2], atol=1e-13)
    assert np.abs(early[3] - contexts[3]).max() > 1e-3
    # The content does not ask in which order frames come.
    np.testing.assert_allclose(read(model, frames[:4][::-1])[0], content, atol=1e-13)
    middle = np.median(features[:4], axis=0)
    inner, outer = model.content
    np.testing.assert_allclose(outer(jax.nn.silu(inner(jnp.asarray(middle)))), content, atol=1e-12)
    table = model.between(contexts)
    np.testing.assert_array_equal(table[::2], contexts[:-1])
    np.testing.assert_allclose(table[1], (contexts[0] + contexts[1]) / 2, atol=1e-13)


@pytest.fixture(scope="module")
def trained():
    problem = blocks(64, 4, seed=1)
    sizes = {**SMALL, "channels": 8, "features": 16, "width": 16, "substeps": 1, "draws": 6}
    method = LatentVideo(**sizes, batch_size=8, training=video_steps(250, 4e-3))
    return problem, ct.solve(problem, method, key=KEY)


def test_training_beats_the_mean_frame(trained):
    problem, solution = trained
    losses = [row["loss"] for row in solution.history if np.isfinite(row["loss"])]
    assert losses[-1] < losses[0] - 50  # nats a frame
    tested = problem.frames[list(problem.tested)]
    with precision("float32"):
        found = solution.evaluator.reconstruct(tested)
    mean = np.broadcast_to(problem.training().mean(axis=(0, 1)), tested.shape)
    told, trivial = (peak_signal_to_noise(f, tested).mean() for f in (found, mean))
    assert told > trivial + 1  # decibels
    errors = score(solution, problem)
    assert errors["psnr_observed"] > peak_signal_to_noise(mean, tested)[:, :4].mean() + 0.7
    assert 0.05 < solution.parameters["hurst"].value < 0.95
    assert solution.parameters["hurst"].value != 0.5
    assert solution.precision == "float32"


def test_answers(trained, tmp_path):
    problem, solution = trained
    with precision("float32"):
        drawn = solution.evaluator.futures(problem.seen(), draws=6)
        alone = solution.evaluator.futures(problem.seen()[:1], draws=6)
        assert drawn.shape == (4, 6, 6, 16, 16)
        # A video does not depend on those beside it, nor on how far it is asked for.
        np.testing.assert_allclose(alone[0], drawn[0], atol=1e-5)
        longer = solution.evaluator.futures(problem.seen()[:1], draws=6, length=9)
        np.testing.assert_allclose(longer[:, :, :6], alone, atol=1e-5)
        new = solution.evaluator.imagine(problem.seen()[0], 3)
    assert new.shape == (3, 6, 16, 16)
    # Draws part in the frames that follow.
    assert drawn[:, :, 5].std(axis=1).mean() > drawn[:, :, 1].std(axis=1).mean()
    number = float(problem.tested[2])
    mean = solution(number, 5.0, 3.0, 15.0)  # the fourth column of the uppermost row
    with precision("float32"):
        again = solution.evaluator._drawn(problem.seen()[2:3], problem.tested[2:3])
    assert float(mean) == pytest.approx(again[0, :, 5, 0, 3].mean(), abs=1e-5)
    wide = solution.deviation(number, 5.0, 3.0, 15.0)
    assert float(wide[0]) == pytest.approx(np.hypot(again[0, :, 5, 0, 3].std(), 0.2), abs=1e-5)
    solution.save(tmp_path)
    loaded = ct.Solution.load(tmp_path)
    np.testing.assert_array_equal(loaded(number, 5.0, 3.0, 15.0), mean)
    assert loaded.parameters["hurst"].value == solution.parameters["hurst"].value


def test_sizes_of_the_noise():
    method = LatentVideo(memories=4, fractional_kind="II")
    memory = method.memory(13)
    assert memory.rates[0] == pytest.approx(0.3 / 12)
    assert memory.rates[-1] == pytest.approx(2.0)
    assert not memory.stationary
    assert memory.learned
    assert LatentVideo().memory(13).stationary
    assert not LatentVideo(hurst=0.3).memory(13).learned
    assert LatentVideo(hurst=0.3).memory(13).hurst == pytest.approx(0.3)
    assert LatentVideo(noise="white").memory(13).rates == (0.0,)
    # A frame later paths are about as uncertain, whatever the index.
    for hurst in (0.3, 0.5, 0.7):
        memory = LatentVideo(hurst=hurst).memory(13)
        assert 0.5 < float(memory.variance(1.0)) < 1.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"noise": "whit"}, "LatentVideo.noise: got 'whit'; did you mean 'white'"),
        ({"hurst": 1.5}, "got 1.5; give a number between 0 and 1, or None to learn it"),
        ({"states": 0}, "LatentVideo.states: got 0; give a number above 0"),
        ({"deviation": 0.0}, "LatentVideo.deviation: got 0"),
        ({"fractional_kind": "III"}, "got 'III'"),
        ({"memories": 1}, "MarkovFBM.terms: got 1"),
    ],
)
def test_bad_options(changes, told):
    with pytest.raises(InputError, match=told):
        LatentVideo(**changes).init(blocks(), key=KEY)


def test_bad_problems(trained):
    cut = dataclasses.replace(blocks(), frames=blocks().frames[..., :15, :])
    with pytest.raises(InputError, match="frames of 15 by 16 pixels; crop or pad them"):
        ct.solve(cut, LatentVideo())
    with pytest.raises(InputError, match="LatentVideo needs videos"):
        ct.solve(ct.problems.pelt_counts(), LatentVideo())
    problem, solution = trained
    with pytest.raises(InputError, match=r"expected \(k, O, 16, 16\)"):
        solution.evaluator.futures(problem.seen()[0])
    with pytest.raises(InputError, match="3 frames with the 4 that are given; ask for more"):
        solution.evaluator.futures(problem.seen(), length=3)
