"""`solve`: choosing, refusing, counting and failing."""

import dataclasses

import jax
import numpy as np
import pytest

from continua import problems
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods import FNO, METHODS, PINN, Mean, RungeKutta, SINDy, Spectral
from continua.methods.fields import Perceptron
from continua.solve import SolveError, able, chosen_method, parse_budget, solve
from continua.train import Adam, SSBroyden, Stage, Training

SHORT = Training((Stage(Adam(5e-3), 50, refresh=50), Stage(SSBroyden(), 100, refresh=100)))


def test_the_default_is_the_classical_method_that_suits():
    names = {
        "burgers": "Spectral",
        "fisher_kpp": "FiniteDifferences",
        "poisson": "FiniteDifferences",
        "lorenz": "RungeKutta",
    }
    for problem, method in names.items():
        assert chosen_method(problems.get(problem)).name == method


def test_a_method_that_cannot_is_refused_with_those_that_can():
    with pytest.raises(InputError, match=r"SINDy cannot solve 'lorenz'.*RungeKutta"):
        solve(problems.lorenz(), SINDy())
    with pytest.raises(InputError, match="expected a method"):
        solve(problems.lorenz(), "RungeKutta")


def test_every_method_says_yes_or_why_not():
    blurred = problems.InverseProblem(
        "blurred", "Blurred", problems.Blur(0.1), np.ones(20), {"x": np.linspace(0, 1, 20)}
    )
    t = np.arange(3.0)
    whole = problems.SeriesProblem(
        name="whole",
        title="Whole series",
        variables=("x",),
        time="t",
        series=tuple(problems.Series(n, t, i * t[:, None]) for i, n in enumerate("abc")),
        task="classify",
        targets=("p", "q", "p"),
    )
    law = dataclasses.replace(whole, name="law", task="generate", targets=())
    videos = problems.VideoProblem("videos", "Videos", np.zeros((3, 4, 8, 8)), 2, (2,))
    named = [problems.get(name) for name in problems.PROBLEMS]
    everything = [*named, blurred, whole, law, videos]
    for name, cls in METHODS.items():
        answers = [cls().supports(problem) for problem in everything]
        assert any(a.ok for a in answers) or name == "ParameterFit"
        assert all(a.ok or a.reason for a in answers)
    assert "PINN" in able(problems.burgers())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(60.0, 60.0), ("90", 90.0), ("60s", 60.0), ("2min", 120.0), ("1.5 h", 5400)],
)
def test_budgets(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3s", "0", "5 weeks"])
def test_bad_budgets(text):
    with pytest.raises(InputError, match="not a positive time"):
        parse_budget(text)


def test_a_direct_solve_counts_its_costs_and_survives_the_disk(tmp_path):
    problem = problems.advection()
    solution = solve(problem, Spectral(num_points=32, dt=0.01))
    assert solution.result.ok
    assert solution.cost.inference > 0
    assert solution.cost.compile > 0
    assert solution.cost.training == solution.cost.data_generation == 0
    assert solution.cost.evaluations > 0
    assert solution.cost.peak_memory > 10**7
    solution.save(tmp_path)
    again = Solution.load(tmp_path)
    mesh = np.meshgrid(*problem.evaluation_grid().values(), indexing="ij")
    np.testing.assert_array_equal(again(*mesh), solution(*mesh))
    assert again.cost == solution.cost


def test_a_learned_solve_counts_its_costs():
    method = PINN(Perceptron(6, 1), num_collocation=50, training=SHORT)
    told = []
    solution = solve(problems.heat(), method, on_progress=lambda *row: told.append(row))
    cost = solution.cost
    assert cost.training > 0
    assert cost.compile > 0
    assert cost.inference > 0
    assert cost.parameters == (2 * 6 + 6) + (6 + 1)
    assert cost.evaluations >= 150
    assert told[-1][0] == told[-1][1] == 150
    assert solution.history[-1]["step"] == 150
    assert cost.total == pytest.approx(
        cost.training + cost.compile + cost.inference + cost.data_generation + cost.tuning
    )


def test_an_operator_counts_its_data():
    family = problems.burgers_family(num_train=20, num_test=4, num_points=32)
    training = Training((Stage(Adam(1e-3), 20),))
    solution = solve(family, FNO(width=4, modes=4, depth=2, training=training), precision="float32")
    assert solution.cost.data_generation > 0
    assert solution.precision == "float32"
    again = solve(family, FNO(width=3, modes=4, depth=2, training=training), precision="float32")
    assert again.cost.data_generation == solution.cost.data_generation  # data have their price


def test_results_do_not_depend_on_what_ran_before():
    method = PINN(Perceptron(4, 1), num_collocation=30, training=SHORT)
    key = jax.random.key(3)
    one = solve(problems.heat(), method, key=key)
    solve(problems.heat(), Mean())
    two = solve(problems.heat(), method, key=key)
    mesh = np.meshgrid(*one.grid.values(), indexing="ij")
    np.testing.assert_array_equal(one(*mesh), two(*mesh))


def test_divergence_is_a_value_or_an_error_as_asked():
    problem = problems.burgers()
    rough = Spectral(num_points=256, dt=0.25)
    solution = solve(problem, rough)
    if solution.result.ok:  # a large step may survive; then it must at least be inaccurate
        assert solution.error(problem.reference)["relative_l2"] > 1e-3
    hard = dataclasses.replace(
        problems.lorenz(), initial={"x": "1e155", "y": "1e155", "z": "1e155"}, reference=None
    )
    failed = solve(hard, RungeKutta())
    assert not failed.result.ok
    assert failed.result.advice
    assert "t =" in failed.result.message
    with pytest.raises(SolveError, match=failed.result.code.value):
        solve(hard, RungeKutta(), throw=True)
