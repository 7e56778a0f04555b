"""Digits that bounce, and videos as problems."""

import dataclasses
import importlib.util

import numpy as np
import pytest

import continua as ct
from continua.compare import score
from continua.core.errors import InputError
from continua.methods import METHODS, Mean, Persistence
from continua.metrics import peak_signal_to_noise
from continua.problems import VideoProblem, moving_digits, to_toml
from continua.problems.moving_digits import painted, trajectory
from continua.problems.video import look_up, off_grid

IMAGES = np.random.default_rng(0).uniform(0.2, 1.0, (10, 4, 4))


def digits(count=5, tested=3, **changes):
    """A few videos of 16 by 16 pixels."""
    given = {"images": IMAGES, "enlarged": 1, "size": 16, "length": 8, "observed": 3, **changes}
    return moving_digits(count, tested, **given)


@pytest.mark.parametrize("stochastic", [True, False])
def test_digits_stay_in_the_frame_and_fly_straight(stochastic):
    bounces = 0
    for seed in range(20):
        draw = np.random.default_rng(seed)
        places = trajectory((12.0, 6.0), 60, (1.5, 3.0), stochastic, draw)
        assert places.shape == (60, 2)
        assert np.all((places >= 0) & (places <= [12.0, 6.0]))
        steps = np.diff(places, axis=0)
        assert np.all(np.linalg.norm(steps, axis=1) <= 3.0 + 1e-12)
        # A change of velocity away from walls happens nowhere.
        inside = np.all((places > 0) & (places < [12.0, 6.0]), axis=1)
        straight = inside[1:-1] & np.all(np.abs(np.diff(steps, axis=0)) < 1e-12, axis=1)
        bounces += np.sum(~straight)
        if stochastic:
            turned = ~np.all(np.abs(np.diff(steps, axis=0)) < 1e-12, axis=1)
            walls = (places == 0) | (places == [12.0, 6.0])
            assert np.all((walls[1:-1] | walls[2:])[turned].any(axis=1))
        else:  # reflected: each component keeps its size wherever no wall lies between
            size = np.median(np.abs(steps), axis=0)
            assert np.mean(np.abs(np.abs(steps) - size) < 1e-9) > 0.6
    assert bounces > 100


def test_reflection_is_exact():
    places = trajectory((5.0, 5.0), 200, (2.0, 2.0), False, np.random.default_rng(4))
    first, steps = places[0], np.arange(200)[:, None]
    v = places[1] - first
    np.testing.assert_allclose(np.linalg.norm(v), 2.0)  # no wall in the first step of this seed
    unfolded = np.mod(first + v * steps, 10.0)
    np.testing.assert_allclose(places, np.where(unfolded > 5, 10 - unfolded, unfolded), atol=1e-9)


def test_an_image_between_pixels():
    frame = painted(IMAGES[0], np.array([2.25, 3.5]), 16)
    np.testing.assert_allclose(frame.sum(), IMAGES[0].sum(), rtol=1e-12)
    rows = frame.sum(axis=1) @ np.arange(16) / frame.sum()
    exact = IMAGES[0].sum(axis=1) @ np.arange(4) / IMAGES[0].sum()
    assert rows == pytest.approx(exact + 2.25, rel=1e-12)
    np.testing.assert_array_equal(
        painted(IMAGES[0], np.array([12.0, 12.0]), 16)[12:, 12:], IMAGES[0]
    )


def test_videos_depend_on_their_number_alone():
    few, many = digits(3, 2), digits(6, 4)
    np.testing.assert_array_equal(few.training(), many.training()[:3])
    np.testing.assert_array_equal(few.seen(), many.seen()[:2])
    assert few == digits(3, 2)
    assert few.digest() != digits(3, 2, seed=1).digest()
    assert len({video.tobytes() for video in many.frames}) == 10
    # Tested videos show images that no other shows: the first fifth.
    brightest = {round(float(IMAGES[i].sum()), 3) for i in range(2)}
    sums = {round(float(s), 3) for s in many.frames[list(many.tested), 0].sum(axis=(1, 2))}
    assert sums <= brightest
    assert not brightest & {round(float(s), 3) for s in many.training()[:, 0].sum(axis=(1, 2))}
    two = digits(2, 1, digits=2, speed=(0.0, 0.0))
    np.testing.assert_array_equal(two.frames[:, 0], two.frames[:, -1])


