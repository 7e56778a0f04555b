"""Kalman smoothing against Gaussian conditioning, and its forecasts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg
from scipy.stats import multivariate_normal

from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.classical.kalman import KalmanSmoother
from continua.methods.classical.kalman_filter import filtered, group_of, later, log_likelihood
from continua.methods.classical.state_space import (
    IntegratedWiener,
    LinearSDE,
    Matern,
    Oscillator,
    Scales,
    Sum,
)
from continua.problems import Series, SeriesProblem, ornstein_uhlenbeck

KEY = jax.random.key(0)
SCALES = Scales(1.0, 10.0, 0.2, (2.0,))
TIMES = np.sort(np.random.default_rng(0).uniform(0, 10, 30))
DATA = np.sin(TIMES) + 0.1 * np.random.default_rng(1).standard_normal(30)
ASKED = np.concatenate([np.linspace(-1, 13, 41), TIMES])
# A damped spring, its place and its speed.
SPRING = LinearSDE(
    np.array([[0.0, 1.0], [-2.0, -0.4]]), np.array([[0.0], [0.7]]), np.array([[1.0, 0.0]])
)


def solve(method, problem) -> Solution:
    prepared = method.prepare(problem, key=KEY)
    return prepared.finish(prepared.program(prepared.inputs))


def series(*pairs, variables=("x",), split=None):
    return SeriesProblem(
        name="test",
        title="Test",
        variables=variables,
        time="t",
        series=tuple(
            Series(name=str(i), t=t, y=y if y.ndim == 2 else y[:, None])
            for i, (t, y) in enumerate(pairs)
        ),
        split=split,
    )


def fixed(model, noise=0.1):
    return KalmanSmoother(model, noise=noise, mean=0.0, positive=False)


def conditioned(kernel, t, y, asked, noise):
    """Mean and variance of new measurements at `asked` by Gaussian process regression."""
    gram = kernel(t, t) + noise**2 * np.eye(len(t))
    cross = kernel(asked, t)
    mean = cross @ np.linalg.solve(gram, y)
    variance = np.diag(kernel(asked, asked) - cross @ np.linalg.solve(gram, cross.T)) + noise**2
    return mean, variance, multivariate_normal.logpdf(y, np.zeros(len(t)), gram)


def matern(nu, scale, deviation):
    shape = {0.5: lambda r: 1, 1.5: lambda r: 1 + r, 2.5: lambda r: 1 + r + r**2 / 3}[nu]

    def kernel(a, b):
        r = np.sqrt(2 * nu) * np.abs(a[:, None] - b) / scale
        return deviation**2 * np.exp(-r) * shape(r)

    return kernel


def oscillator(period, decay, deviation):
    def kernel(a, b):
        h = np.abs(a[:, None] - b)
        return deviation**2 * np.exp(-h / decay) * np.cos(2 * np.pi * h / period)

    return kernel


def spring(a, b):
    """`H e^{F h} P H'`."""
    h, p = a[:, None] - b, SPRING.covariance
    return np.array([[(linalg.expm(SPRING.drift * abs(x)) @ p)[0, 0] for x in row] for row in h])


KERNELS = {
    "matern 1/2": (Matern(0.5, 1.3, 0.8), matern(0.5, 1.3, 0.8)),
    "matern 3/2": (Matern(1.5, 1.3, 0.8), matern(1.5, 1.3, 0.8)),
    "matern 5/2": (Matern(2.5, 1.3, 0.8), matern(2.5, 1.3, 0.8)),
    "oscillator": (Oscillator(6.0, 9.0, 0.9), oscillator(6.0, 9.0, 0.9)),
    "spring": (SPRING, spring),
    "sum": (
        Sum((Matern(1.5, 2.0, 0.5), Oscillator(6.0, 9.0, 0.9))),
        lambda a, b: matern(1.5, 2.0, 0.5)(a, b) + oscillator(6.0, 9.0, 0.9)(a, b),
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_the_smoother_is_gaussian_process_regression(name):
    model, kernel = KERNELS[name]
    found = solve(fixed(model), series((TIMES, DATA)))
    mean, variance, likelihood = conditioned(kernel, TIMES, DATA, ASKED, 0.1)
    assert np.abs(found(ASKED) - mean).max() < 1e-11
    assert np.abs(found.deviation(ASKED)[0] ** 2 - variance).max() < 1e-11
    assert abs(found.stats["log_likelihood"] - likelihood) < 1e-10


@pytest.mark.parametrize("order", [0, 1, 2])
def test_integrated_wiener_processes(order):
    """Against the kernel of the integral, with a wide polynomial start."""
    t = TIMES - TIMES[0]
    model = IntegratedWiener(order, deviation=0.7, start=2.0)
    scales = dataclasses.replace(SCALES, step=float(np.median(np.diff(t))))

    def kernel(a, b):
        low, gap = np.minimum(a[:, None], b), np.abs(a[:, None] - b)
        nodes, weights = np.polynomial.legendre.leggauss(order + 2)
        s = low[..., None] * (nodes + 1) / 2
        inner = (low[..., None] - s) ** order * (low[..., None] + gap[..., None] - s) ** order
        total = 0.49 * np.sum(weights * inner, axis=-1) * low / 2
        total /= float(np.prod(np.arange(1, order + 1))) ** 2
        for k in range(order + 1):
            size = 2.0 / scales.step**k / float(np.prod(np.arange(1, k + 1)))
            total += size**2 * a[:, None] ** k * b**k
        return total

    asked = np.linspace(0, t[-1] + 1, 23)
    found = solve(fixed(model), series((t, DATA)))
    mean, variance, likelihood = conditioned(kernel, t, DATA, asked, 0.1)
    # The wide start costs the comparison digits, not the filter.
    assert np.abs(found(asked) - mean).max() < 1e-5
    assert np.abs(found.deviation(asked)[0] ** 2 / variance - 1).max() < 1e-4
    assert abs(found.stats["log_likelihood"] - likelihood) < 1e-5
    assert np.isnan(found(-0.5))


def test_a_joint_model_is_joint_gaussian_conditioning():
    """Place and speed measured, each with gaps, from a start that is not stationary."""
    rng = np.random.default_rng(2)
    start, wide = np.array([1.0, -0.5]), np.diag([0.3, 0.2])
    model = dataclasses.replace(SPRING, output=np.eye(2), mean=start, covariance=wide)
    y = rng.standard_normal((8, 2))
    y[2, 0] = y[5, 1] = np.nan
    t, noise = np.sort(rng.uniform(0, 4, 8)), 0.2

    def step(h):
        """The transition by quadrature, unlike that of the library."""
        nodes, weights = np.polynomial.legendre.leggauss(20)
        parts = [linalg.expm(model.drift * h * (s + 1) / 2) @ model.noise for s in nodes]
        q = sum(w * p @ p.T for w, p in zip(weights, parts, strict=True)) * h / 2
        return linalg.expm(model.drift * h), q

    # All states at all times as one Gaussian vector.
    mean, blocks = [start], [[wide]]
    for k in range(1, 8):
        a, q = step(t[k] - t[k - 1])
        mean.append(a @ mean[-1])
        row = [a @ block for block in blocks[-1]]
        blocks.append([*row, a @ blocks[-1][-1] @ a.T + q])
    full = np.zeros((16, 16))
    for i in range(8):
        for j in range(i + 1):
            full[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = blocks[i][j]
            full[2 * j : 2 * j + 2, 2 * i : 2 * i + 2] = blocks[i][j].T
    centre, there = np.concatenate(mean), np.isfinite(y.ravel())
    gram = full[np.ix_(there, there)] + noise**2 * np.eye(there.sum())
    gain = np.linalg.solve(gram, full[there]).T
    exact = centre + gain @ (y.ravel() - centre)[there]
    variance = np.diag(full - gain @ full[there]) + noise**2

    found = solve(fixed(model, noise), series((t, y), variables=("x", "v")))
    assert np.abs(found(t).T.ravel() - exact).max() < 1e-11
    assert np.abs(found.deviation(t).T.ravel() ** 2 - variance).max() < 1e-11
    likelihood = multivariate_normal.logpdf(y.ravel()[there], centre[there], gram)
    assert abs(found.stats["log_likelihood"] - likelihood) < 1e-10


@pytest.mark.parametrize("name", KERNELS)
def test_transitions_do_not_mind_a_split(name):
    system = KERNELS[name][0].system({}, SCALES)
    for h in (1e-3, 0.4, 7.0, 300.0):
        a, q = system.transition(jnp.asarray(h))
        b, r = system.transition(jnp.asarray(0.3 * h))
        c, s = system.transition(jnp.asarray(0.7 * h))
        assert np.abs(a - c @ b).max() < 1e-13
        assert np.abs(q - (c @ r @ c.T + s)).max() < 1e-13
        # The stationary process stays as it is.
        p = system.covariance
        assert np.abs(a @ p @ a.T + q - p).max() < 1e-13


@pytest.mark.parametrize("model", [Matern(2.5, 1.7, 0.6), IntegratedWiener(2, 0.7, 1.0)])
def test_closed_forms_are_those_of_the_matrix_exponential(model):
    if isinstance(model, Matern):
        rate = np.sqrt(5) / 1.7
        drift = rate * np.array([[0, 1.0, 0], [0, 0, 1], [-1, -3, -3]])
        # White noise of the density that keeps the variance: 16/3 for nu = 5/2.
        noise = np.array([[0], [0], [0.6 * np.sqrt(16 / 3 * rate)]])
        general = LinearSDE(drift, noise, np.eye(1, 3))
    else:
        general = LinearSDE(
            np.eye(3, k=1), np.array([[0], [0], [0.7]]), np.eye(1, 3), covariance=np.eye(3)
        )
    one, other = (m.system({}, SCALES) for m in (model, general))
    for h in (0.01, 0.5, 8.0):
        for a, b in zip(
            one.transition(jnp.asarray(h)), other.transition(jnp.asarray(h)), strict=True
        ):
            assert np.abs(a - b).max() < 1e-11 * max(1, float(np.abs(b).max()))


def test_the_filter_goes_on_where_it_stopped():
    model = Matern(1.5, 1.3, 0.8)
    group = group_of([(TIMES, DATA[:, None])], [0])
    system, noise = model.system({}, SCALES), jnp.asarray([0.1])
    index, values = jnp.asarray(group.index[0]), jnp.asarray(group.values[0])
    moves = jax.vmap(system.transition)(jnp.asarray(group.steps))
    whole = filtered(system, moves, index, values, noise)
    first = filtered(system, moves, index[:12], values[:12], noise)
    after = dataclasses.replace(system, mean=first.mean[-1], covariance=first.covariance[-1])
    second = filtered(after, moves, index[12:], values[12:], noise)
    total = first.log_likelihood + second.log_likelihood
    assert abs(total - whole.log_likelihood) < 1e-12
    assert np.abs(second.mean - whole.mean[12:]).max() < 1e-14
    assert np.abs(second.covariance - whole.covariance[12:]).max() < 1e-14


def test_the_smoother_is_that_of_rauch_tung_and_striebel():
    model = Matern(2.5, 1.3, 0.8)
    group = group_of([(TIMES, DATA[:, None])], [0])
    system, noise = model.system({}, SCALES), jnp.asarray([0.1])
    index, values = jnp.asarray(group.index[0]), jnp.asarray(group.values[0])
    moves = jax.vmap(system.transition)(jnp.asarray(group.steps))
    found = filtered(system, moves, index, values, noise)
    vector, matrix = later(system, moves, index, values, found)
    mean, covariance = found.mean[-1], found.covariance[-1]
    for k in reversed(range(29)):
        a, q = (x[index[k + 1]] for x in moves)
        m, p = found.mean[k], found.covariance[k]
        ahead = a @ p @ a.T + q
        gain = np.linalg.solve(ahead, a @ p).T
        mean = m + gain @ (mean - a @ m)
        covariance = p + gain @ (covariance - ahead) @ gain.T
        back = a.T @ matrix[k + 1] @ a
        assert np.abs(m - p @ (a.T @ vector[k + 1]) - mean).max() < 1e-10
        assert np.abs(p - p @ back @ p - covariance).max() < 1e-10


def test_the_slope_of_the_likelihood_is_that_of_finite_differences():
    group = group_of([(TIMES, DATA[:, None])], [0])
    model = Sum((Matern(1.5), Oscillator()))
    names = tuple(model.free(group.scales))
    assert names == ("1.scale", "1.deviation", "2.period", "2.decay", "2.deviation")

    def value(logs):
        numbers = jnp.exp(logs)
        own = dict(zip(names, numbers[:-1], strict=True))
        return log_likelihood(model, own, numbers[-1:], group)

    logs = np.log([1.0, 0.5, 6.0, 5.0, 0.8, 0.1])
    slope = jax.jit(jax.grad(value))(jnp.asarray(logs))
    compiled = jax.jit(value)
    for i in range(6):
        ahead, back = (compiled(jnp.asarray(logs + s * 1e-5 * np.eye(6)[i])) for s in (1, -1))
        assert abs((ahead - back) / 2e-5 - slope[i]) < 1e-6 * np.abs(slope).max()


def simulated(kernel, times, noise, rng):
    gram = kernel(times, times) + 1e-12 * np.eye(len(times))
    exact = np.linalg.cholesky(gram) @ rng.standard_normal(len(times))
    return exact + noise * rng.standard_normal(len(times))


def test_bands_hold_what_they_promise():
    """Of simulated series, with the numbers that simulated them: 90 % bands and scores."""
    rng = np.random.default_rng(3)
    t = np.sort(rng.uniform(0, 40, 120))
    kernel = oscillator(6.0, 9.0, 0.9)
    rows = [(t, simulated(kernel, t, 0.2, rng)) for _ in range(60)]
    seen = np.ones(120, bool)
    seen[40:60] = seen[100:] = False  # a gap, and a forecast
    known = [(s[seen], y[seen]) for s, y in rows]
    found = solve(fixed(Oscillator(6.0, 9.0, 0.9), 0.2), series(*known))
    scores = []
    for r, (s, y) in enumerate(rows):
        where = np.full(40, float(r)), s[~seen]
        scores.append((y[~seen] - found(*where)) / found.deviation(*where)[0])
    within = np.mean(np.abs(scores) < 1.6449, axis=1)
    error = within.std() / 60**0.5
    assert abs(within.mean() - 0.9) < 3.5 * error
    assert error < 0.015
    squares = np.mean(np.square(scores), axis=1)
    assert abs(squares.mean() - 1) < 3.5 * squares.std() / 60**0.5


def test_numbers_are_found_again():
    rng = np.random.default_rng(4)
    t = np.sort(rng.uniform(0, 60, 200))
    rows = [(t, simulated(oscillator(6.0, 15.0, 0.9), t, 0.2, rng)) for _ in range(4)]
    found = solve(KalmanSmoother(Oscillator()), series(*rows))
    assert found.result.ok
    true = {"period": 6.0, "decay": 15.0, "deviation": 0.9, "noise": 0.2}
    for name, value in true.items():
        estimate = found.parameters[name]
        assert abs(estimate.value - value) < 3.5 * estimate.std
        assert estimate.std < 0.5 * value
    # Nothing nearby is more likely.
    group = group_of([(s, y[:, None] - np.mean([y for _, y in rows])) for s, y in rows], [0])
    best = found.stats["log_likelihood"]
    for name in ("period", "decay", "deviation"):
        for factor in (0.97, 1.03):
            values = {k: found.parameters[k].value for k in ("period", "decay", "deviation")}
            values[name] *= factor
            noise = jnp.asarray([found.parameters["noise"].value])
            assert float(log_likelihood(Oscillator(), values, noise, group)) < best


def test_variables_and_series_have_their_own_values():
    rng = np.random.default_rng(5)
    y = rng.standard_normal((30, 2))
    y[4:9, 1] = np.nan
    model = Matern(1.5, 1.0, 1.0)
    both = solve(fixed(model), series((TIMES, y), variables=("x", "y")))
    for i in (0, 1):
        there = np.isfinite(y[:, i])
        alone = solve(fixed(model), series((TIMES[there], y[there, i])))
        assert np.abs(both(ASKED)[i] - alone(ASKED)).max() < 1e-13
    two = solve(fixed(model), series((TIMES, y[:, 0]), (TIMES[:20] + 5, y[:20, 0])))
    assert two.coordinates == ("series", "t")
    assert np.abs(two(0.0, ASKED) - both(ASKED)[0]).max() < 1e-13
    assert np.abs(two(1.0, TIMES[:20] + 5) - two(1.0, TIMES + 5)[:20]).max() < 1e-14


def test_data_after_the_split_are_not_looked_at():
    changed = np.where(TIMES > 6, 99.0, DATA)
    method = KalmanSmoother(Matern(1.5), starts=1)
    one, other = (solve(method, series((TIMES, y), split=6.0)) for y in (DATA, changed))
    assert np.array_equal(one(ASKED), other(ASKED))
    assert one.parameters == other.parameters


def test_positive_series_are_modelled_by_their_logarithms():
    y = np.exp(2 * DATA)
    method = KalmanSmoother(Matern(1.5, 1.0, 2.0), noise=0.2)
    found = solve(method, series((TIMES, y)))
    plain = solve(dataclasses.replace(method, positive=False), series((TIMES, 2 * DATA)))
    assert np.abs(np.log(found(ASKED)) - plain(ASKED)).max() < 1e-12
    ratio = found.deviation(ASKED)[0] / found(ASKED)
    assert np.abs(ratio - plain.deviation(ASKED)[0]).max() < 1e-12


def test_a_solution_is_saved_and_read(tmp_path):
    found = solve(
        KalmanSmoother(Sum((IntegratedWiener(1), Oscillator())), starts=1), series((TIMES, DATA))
    )
    found.save(tmp_path)
    again = Solution.load(tmp_path)
    assert np.array_equal(again(ASKED), found(ASKED), equal_nan=True)
    assert np.array_equal(again.deviation(ASKED), found.deviation(ASKED), equal_nan=True)
    assert again.parameters.keys() == found.parameters.keys()


def test_what_is_not_supported_is_told():
    assert "measured series" in KalmanSmoother().supports(ornstein_uhlenbeck()).reason
    joint = KalmanSmoother(dataclasses.replace(SPRING, output=np.eye(2)))
    assert "2 outputs for 1 variables" in joint.supports(series((TIMES, DATA))).reason
    y = np.stack([DATA, np.where(TIMES > 5, DATA, np.nan)], axis=1)
    late = series((TIMES, y), variables=("x", "y"), split=4.0)
    assert "no value of 'y' up to the split" in KalmanSmoother().supports(late).reason


def test_bad_settings_are_told():
    square = np.eye(2)
    for make, message in (
        (lambda: Matern(1.0), "Matern.nu: got 1.0; give 0.5, 1.5 or 2.5"),
        (lambda: Matern(1.5, scale=-1.0), "Matern.scale: got -1.0; give a positive number"),
        (lambda: Oscillator(period=0.0), "Oscillator.period"),
        (lambda: IntegratedWiener(4), "give 0, 1, 2 or 3"),
        (lambda: LinearSDE(square, square, square), "does not pull back"),
        (lambda: LinearSDE(-square, square, np.ones((1, 3))), r"LinearSDE.output: shape \(1, 3\)"),
        (lambda: Sum(()), "give two or more"),
        (lambda: KalmanSmoother(noise=0.0), "KalmanSmoother.noise"),
        (lambda: KalmanSmoother(starts=0), "give 1 or more"),
    ):
        with pytest.raises(InputError, match=message):
            make()
