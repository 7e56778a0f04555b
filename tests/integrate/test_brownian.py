"""Brownian paths from counters: law, independence, consistency under halving."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from continua.core.errors import InputError
from continua.integrate.stochastic import BrownianPath, brownian

H = jnp.asarray(0.3)
ENOUGH = 1e-4  # of a test of significance; the draws are fixed


def pieces(seed, level, h=H, cell=5):
    """Increments and areas over all pieces of a cell."""
    positions = jnp.arange(2**level)
    return jax.vmap(lambda p: brownian.of_piece(seed, cell, h, level, p))(positions)


def test_bits_are_those_of_jax(key):
    words = jax.random.bits(key, (2,), jnp.uint32)
    counter = jax.random.bits(key, (2, 50), jnp.uint32)
    ours = brownian.threefry(words[0], words[1], counter[0], counter[1])
    np.testing.assert_array_equal(np.concatenate(ours), threefry_2x32(words, counter.ravel()))


def test_known_answers_of_threefry():
    # The test vectors that are published with the generator.
    zero, ones = jnp.uint32(0), jnp.uint32(0xFFFFFFFF)
    found = [int(x) for x in brownian.threefry(zero, zero, zero, zero)]
    assert found == [0x6B200159, 0x99BA4EFE]
    found = [int(x) for x in brownian.threefry(ones, ones, ones, ones)]
    assert found == [0x1CB996FC, 0xBB002BE7]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_law_of_the_normals(key, dtype):
    seed = brownian.seeds(key, jnp.arange(200), 5)
    draw = jax.vmap(lambda cell: brownian.normal(seed, cell, 0, dtype))
    x = np.asarray(draw(jnp.arange(400)), float).ravel()
    assert stats.kstest(x, "norm").pvalue > ENOUGH
    n = x.size
    for power, mean, var in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs(np.mean(x**power) - mean) < 4.5 * np.sqrt(var / n)
    # The tails, where a generator with too few bits is found out.
    for z in (3.5, 4.0, 4.5):
        for share in (np.sum(x > z), np.sum(x < -z)):
            expected = n * stats.norm.sf(z)
            assert abs(share - expected) < 4.5 * np.sqrt(expected) + 1


def test_extreme_bits_are_finite_and_symmetric(monkeypatch):
    words = jnp.array([0x80000000, 0x7FFFFFFF, 0xFFFFFFFF, 0], jnp.uint32)
    low = jnp.array([0, 0xFFFFFFFF, 0xFFFFFFFF, 0], jnp.uint32)
    monkeypatch.setattr(brownian, "threefry", lambda *_: (words, low))
    for dtype, largest in ((jnp.float32, 5.0), (jnp.float64, 8.0)):
        x = np.asarray(brownian.normal(words, 0, 0, dtype))
        assert np.all(np.isfinite(x))
        assert x[1] > largest
        assert x[1] == -x[0]
        assert x[3] == -x[2] > 0


def test_single_precision_has_the_leading_bits_of_double(key):
    seed = brownian.seeds(key, jnp.arange(1000), 3)
    wide, narrow = (brownian.normal(seed, 4, 0, d) for d in (jnp.float64, jnp.float32))
    # The inverse of the distribution function magnifies the last bit in the tails.
    slack = 4e-7 * np.sqrt(np.pi / 2) * np.exp(np.asarray(wide) ** 2 / 2)
    assert np.all(np.abs(np.asarray(wide) - np.asarray(narrow)) < slack)


def test_independence_of_paths_channels_cells_and_areas(key):
    # Keys in a row, and counters in a row, differ by one bit.
    rows = []
    for k in (key, jax.random.key(1)):
        seed = brownian.seeds(k, jnp.arange(4), 3)
        found = jax.vmap(lambda cell, seed=seed: brownian.of_cell(seed, cell, H, area=True))(
            jnp.arange(20_000)
        )
        w, area = np.asarray(found.w), np.asarray(found.area)
        rows += [
            w.reshape(len(w), -1).T / np.sqrt(0.3),
            area.reshape(len(w), -1).T / np.sqrt(0.025),
        ]
    x = np.concatenate(rows)
    x = np.concatenate([x[:, :-1], x[:, 1:]])  # a cell and the next one
    for values in (x, (x**2 - 1) / np.sqrt(2), np.sign(x)):
        covariance = values @ values.T / values.shape[1]
        assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 5.5 / np.sqrt(20_000)
        assert np.abs(np.diag(covariance) - 1).max() < 5 * np.sqrt(14 / 20_000)


@pytest.mark.parametrize("level", [1, 2, 6])
def test_pieces_add_up_to_the_whole(key, level):
    seed = brownian.seeds(key, jnp.arange(10), 2)
    whole = brownian.of_cell(seed, 5, H, area=True)
    w, area, _ = pieces(seed, level)
    np.testing.assert_allclose(w.sum(axis=0), whole.w, atol=1e-15)
    # int W ds over the whole, from those over the pieces.
    before = jnp.cumsum(w, axis=0) - w
    mean = jnp.mean(before + 0.5 * w + area, axis=0)
    np.testing.assert_allclose(mean, 0.5 * whole.w + whole.area, atol=1e-15)


def test_law_of_the_pieces(key):
    count, level = 20_000, 3
    seed = brownian.seeds(key, jnp.arange(count), 1)
    w, area = (np.asarray(x)[:, 0] for x in pieces(seed, level)[:2])
    h = 0.3 / 2**level
    x = np.concatenate([w / np.sqrt(h), area / np.sqrt(h / 12)])
    covariance = x @ x.T / count
    assert np.abs(covariance - np.eye(len(x))).max() < 5 * np.sqrt(2 / count)
    for row in x:
        assert stats.kstest(row, "norm").pvalue > ENOUGH


def test_a_path_is_the_same_in_any_company(key):
    many = brownian.of_piece(brownian.seeds(key, jnp.arange(1000), 4), 2, H, 3, 5)
    alone = brownian.of_piece(brownian.seeds(key, 700, 2), 2, H, 3, 5)
    np.testing.assert_array_equal(many.w[:2, 700], alone.w)
    np.testing.assert_array_equal(many.area[:2, 700], alone.area)


def test_path_meets_its_grid(key):
    path = BrownianPath(1.0, 0.25, 3, key=key, path=jnp.arange(4))
    cells = path.increments(12)
    assert cells.shape == (12, 3, 4)
    np.testing.assert_allclose(path(1.0, 4.0), cells.sum(axis=0), atol=1e-14)
    np.testing.assert_allclose(path(1.5, 2.25), cells[2:5].sum(axis=0), atol=1e-14)
    fine = brownian.of_piece(path.seed, 3, path.dt, 4, 9).w
    a = 1.75 + 0.25 * 9 / 16
    np.testing.assert_allclose(path(a, a + 0.25 / 16), fine, atol=1e-12)


def test_path_is_additive_and_continuous(key):
    path = BrownianPath(0.0, 0.2, 2, key=key)
    call = jax.jit(path.__call__)
    a, b, c = 0.1234, 0.777, 1.918
    np.testing.assert_allclose(call(a, b) + call(b, c), call(a, c), atol=1e-14)
    np.testing.assert_allclose(call(c, a), -call(a, c), atol=1e-14)
    assert np.abs(call(b, b + 1e-9)).max() < 1e-3
    many = jax.vmap(lambda t: path(a, t))(jnp.array([b, c]))
    np.testing.assert_allclose(many, jnp.stack([call(a, b), call(a, c)]), atol=1e-15)


def test_law_of_a_path_between_grid_times(key):
    count = 10_000
    path = BrownianPath(0.0, 0.5, 1, key=key, path=jnp.arange(count), depth=12)
    times = [0.1, 0.37, 0.61, 1.303]
    x = np.stack([np.asarray(path(0.0, t))[0] for t in times])
    exact = np.minimum.outer(times, times)
    bars = np.sqrt((exact**2 + np.outer(times, times)) / count)
    assert np.all(np.abs(x @ x.T / count - exact) < 4.5 * bars)
    for row, t in zip(x, times, strict=True):
        assert stats.kstest(row / np.sqrt(t), "norm").pvalue > ENOUGH


def test_any_kind_of_key():
    seed = brownian.seeds(jax.random.key(3, impl="rbg"), jnp.arange(3), 2)
    assert len(np.unique(np.asarray(seed))) == seed.size
    old = brownian.seeds(jax.random.PRNGKey(3), 0, 2)
    np.testing.assert_array_equal(old, brownian.seeds(jax.random.key(3), 0, 2))


def test_depth_that_is_too_deep(key):
    with pytest.raises(InputError, match=r"BrownianPath.depth: got 31 halvings; give"):
        BrownianPath(0.0, 1.0, 1, key=key, depth=31)
