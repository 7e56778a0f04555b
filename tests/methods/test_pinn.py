"""The physics-informed network: what it builds in, recovers and reaches."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.serialise import load_tree, save_tree
from continua.equations import Equation
from continua.methods.fields import (
    PINN,
    Adaptive,
    Gated,
    GradientNorm,
    Perceptron,
    Pirate,
    TangentKernel,
    Uniform,
)
from continua.methods.fields.field import Parameter
from continua.methods.fields.forms import form_of
from continua.methods.fields.sampling import draw
from continua.methods.fields.weighting import balanced
from continua.nets import trainable
from continua.problems import Condition, EquationProblem, Measurements, Unknown, Walls
from continua.train import Adam, SSBroyden, Stage, Training, fit

KEY = jax.random.key(0)
SMALL = Training((Stage(Adam(5e-3), 100, refresh=50), Stage(SSBroyden(), 300, refresh=100)))


def value(unknown, text):
    return Condition(unknown=unknown, coefficients={0: 1.0}, value=text)


def slope(unknown, text):
    return Condition(unknown=unknown, coefficients={1: 1.0}, value=text)


def heat(lower="0", upper="0", initial="sin(pi*x)"):
    return EquationProblem(
        name="heat",
        title="Heat",
        equation=Equation(
            ("u_t = u_xx",),
            ("u",),
            (
                "t",
                "x",
            ),
        ),
        domain={"t": (0.0, 0.2), "x": (0.0, 1.0)},
        initial={"u": initial},
        boundary={"x": Walls(lower=(value("u", lower),), upper=(value("u", upper),))},
        num_points={"t": 11, "x": 33},
    )


def wave():
    return EquationProblem(
        name="wave",
        title="Wave",
        equation=Equation(
            ("u_tt = u_xx",),
            ("u",),
            (
                "t",
                "x",
            ),
        ),
        domain={"t": (0.0, 1.0), "x": (-1.0, 1.0)},
        initial={"u": "cos(pi*x)", "u_t": "sin(pi*x)"},
        boundary={"x": "periodic"},
        num_points={"t": 11, "x": 32},
    )


def poisson():
    square = Walls(lower=(value("u", "x + y"),), upper=(value("u", "x + y"),))
    return EquationProblem(
        name="poisson",
        title="Poisson",
        equation=Equation(
            ("u_xx + u_yy = 0",),
            ("u",),
            (
                "x",
                "y",
            ),
        ),
        domain={"x": (0.0, 1.0), "y": (0.0, 2.0)},
        boundary={"x": square, "y": square},
        num_points={"x": 17, "y": 17},
    )


def reaction():
    still = (slope("u", "0"), slope("v", "0"))
    return EquationProblem(
        name="reaction",
        title="Reaction and diffusion",
        equation=Equation(
            (
                "u_t = u_xx + v",
                "v_t = v_xx - u",
            ),
            (
                "u",
                "v",
            ),
            (
                "t",
                "x",
            ),
        ),
        domain={"t": (0.0, 1.0), "x": (1.0, 3.0)},
        initial={"u": "cos(pi*(x-1)/2)", "v": "1"},
        boundary={"x": Walls(lower=still, upper=still)},
        num_points={"t": 11, "x": 33},
    )


def test_initial_and_wall_values_hold_for_any_network():
    field = PINN().init(heat("t", "2*t"), key=KEY)
    for point, exact in [
        ([0.0, 0.3], np.sin(0.3 * np.pi)),
        ([0.13, 0.0], 0.13),
        ([0.2, 1.0], 0.4),
    ]:
        np.testing.assert_allclose(field(jnp.array(point)), exact, atol=1e-14)
    assert not field.penalties


def test_values_that_disagree_in_a_corner_become_penalties():
    field = PINN().init(heat("1", "0"), key=KEY)
    assert len(field.penalties) == 2
    np.testing.assert_allclose(field(jnp.array([0.0, 0.0])), 0.0, atol=1e-14)


def test_second_order_in_time_builds_in_both_initial_values():
    field = PINN().init(wave(), key=KEY)
    point = jnp.array([0.0, 0.3])
    velocity = jax.jacfwd(field)(point)[0, 0]
    np.testing.assert_allclose(field(point)[0], np.cos(0.3 * np.pi), atol=1e-14)
    np.testing.assert_allclose(velocity, np.sin(0.3 * np.pi), atol=1e-13)


def test_walls_of_a_box_are_interpolated_exactly():
    field = PINN().init(poisson(), key=KEY)
    assert not field.penalties
    for x, y in [(0.0, 1.3), (1.0, 0.2), (0.4, 0.0), (0.6, 2.0), (1.0, 2.0)]:
        np.testing.assert_allclose(field(jnp.array([x, y]))[0], x + y, atol=1e-13)


def test_zero_slopes_on_both_walls_are_exact_by_mirroring():
    field = PINN().init(reaction(), key=KEY)
    assert not field.penalties
    for x in (1.0, 3.0):
        slopes = jax.jacfwd(field)(jnp.array([0.7, x]))[:, 1]
        np.testing.assert_allclose(slopes, 0.0, atol=1e-12)


def test_robin_walls_are_penalties_with_their_coefficients():
    robin = Condition(unknown="u", coefficients={0: 2.0, 1: 0.5}, value="t")
    problem = dataclasses.replace(
        heat(), boundary={"x": Walls(lower=(value("u", "0"),), upper=(robin,))}
    )
    field = PINN().init(problem, key=KEY)
    (penalty,) = field.penalties
    point = jnp.array([[0.1, 1.0]])
    expected = 2.0 * field(point[0])[0] + 0.5 * jax.jacfwd(field)(point[0])[0, 1] - 0.1
    got = field.penalty(penalty, point)[0] * penalty.scale
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("problem", "exact"),
    [
        (heat(), lambda t, x: np.exp(-(np.pi**2) * t) * np.sin(np.pi * x)),
        (
            wave(),
            lambda t, x: (
                np.cos(np.pi * x) * np.cos(np.pi * t)
                + np.sin(np.pi * x) * np.sin(np.pi * t) / np.pi
            ),
        ),
    ],
    ids=["heat", "wave"],
)
def test_training_reaches_a_small_error(problem, exact):
    method = PINN(Perceptron(10, 2), num_collocation=400, training=SMALL)
    fitted = fit(method, problem, key=KEY)
    solution = method.finish(fitted.model, problem)
    mesh = np.meshgrid(*solution.grid.values(), indexing="ij")
    wanted = exact(*mesh)
    error = np.linalg.norm(solution(*mesh) - wanted) / np.linalg.norm(wanted)
    assert error < 1e-3


def test_an_unknown_parameter_is_recovered_with_its_deviation():
    equation = Equation(("u_t = -k*u",), ("u",), ("t",), ("k",))
    t = np.linspace(0.05, 1, 20)
    noise = 0.01 * np.random.default_rng(0).normal(size=20)
    problem = EquationProblem(
        name="decay",
        title="Decay",
        equation=equation,
        domain={"t": (0.0, 1.0)},
        unknown_parameters={"k": Unknown(start=0.5, lower=0.0, upper=10.0)},
        initial={"u": "1"},
        data=Measurements(points=t[:, None], values=(np.exp(-2 * t) + noise)[:, None]),
        num_points={"t": 21},
    )
    method = PINN(Perceptron(6, 1), num_collocation=50, training=SMALL)
    fitted = fit(method, problem, key=KEY)
    estimate = method.finish(fitted.model, problem).parameters["k"]
    assert abs(estimate.value - 2.0) < 0.15
    assert 0.005 < estimate.std < 0.3


def test_parameters_stay_within_their_bounds():
    for rule in (
        Parameter(0.5, 0.0, 2.0),
        Parameter(0.5, 0.0, np.inf),
        Parameter(0.5, -np.inf, 2.0),
        Parameter(0.5, -np.inf, np.inf),
    ):
        np.testing.assert_allclose(rule.decode(jnp.zeros(())), 0.5, atol=1e-15)
        assert rule.lower <= rule.decode(jnp.array(-30.0)) < rule.decode(jnp.array(30.0))
        assert rule.decode(jnp.array(30.0)) <= rule.upper


def test_balancing_at_once_makes_gradients_equally_long():
    sizes = {"a": jnp.array(3.0), "b": jnp.array(0.2), "c": jnp.array(11.0)}
    weights = {name: jnp.ones(()) for name in sizes}
    rule = GradientNorm(momentum=0.0, smallest=1e-8, largest=1e8)
    new = balanced(rule, weights, sizes)
    scaled = [float(new[name] * sizes[name]) for name in sizes]
    np.testing.assert_allclose(scaled, scaled[0], rtol=1e-3)


@pytest.mark.parametrize("rule", [Uniform(), GradientNorm(), TangentKernel()])
def test_weights_stay_finite_and_outside_of_training(rule):
    problem = heat("1", "0")
    method = PINN(num_collocation=20, num_condition=5, weighting=rule)
    model = method.init(problem, key=KEY)
    batch = method.batches(problem).sample(0, model, key=KEY)
    adapted = method.adapt(model, batch, key=KEY)
    assert all(jnp.isfinite(w) for w in adapted.weights.value.values())
    params = eqx.filter(adapted, trainable(adapted))
    assert not jax.tree.leaves(params.weights)


def test_points_are_drawn_where_the_density_is_large():
    density = jnp.where(jnp.arange(1000) < 100, 50.0, 1.0)
    chosen = draw(density, 100, key=KEY)
    assert len(set(chosen.tolist())) == 100
    assert jnp.mean(chosen < 100) > 0.7


def test_causal_weights_fall_with_the_losses_before():
    problem = heat()
    method = PINN(num_collocation=50, causality=10.0)
    model = method.init(problem, key=KEY)
    points = method.batches(problem).sample(0, model, key=KEY)["residual"]
    residual = jnp.ones(50)
    weights = method._causal(model, points, residual)[jnp.argsort(points[:, 0])]
    np.testing.assert_allclose(weights, np.exp(-10.0 * np.arange(50) / 50), rtol=1e-12)


@pytest.mark.parametrize("network", [Perceptron(), Gated(16), Pirate(16)])
def test_any_network_fits_and_survives_the_file(network, tmp_path):
    problem = wave()
    method = PINN(network, num_collocation=30, adaptive=Adaptive(power=0.0))
    model = method.init(problem, key=KEY)
    solution = method.finish(model, problem)
    save_tree(tmp_path / "field", solution.evaluator)
    points = np.array([[0.3, 0.1], [0.9, -1.0]])
    np.testing.assert_allclose(
        load_tree(tmp_path / "field")(points), solution.evaluator(points), rtol=1e-13
    )
    left, right = solution([0.4], [-1.0]), solution([0.4], [1.0])
    np.testing.assert_allclose(left, right, atol=1e-13)


def test_forms_say_how_many_features_the_network_sees():
    assert form_of(heat(), 2).features == 2
    assert form_of(wave(), 2).features == 5
    assert form_of(reaction(), 2).features == 3


def test_other_problems_are_refused_with_a_reason():
    support = PINN().supports(object())
    assert not support.ok
    assert "equation" in support.reason
