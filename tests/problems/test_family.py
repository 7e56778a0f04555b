"""Families: the same functions at every resolution, solved as they should be."""

import dataclasses

import numpy as np
import pytest

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.equations import Equation
from continua.methods import FNO
from continua.problems import (
    EquationProblem,
    FamilyProblem,
    GaussianField,
    LikeInitial,
    burgers,
    burgers_family,
    heat,
)
from continua.problems.random_fields import functions


def ring(text, initial, space=("x",), end=0.3, unknowns=("u",), **fields):
    equation = Equation(text if isinstance(text, tuple) else (text,), unknowns, ("t", *space))
    return EquationProblem(
        "ring", "Ring", equation, {"t": (0.0, end), **{c: (0.0, 2.0) for c in space}},
        initial=initial, boundary=dict.fromkeys(space, "periodic"), **fields,
    )  # fmt: skip


def small(base, **fields):
    settings = {"num_points": 32, "num_train": 5, "num_test": 3}
    distribution = GaussianField(1.0, 3.0, 2.0, 8)
    return FamilyProblem("f", "F", base, distribution=distribution, **{**settings, **fields})


def test_functions_are_the_same_at_every_resolution():
    coarse = burgers_family(num_train=6, num_test=2, num_points=64)
    fine = dataclasses.replace(coarse, num_points=256)
    for a, b in zip(
        (*coarse.data().train, *coarse.data().test),
        (*fine.data().train, *fine.data().test),
        strict=True,
    ):
        np.testing.assert_allclose(a, b[..., ::4], atol=1e-13)
    odd = dataclasses.replace(coarse, num_points=96)
    np.testing.assert_allclose(
        odd.data().train[1][..., ::3], fine.data().train[1][..., ::8], atol=1e-12
    )


def test_a_function_does_not_depend_on_how_many_there_are():
    few = small(ring("u_t = 0.1*u_xx - u*u_x", {"u": "0"}))
    many = dataclasses.replace(few, num_train=60, num_test=1)
    np.testing.assert_allclose(few.data().train[1], many.data().train[1][:5], atol=1e-13)
    np.testing.assert_array_equal(few.data().test[0][:1], many.data().test[0])
    other = dataclasses.replace(few, seed=1)
    assert np.abs(other.data().train[0] - few.data().train[0]).max() > 0.01


def test_a_linear_family_is_solved_exactly():
    inputs, outputs = small(ring("u_t = 0.1*u_xx", {"u": "0"})).data().train
    k = np.pi * np.arange(17)
    exact = np.fft.irfft(np.fft.rfft(inputs) * np.exp(-0.1 * k**2 * 0.3), 32)
    np.testing.assert_allclose(outputs, exact, atol=1e-12)


def test_waves_have_two_input_channels_unknowns_first():
    equations = ("u_tt = u_xx", "v_t = 0.1*v_xx")
    base = ring(equations, {"u": "0", "u_t": "0", "v": "0"}, unknowns=("u", "v"))
    family = small(base)
    assert family.inputs == ("u", "v", "u_t")
    assert family.outputs == ("u", "v")
    inputs, outputs = family.data().train
    u, v, speed = (np.fft.rfft(inputs[:, i]) for i in range(3))
    k = np.pi * np.arange(17)
    sine = np.where(k > 0, np.sin(0.3 * k) / np.maximum(k, 1), 0.3)
    exact = np.fft.irfft(u * np.cos(0.3 * k) + speed * sine, 32)
    np.testing.assert_allclose(outputs[:, 0], exact, atol=1e-10)
    np.testing.assert_allclose(
        outputs[:, 1], np.fft.irfft(v * np.exp(-0.03 * k**2), 32), atol=1e-12
    )


def test_nonlinear_solutions_meet_the_tolerance():
    family = small(ring("u_t + u*u_x = 0.05*u_xx", {"u": "0"}), times=(0.0, 0.1, 0.3))
    assert family.outputs == ("u_1", "u_2")
    exact = dataclasses.replace(family, tolerance=1e-11).data().train[1]
    gap = np.linalg.norm(family.data().train[1] - exact) / np.linalg.norm(exact)
    assert gap < family.tolerance


def test_two_dimensions():
    base = ring("u_t = 0.05*lap(u)", {"u": "0"}, space=("x", "y"))
    family = small(base, num_points=16, num_train=2, num_test=1)
    inputs, outputs = family.data().train
    assert outputs.shape == (2, 1, 16, 16)
    assert [len(a) for a in family.evaluation_grid().values()] == [1, 16, 16]
    fine = dataclasses.replace(family, num_points=48)
    np.testing.assert_allclose(fine.data().train[1][..., ::3, ::3], outputs, atol=1e-12)
    k = np.pi * np.fft.fftfreq(48, 1 / 48)
    decay = np.exp(-0.05 * 0.3 * (k[:, None] ** 2 + k**2))
    exact = np.fft.ifft2(np.fft.fft2(fine.data().train[0]) * decay).real
    np.testing.assert_allclose(fine.data().train[1], exact, atol=1e-12)