def test_views_and_values():
    problem = dataclasses.replace(digits(), interval=0.5)
    assert problem.training().shape == (5, 8, 16, 16)
    assert problem.seen().shape == (3, 3, 16, 16)
    assert problem.held_out().shape == (3, 5, 16, 16)
    grid = problem.evaluation_grid()
    assert grid["t"][-1] == 3.5
    mesh = np.meshgrid(*grid.values(), indexing="ij")
    points = np.stack([m.ravel() for m in mesh], axis=-1)
    frames = problem.frames[list(problem.tested)].astype(float)
    values = look_up(frames, problem.tested, 0.5, points).reshape(mesh[0].shape)
    np.testing.assert_array_equal(off_grid(values), frames)
    np.testing.assert_array_equal(problem.truth()["brightness"], values)
    # The lower left pixel, between two frames and beyond the last.
    low = frames[1, :, -1, 0]
    found = look_up(frames, problem.tested, 0.5, [[6, 1.2, 0, 0], [6, 9.0, 0, 0]])[:, 0]
    np.testing.assert_allclose(found, [0.6 * low[2] + 0.4 * low[3], low[7]], atol=1e-12)
    with pytest.raises(InputError, match=r"nothing is known of video 0; ask for .* 5, 6, 7"):
        look_up(frames, problem.tested, 0.5, [[0, 0, 0, 0]])


def test_trivial_answers_and_their_scores(tmp_path):
    problem = digits()
    held, mean = problem.held_out(), problem.training().mean(axis=(0, 1))
    for method, still in ((Mean(), mean[None]), (Persistence(), problem.seen()[:, -1])):
        solution = ct.solve(problem, method)
        errors = score(solution, problem)
        gap = still[:, None] - held
        assert errors["rmse_held_out"] == pytest.approx(np.sqrt(np.mean(gap**2)), rel=1e-6)
        exact = peak_signal_to_noise(np.broadcast_to(still[:, None], held.shape), held).mean()
        assert errors["psnr_held_out"] == pytest.approx(exact, rel=1e-6)
    solution.save(tmp_path)
    np.testing.assert_array_equal(
        ct.Solution.load(tmp_path)(6.0, 2.0, 3.0, 4.0), solution(6.0, 2.0, 3.0, 4.0)
    )
    solution.plot(path=tmp_path / "still.png")
    half = np.full((2, 4, 4), 0.5)
    np.testing.assert_allclose(peak_signal_to_noise(half, 0 * half), 20 * np.log10(2))


def test_every_method_says_whether_it_takes_videos():
    problem = digits()
    able = {name for name, cls in METHODS.items() if cls().supports(problem).ok}
    assert able == {"LatentVideo", "Mean", "Persistence"}
    for name in set(METHODS) - able:
        assert METHODS[name]().supports(problem).reason


def test_scikit_learn_is_asked_for(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *x: None if name == "sklearn" else found(name, *x)
    )
    with pytest.raises(InputError, match="pip install scikit-learn, or give images"):
        moving_digits(2, 1)


def test_digits_of_scikit_learn():
    pytest.importorskip("sklearn")
    problem = moving_digits(2, 2)
    assert problem.frames.shape == (4, 16, 32, 32)
    assert 0.5 < problem.frames.max() <= 1.0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"frames": np.zeros((2, 3, 4))}, "expected .videos, times, rows, columns"),
        ({"frames": np.full((3, 5, 4, 4), 2.0)}, "between 0 and 1; divide by 255"),
        ({"observed": 8}, "got 8 of 8 frames; give 1 or more, and leave one"),
        ({"tested": (9,)}, "there is no video 9; number some of them, from 0 to 7"),
        ({"tested": ()}, "no video is tested"),
        ({"tested": tuple(range(8))}, "every video is tested"),
        ({"interval": 0.0}, "got 0; give a time"),
    ],
)
def test_bad_videos(changes, told):
    with pytest.raises(InputError, match=told):
        dataclasses.replace(digits(), **changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": np.zeros((3, 3))}, "expected .images, rows, columns., two or more"),
        ({"enlarged": 5}, "digits of 20 pixels in a frame of 16; give 28 or more"),
        ({"enlarged": 0}, "give 1 or more for count, tested, digits and enlarged"),
        ({"speed": (3.0, 1.0)}, "got 3 to 1; give the least and the most"),
    ],
)
def test_bad_digits(changes, told):
    with pytest.raises(InputError, match=told):
        digits(**changes)


def test_videos_are_no_text():
    assert isinstance(digits(), VideoProblem)
    with pytest.raises(InputError, match="frames cannot be written as TOML"):
        to_toml(digits())
