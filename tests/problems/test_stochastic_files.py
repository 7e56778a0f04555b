"""Stochastic problems in files, on the command line and in comparisons."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from continua.cli.show import show_text
from continua.compare import reference_for, score
from continua.core.errors import InputError
from continua.methods import StochasticIntegrator, best_classical
from continua.problems import (
    AnalyticReference,
    StochasticProblem,
    heston,
    kepler,
    ornstein_uhlenbeck,
    parse_toml,
    pendulum,
    to_toml,
)
from continua.solve import able, solve


def parse(text):
    return parse_toml(text, pathlib.Path("."), "test")


def test_both_readings_of_the_noise_come_back():
    for problem in (heston(), dataclasses.replace(heston(), interpretation="stratonovich")):
        again = parse(to_toml(problem))
        assert isinstance(again, StochasticProblem)
        assert again == problem
        assert again.reference == problem.reference
        assert to_toml(again) == to_toml(problem)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("noise = ", "nois = ", "did you mean 'noise'"),
        ("x = { w", "y = { w", "unknown key 'y'"),
        ('w = "sigma"', 'w = "sigmas"', "unknown symbol 'sigmas'"),
        ("theta = 1.0", 'theta = "unknown"', "takes no unknown parameters"),
        ("[initial]", '[boundary]\nx = "periodic"\n[initial]', "does not belong to a stochastic"),
    ],
)
def test_mistakes_in_files(old, new, part):
    text = to_toml(ornstein_uhlenbeck())
    assert old in text
    with pytest.raises(InputError, match=part):
        parse(text.replace(old, new))


def test_the_page_of_a_stochastic_problem():
    text = show_text("ornstein_uhlenbeck")
    assert "dx = (theta*(mu - x)) dt + (sigma) dw" in text
    assert "Best classical method: StochasticIntegrator" in text
    assert "closed equations of the moments" in text


def test_weak_errors_are_told_with_their_error_bars():
    problem = dataclasses.replace(ornstein_uhlenbeck(), num_points={"t": 6})
    assert best_classical(problem) == StochasticIntegrator()
    assert able(problem) == ["StochasticIntegrator"]
    method = StochasticIntegrator(paths=2048, steps=10)
    errors = score(solve(problem, method, key=jax.random.key(3)), problem, reference_for(problem))
    assert errors["relative_l2"] < 0.1
    assert 0.1 < errors["weak_error_ratio_mean_x"] < 4
    assert errors["weak_error_mean_x"] < 4 * errors["standard_error_mean_x"]


def test_the_pendulum_and_the_planet_have_closed_forms():
    t = np.linspace(0, 20, 9)
    for problem in (pendulum(), kepler()):
        assert isinstance(problem.reference, AnalyticReference)
        assert np.all(np.isfinite(problem.reference.values(t)))
        assert parse(to_toml(problem)).reference == problem.reference
