"""The Fourier neural operator as a method: resolution, interpolation, training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua import nets
from continua.core.serialise import load_tree, save_tree
from continua.methods.operators import FNO
from continua.methods.operators.evaluate import (
    FamilyEvaluator,
    FrameEvaluator,
    Operator,
    interpolate,
)
from continua.methods.operators.fno import relative_l2
from continua.nets import Fixed
from continua.train import Adam, Cosine, Shuffled, Stage, Training, fit

KEY = jax.random.key(0)


def smooth_functions(count, points, seed=0):
    """Random periodic functions with eight waves, the same at every resolution."""
    rng = np.random.default_rng(seed)
    k = np.arange(1, 9)
    a, b = rng.normal(size=(2, count, 8)) / k
    x = np.arange(points) / points
    phase = 2 * np.pi * np.outer(k, x)
    return (a @ np.cos(phase) + b @ np.sin(phase))[:, None]


def smoothed(functions):
    """The solution operator of a heat equation."""
    n = functions.shape[-1]
    decay = np.exp(-0.05 * np.arange(n // 2 + 1) ** 2)
    return np.fft.irfft(np.fft.rfft(functions) * decay, n)


@dataclasses.dataclass(frozen=True)
class Supervised:
    """The method's loss on given pairs, without a problem."""

    method: FNO
    training: Training

    def init(self, problem, *, key):
        net = nets.FNO(1, 1, modes=(8,), width=12, depth=2, coordinates=False, key=key)
        one = jnp.ones((1, 1))
        return Operator(net, Fixed((0 * one, one, 0 * one, one)))

    def batches(self, problem):
        inputs = smooth_functions(200, 32)
        return Shuffled(tuple(map(jnp.asarray, (inputs, smoothed(inputs)))), 10)

    def loss(self, model, batch, *, key):
        return self.method.loss(model, batch, key=key)


def test_a_linear_operator_is_learned_and_holds_at_another_resolution():
    training = Training((Stage(Adam(5e-3, Cosine(0.01)), steps=400),))
    model = fit(Supervised(FNO(), training), None, key=KEY).model
    errors = []
    for points in (32, 64):
        inputs = smooth_functions(20, points, seed=1)
        predicted = jax.vmap(model)(jnp.asarray(inputs))
        errors.append(float(jnp.mean(relative_l2(predicted, smoothed(inputs)))))
    assert errors[0] < 0.03
    np.testing.assert_allclose(errors[1], errors[0], rtol=0.1)


@pytest.mark.parametrize("periodic", [(True,), (False,), (True, True), (True, False)])
def test_interpolation_is_exact_on_the_grid_and_accurate_between(periodic):
    lower, upper = (-1.0, 0.0)[: len(periodic)], (1.0, 3.0)[: len(periodic)]
    axes = [
        np.linspace(a, b, 40, endpoint=not p)
        for a, b, p in zip(lower, upper, periodic, strict=True)
    ]
    waves = (np.pi, 2 * np.pi / 3)

    def function(*x):
        return sum(np.sin(w * z + 0.3) for w, z in zip(waves, x, strict=False))

    values = function(*np.meshgrid(*axes, indexing="ij"))[None]
    nodes = np.stack([axis[[3, 17, 39]] for axis in axes], axis=-1)
    at_nodes = interpolate(values, nodes, lower, upper, periodic)[:, 0]
    np.testing.assert_allclose(at_nodes, function(*nodes.T), atol=1e-5)
    points = np.random.default_rng(0).uniform(lower, upper, (50, len(lower)))
    between = interpolate(values, points, lower, upper, periodic)[:, 0]
    tolerance = 1e-12 if periodic == (True,) else 5e-3
    np.testing.assert_allclose(between, function(*points.T), atol=tolerance)


def small_operator(outputs=1):
    net = nets.FNO(1, outputs, modes=(4,), width=4, depth=2, key=KEY)
    one = jnp.ones((1, 1))
    return Operator(net, Fixed((0 * one, one, 0 * one, one)))


def test_family_evaluator_gives_the_predictions_at_points(tmp_path):
    inputs = jnp.asarray(smooth_functions(3, 16))
    evaluator = FamilyEvaluator(small_operator(), Fixed(inputs), (0.0,), (1.0,), (True,))
    predicted = evaluator.predict(inputs)
    points = np.array([[2.0, 0.25], [0.0, 0.5], [2.0, 0.0]])
    expected = [predicted[2, 0, 4], predicted[0, 0, 8], predicted[2, 0, 0]]
    np.testing.assert_allclose(evaluator(points)[:, 0], expected, atol=1e-12)
    save_tree(tmp_path / "family", evaluator)
    again = load_tree(tmp_path / "family")
    np.testing.assert_array_equal(again(points), evaluator(points))


def test_frame_evaluator_starts_exactly_and_passes_through_its_frames():
    initial = jnp.asarray(smooth_functions(1, 16)[0])
    times = (0.0, 0.5, 1.0, 1.5)
    evaluator = FrameEvaluator(small_operator(3), Fixed(initial), times, 1, (0.0,), (1.0,))
    x = np.arange(16) / 16
    for i, t in enumerate(times):
        points = np.stack([np.full(16, t), x], axis=-1)
        frame = initial[0] if i == 0 else evaluator.frames()[i, 0]
        np.testing.assert_allclose(evaluator(points)[:, 0], frame, atol=1e-12)


def test_other_problems_are_refused_with_a_reason():
    support = FNO().supports(object())
    assert not support.ok
    assert "family" in support.reason
