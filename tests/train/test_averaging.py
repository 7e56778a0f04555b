"""Averages of weights, and what a method makes of its model after every step."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.train import Adam, Averaged, Stage, Training, fit
from tests.train.toy import Toy

KEY = jax.random.key(0)
STEPS = 40


def training(begin=0.5, steps=STEPS, chunk=7):
    return Training((Stage(Averaged(Adam(1e-2), begin), steps),), chunk=chunk)


def plain(steps):
    """The weights after so many steps."""
    stages = (Stage(Adam(1e-2), steps),)
    model = fit(Toy(training=Training(stages, chunk=7)), None, key=KEY).model
    return eqx.filter(model, eqx.is_array)


def test_a_stage_ends_with_the_mean_of_the_weights_that_its_last_steps_begin_with():
    found = eqx.filter(fit(Toy(training=training(0.95)), None, key=KEY).model, eqx.is_array)
    passed = [plain(n) for n in (38, 39)]
    right = jax.tree.map(lambda *x: sum(x) / 2, *passed)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_the_mean_is_kept_over_an_interruption(tmp_path):
    method = Toy(training=dataclasses.replace(training(), checkpoint_seconds=0.0))

    def stop(done, *_):
        if done >= 28:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(method, None, key=KEY, run_dir=tmp_path, on_progress=stop)
    resumed = fit(method, None, key=KEY, run_dir=tmp_path, resume=True)
    assert resumed.steps == STEPS
    finished = fit(method, None, key=KEY, run_dir=tmp_path, resume=True)
    whole = eqx.filter(fit(method, None, key=KEY).model, eqx.is_array)
    for again in (resumed, finished):
        model = eqx.filter(again.model, eqx.is_array)
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(model), strict=True):
            np.testing.assert_array_equal(a, b)


@dataclasses.dataclass(frozen=True)
class Clipped(Toy):
    """Weights that stay in a box."""

    most: float = 0.2

    def project(self, model):
        return jax.tree.map(
            lambda x: jnp.clip(x, -self.most, self.most) if eqx.is_inexact_array(x) else x, model
        )


def test_a_method_may_project_its_model_after_every_step():
    stages = (Stage(Adam(1e-1), STEPS),)
    free = fit(Toy(training=Training(stages)), None, key=KEY).model
    found = fit(Clipped(training=Training(stages)), None, key=KEY).model

    def largest(model):
        return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(model) if eqx.is_array(x))

    assert largest(free) > 0.5
    assert largest(found) == pytest.approx(0.2, abs=1e-15)
    mean = fit(Clipped(training=training()), None, key=KEY).model
    assert largest(mean) <= 0.2


def test_a_share_is_needed():
    with pytest.raises(InputError, match=r"Averaged.begin: got 1.5; give a number from 0"):
        Averaged(begin=1.5)
    assert json.dumps(dataclasses.asdict(Averaged()))
