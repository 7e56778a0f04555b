"""Training: nothing depends on how it is cut up, interrupted or spread out."""

import dataclasses
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core import cost
from continua.core.errors import InputError
from continua.core.results import ResultCode
from continua.train import Adam, Cosine, Stage, Training, fit
from tests.train.toy import STAGES, Toy, Validated

KEY = jax.random.key(0)
ROOT = pathlib.Path(__file__).parents[2]


def arrays(fitted):
    return [np.asarray(x) for x in jax.tree.leaves(eqx.filter(fitted.model, eqx.is_array))]


def assert_equal(a, b):
    for x, y in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_training_learns_and_reports():
    calls = []
    fitted = fit(Toy(), None, key=KEY, on_progress=lambda *a: calls.append(a))
    assert fitted.result.ok
    assert fitted.steps == 100 == calls[-1][0] == calls[-1][1]
    assert fitted.history[-1]["loss"] < 0.05 * fitted.history[0]["loss"]
    assert {"fit", "decay", "seconds", "learning_rate"} <= set(fitted.history[-1])
    assert fitted.evaluations > 100
    assert fitted.compile > 0


def test_chunks_change_nothing():
    one = fit(Toy(Training(STAGES, chunk=100)), None, key=KEY)
    assert_equal(one, fit(Toy(Training(STAGES, chunk=7)), None, key=KEY))


class Weak(Toy):
    """Whose model begins with arrays of weak type."""

    def init(self, problem, *, key):
        model = super().init(problem, key=key)
        return jax.tree.map(lambda x: jnp.full(x.shape, 0.1) if eqx.is_array(x) else x, model)


def test_a_stage_is_compiled_once(caplog):
    with jax.log_compiles(), caplog.at_level("WARNING"):
        fit(Weak(training=Training(STAGES[:1], chunk=3)), None, key=KEY)
    told = [r.getMessage() for r in caplog.records]
    assert sum(text.startswith("Compiling jit(run)") for text in told) == 1


def test_resuming_a_finished_run_returns_it(tmp_path):
    one = fit(Toy(), None, key=KEY, run_dir=tmp_path)
    two = fit(Toy(), None, key=KEY, run_dir=tmp_path, resume=True)
    assert_equal(one, two)
    assert [r["step"] for r in two.history] == [r["step"] for r in one.history]


PROGRAM = """
import sys, time
import jax
from continua.train import Training, fit
from tests.train.toy import STAGES, Toy
slow = "--slow" in sys.argv
training = Training(STAGES, chunk=5, checkpoint_seconds=0.0)
def wait(step, total, loss):
    if slow:
        sys.stdout.write(f"{step}\\n"); sys.stdout.flush(); time.sleep(0.05)
fit(Toy(training), None, key=jax.random.key(0), run_dir=sys.argv[1],
    on_progress=wait, resume="--resume" in sys.argv)
"""


def _start(folder, *flags, **environment):
    settings = {
        **os.environ,
        "JAX_ENABLE_X64": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(folder), *flags],
        env=settings,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    whole = fit(Toy(), None, key=KEY)
    for stop_at in (20, 70):  # in the minibatch stage, and between two kept batches
        process = _start(tmp_path / "run", "--slow", *(["--resume"] if stop_at > 20 else []))
        for line in process.stdout:
            if int(line) >= stop_at:
                break
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    training = Training(STAGES, chunk=5, checkpoint_seconds=0.0)
    resumed = fit(Toy(training), None, key=KEY, run_dir=tmp_path / "run", resume=True)
    assert_equal(whole, resumed)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert steps[-1] == 100


def test_a_corrupt_checkpoint_is_named(tmp_path):
    fit(Toy(), None, key=KEY, run_dir=tmp_path)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    path = newest / "state.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"corrupt \(state.npz\).*delete this folder"):
        fit(Toy(), None, key=KEY, run_dir=tmp_path, resume=True)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    fit(Toy(), None, key=KEY, run_dir=tmp_path)
    with pytest.raises(InputError, match="another method, training or seed"):
        fit(Toy(rate=2.0), None, key=KEY, run_dir=tmp_path, resume=True)