def test_the_gaussian_field_has_its_spectrum():
    field, base = GaussianField(2.0, 1.5, 1.0, 6), ring("u_t = u_xx", {"u": "0"})
    draws = np.stack([field.draw(base, np.random.default_rng(i))[0] for i in range(4000)])
    power = np.mean(np.abs(draws) ** 2, axis=0)
    k = np.pi * np.fft.fftfreq(13, 1 / 13)
    np.testing.assert_allclose(power, 4.0 / (k**2 + 2.25), rtol=0.12)
    np.testing.assert_allclose(draws[:, 1], draws[:, -1].conj(), atol=1e-14)
    values = functions(draws[:5, None], (32,))
    x = np.arange(32) / 32
    waves = np.exp(2j * np.pi * np.outer(np.fft.fftfreq(13, 1 / 13), x))
    np.testing.assert_allclose(values[:, 0], (draws[:5] @ waves).real, atol=1e-13)


def test_families_around_a_problem_look_like_it():
    problem = burgers(nu=0.05)
    family = FamilyProblem.around(problem, num_train=200, num_test=2, frames=4)
    assert FNO().supports(problem).ok
    inputs, outputs = family.data().train
    assert outputs.shape == (200, 4, 128)
    assert family.times == (0.0, 0.25, 0.5, 0.75, 1.0)
    given = family.initial_of(problem)
    np.testing.assert_allclose(given[0], -np.sin(np.pi * family.evaluation_grid()["x"]), atol=1e-15)
    assert abs(np.std(inputs) / np.std(given) - 1) < 0.15
    np.testing.assert_allclose(inputs.mean(axis=-1), 0.0, atol=1e-13)
    assert family == FamilyProblem.around(problem, num_train=200, num_test=2, frames=4)


def test_positive_states_stay_positive():
    base = ring("u_t = 0.01*u_xx + u*(1 - u)", {"u": "exp(-20*(x - 1)^2)"})
    inputs = FamilyProblem.around(base, num_train=20, num_test=1, frames=1).data().train[0]
    assert inputs.min() > 0


def test_data_are_of_double_precision_in_any_run():
    with precision("float32"):
        single = small(ring("u_t = 0.11*u_xx", {"u": "0"})).data().train[1]
    assert single.dtype == np.float64
    k = np.pi * np.arange(17)
    inputs = small(ring("u_t = 0.11*u_xx", {"u": "0"})).data().train[0]
    exact = np.fft.irfft(np.fft.rfft(inputs) * np.exp(-0.11 * k**2 * 0.3), 32)
    np.testing.assert_allclose(single, exact, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"base": heat()}, "'x' is not periodic"),
        ({"base": None}, "needs an equation or stored pairs"),
        ({"times": (0.0, 9.0)}, "times must increase"),
        ({"times": (0.1, 0.2)}, "times must increase"),
        ({"num_points": 4}, "family.num_points: got 4"),
        ({"num_train": 0}, "family.num_train: got 0"),
        ({"inputs": ("v",)}, "family.inputs: must be (u)"),
    ],
)
def test_mistakes_are_named(change, part):
    with pytest.raises(InputError) as caught:
        small(**{"base": ring("u_t = u_xx", {"u": "0"}), **change})
    assert part in str(caught.value)


def test_distributions_are_checked():
    with pytest.raises(InputError, match="distribution.power: -1 is not positive"):
        GaussianField(power=-1.0)
    with pytest.raises(InputError, match="distribution.blend"):
        LikeInitial(blend=2.0)
    with pytest.raises(InputError, match="distribution.num_waves"):
        LikeInitial(num_waves=0)


def test_a_resolution_at_which_some_function_diverges_is_doubled():
    # Six functions choose a grid that is too coarse for the steepest of these.
    family = burgers_family(num_train=40, num_test=2, num_points=32)
    loose = dataclasses.replace(family, tolerance=1e-2).data().train[1]
    exact = family.data().train[1]
    assert np.linalg.norm(loose - exact) < 1e-2 * np.linalg.norm(exact)


def test_diverging_solves_are_named():
    # Backwards heat: every doubling of the resolution makes it worse.
    base = ring("u_t = -u_xx + u^3", {"u": "0"}, end=5.0)
    with pytest.raises(InputError, match=r"function \d+ diverges"):
        small(base, num_train=1, num_test=1, tolerance=1e-2).data()
