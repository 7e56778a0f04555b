"""Ridge regression on random convolutions: the features, the estimate, the answers."""

import dataclasses

import jax
import numpy as np
import pytest

import continua as ct
from continua.compare import score
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.classical.random_convolutions import (
    RandomConvolutions,
    _ridge,
    convolution_features,
)
from tests.methods.test_readers import sines


def test_features_do_not_see_a_shift_and_scale_as_convolutions_do():
    """Weights of mean 0 take no notice of a level; without padding nor do the features."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 2, 40))
    base = convolution_features(values, 60, 1)
    moved = convolution_features(values + 5.0, 60, 1)
    same = np.isclose(base, moved, atol=1e-9).all(axis=0)
    assert 0.3 < same.mean() < 0.8  # those of kernels that are not padded
    shares = base[:, 1::2]
    assert np.all((shares >= 0) & (shares <= 1))
    np.testing.assert_array_equal(convolution_features(values[:1], 60, 1)[0], base[0])


def test_leaving_one_out_is_what_fitting_without_it_gives():
    problem = dataclasses.replace(
        sines(count=12), task="regress", targets=tuple(float(i) for i in range(12)), tested=()
    )
    features = np.random.default_rng(0).standard_normal((12, 5))
    found = _ridge(features, problem)
    x = (features - found["mean"]) / found["deviation"]
    y = np.arange(12.0)
    least = np.inf
    for penalty in 10.0 ** np.arange(-3, 4):
        gaps = []
        for i in range(12):
            keep = np.arange(12) != i
            # The penalty does not touch the mean, which the others have alone.
            center = x[keep].mean(axis=0)
            a = x[keep] - center
            w = np.linalg.solve(a.T @ a + penalty * np.eye(5), a.T @ (y[keep] - y[keep].mean()))
            gaps.append(y[i] - y[keep].mean() - (x[i] - center) @ w)
        if (error := float(np.mean(np.square(gaps)))) < least:
            least, best = error, penalty
    whole = np.linalg.solve(x.T @ x + best * np.eye(5), x.T @ (y - y.mean()))
    np.testing.assert_allclose(found["weights"][:, 0], whole, rtol=1e-10)
    assert found["offset"] == pytest.approx(5.5)


def test_a_toy_is_told_and_read_back(tmp_path):
    problem = sines()
    solution = ct.solve(problem, key=jax.random.key(1))
    assert solution.method == "RandomConvolutions"
    errors = score(solution, problem)
    assert errors["error_rate_training"] == 0.0
    assert errors["error_rate_held_out"] <= 1 / 8
    assert errors["log_loss_held_out"] < 0.5
    solution.save(tmp_path)
    again = Solution.load(tmp_path)
    rows = np.arange(24.0)
    np.testing.assert_array_equal(again.values(rows), solution.values(rows))
    series = [problem.series[i] for i in (3, 20)]
    predicted = again.evaluator.predict(series, [[problem.statics["s"][i]] for i in (3, 20)])
    np.testing.assert_allclose(predicted, solution.values([3.0, 20.0]).T, atol=1e-12)
    with pytest.raises(InputError, match="2 channels, but 3 were learned from"):
        again.evaluator.predict([dataclasses.replace(series[0], inputs=None)], [[0.0]])


def test_numbers_are_told_and_mistakes_are_named():
    targets = tuple(100.0 + 10.0 * (i % 2) for i in range(24))
    problem = sines(task="regress", targets=targets)
    found = ct.solve(problem, RandomConvolutions(kernels=200), key=jax.random.key(1))
    assert score(found, problem)["rmse_held_out"] < 3.0
    with pytest.raises(InputError, match="length: got 3; give 7 or more"):
        RandomConvolutions(length=3)
    with pytest.raises(InputError, match="kernels: got 0; give 1 or more"):
        RandomConvolutions(kernels=0)
    reason = RandomConvolutions().supports(ct.problems.sunspots()).reason
    assert reason == "RandomConvolutions does not forecast series"