def test_divergence_is_a_result_with_step_and_advice():
    training = Training((Stage(Adam(1e200), steps=50),), chunk=10)
    fitted = fit(Toy(training), None, key=KEY)
    assert fitted.result.code is ResultCode.diverged
    assert "at step 1 of 50" in fitted.result.message
    assert "learning rate" in fitted.result.advice
    assert all(np.all(np.isfinite(x)) for x in arrays(fitted))


@pytest.fixture
def ticks(monkeypatch):
    """Five milliseconds at each reading of the clock, however busy the machine is."""
    readings = itertools.count()
    clock = types.SimpleNamespace(perf_counter=lambda: 0.005 * next(readings))
    monkeypatch.setattr(cost, "time", clock)
    monkeypatch.setattr(cost._compilations, "spans", [])


def test_a_budget_ends_training(ticks):
    training = Training((Stage(steps=10_000_000),))
    fitted = fit(Toy(training), None, key=KEY, budget=2.0)
    assert fitted.result.code is ResultCode.budget_spent
    assert fitted.compile > 0
    assert fitted.seconds == pytest.approx(2.0, abs=0.05)  # compiling is no training


def test_a_resumed_run_counts_the_seconds_before(ticks, tmp_path):
    training = Training((Stage(steps=10_000_000),))
    first = fit(Toy(training), None, key=KEY, budget=1.0, run_dir=tmp_path)
    again = fit(Toy(training), None, key=KEY, budget=1.0, run_dir=tmp_path, resume=True)
    assert again.steps == first.steps
    assert again.seconds == pytest.approx(first.seconds, abs=0.05)  # readings after the last step
    assert again.result.code is ResultCode.budget_spent


def test_a_budget_hurries_a_stage_to_the_end_of_its_schedule(ticks):
    stages = (Stage(Adam(1e-3), 50), Stage(Adam(1e-3, Cosine(0.01)), 10_000_000))
    fitted = fit(Toy(Training(stages)), None, key=KEY, budget=2.0)
    rates = [row["learning_rate"] for row in fitted.history]
    assert 0.01 <= rates[-1] / 1e-3 < 0.02  # 10^7 steps at their own pace: still 1
    assert fitted.steps < 1_000_000
    assert rates == sorted(rates, reverse=True)


def test_a_budget_that_is_long_enough_changes_nothing():
    training = Training((Stage(Adam(1e-3, Cosine(0.01)), 120),))
    free, budgeted = (fit(Toy(training), None, key=KEY, budget=b) for b in (None, 600.0))
    assert budgeted.result.code is ResultCode.success
    for a, b in zip(arrays(free), arrays(budgeted), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_stops_early_and_keeps_the_best_model():
    stage = Stage(Adam(1e-2), steps=5000)
    training = Training((stage,), validate_every=10, patience=5)
    method = Validated(training)
    fitted = fit(method, None, key=KEY)
    assert fitted.steps < 5000
    values = [row["validation"] for row in fitted.history if "validation" in row]
    sampler = method.batches(None)
    np.testing.assert_allclose(method.validation(fitted.model, sampler), min(values))


def test_data_parallel_training_equals_one_device(tmp_path):
    program = _start(tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    program.communicate()
    assert program.returncode == 0
    spread = fit(
        Toy(Training(STAGES, chunk=5, checkpoint_seconds=0.0)),
        None,
        key=KEY,
        run_dir=tmp_path,
        resume=True,
    )
    for x, y in zip(arrays(spread), arrays(fit(Toy(), None, key=KEY)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_training_in_single_precision():
    with jax.enable_x64(False):
        fitted = fit(Toy(), None, key=KEY)
        assert fitted.history[-1]["loss"] < 0.1
        assert all(x.dtype == np.float32 for x in arrays(fitted))


def test_a_training_plan_counts_its_steps():
    assert Training(STAGES).steps == 100
    assert dataclasses.replace(Training(), stages=()).steps == 0
    assert jnp.ones(()).dtype == jnp.float64
