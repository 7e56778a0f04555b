"""Learned Fourier multipliers on uniform periodic grids."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from continua.core.errors import InputError


class SpectralConv(eqx.Module):
    """A convolution given by its lowest Fourier coefficients.

    `v -> F^-1(R(k) F(v)(k))` for kept wavenumbers `k`, 0 for the others; on the last
    axis `k = 0 .. m-1`, on other axes `k = -m .. m-1`. The two signs of `k` on an
    axis have weights of their own.

    The transforms are products with the few kept rows of the Fourier matrix: for the
    grids and numbers of modes of operators this is faster than a full transform.

    **Arguments:**

    - `in_size`, `out_size`: channels.
    - `modes`: `m` for each axis (one or two axes).

    Weights are real, with real and imaginary parts along the trailing axis, so that
    moments of Adam and weight decay act on each part.

    **Raises:** `InputError` on a call with a grid too coarse for the modes.

    **Reference:** li2021fourier
    """

    weight: Float[Array, "in out *k 2"]
    modes: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        modes: Sequence[int],
        *,
        key: Key[Array, ""],
    ):
        self.modes = tuple(modes)
        if len(self.modes) not in (1, 2):
            raise InputError(
                f"got {len(self.modes)} axes, expected 1 or 2",
                where="SpectralConv.modes",
            )
        kept = (*(2 * m for m in self.modes[:-1]), self.modes[-1])
        shape = (in_size, out_size, *kept, 2)
        self.weight = jax.random.uniform(key, shape) / (in_size * out_size)

    def __call__(self, v: Float[Array, "in *n"]) -> Float[Array, "out *n"]:
        check_modes(self.modes, v.shape[1:])
        spectrum = _forward(v, self.modes)
        return _backward(_multiply(spectrum, self.weight), v.shape[1:], self.modes)


def check_modes(modes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Refuse a grid on which kept wavenumbers would fall together.

    **Raises:** `InputError`.
    """
    if len(modes) != len(shape):
        raise InputError(
            f"a field with {len(shape)} axes for {len(modes)} axes of modes",
            where="SpectralConv",
        )
    for i, (m, n) in enumerate(zip(modes, shape, strict=True)):
        most = n // 2 + 1 if i == len(modes) - 1 else n // 2
        if m > most:
            raise InputError(
                f"{m} modes on an axis of {n} points, at most {most} fit",
                where="SpectralConv.modes",
                fix="take fewer modes or a finer grid",
            )


def _angles(k: np.ndarray, n: int) -> np.ndarray:
    # Whole turns are taken out in integers, so that the tables are exact to round-off.
    return 2 * math.pi * (np.outer(np.arange(n), k) % n) / n


def _wavenumbers(m: int) -> np.ndarray:
    return np.concatenate([np.arange(m), np.arange(-m, 0)])


def _forward(v, modes):
    """Kept Fourier coefficients `(..., *k, 2)`, `sum_j v_j exp(-2 pi i k j / N)`."""
    angle = _angles(np.arange(modes[-1]), v.shape[-1])
    table = jnp.asarray(np.stack([np.cos(angle), -np.sin(angle)]), v.dtype)
    if len(modes) == 1:
        return jnp.einsum("cj,pjk->ckp", v, table)
    half = jnp.einsum("cij,pjk->cikp", v, table)
    rows = _rotation(_angles(_wavenumbers(modes[0]), v.shape[1]), -1.0, v.dtype)
    return jnp.einsum("cikp,ilpq->clkq", half, rows)


def _backward(spectrum, shape, modes):
    """The real field with these coefficients and no others, `(..., *N)`."""
    n = shape[-1]
    k = np.arange(modes[-1])
    angle = _angles(k, n)
    # Coefficients that stand for a conjugate pair count twice.
    twice = np.where((k == 0) | (2 * k == n), 1.0, 2.0) / math.prod(shape)
    table = np.stack([np.cos(angle), -np.sin(angle)], axis=-1) * twice[:, None]
    table = jnp.asarray(table, spectrum.dtype)
    if len(modes) == 1:
        return jnp.einsum("ckp,jkp->cj", spectrum, table)
    rows = _rotation(_angles(_wavenumbers(modes[0]), shape[0]), 1.0, spectrum.dtype)
    half = jnp.einsum("clkp,ilpq->cikq", spectrum, rows)
    return jnp.einsum("cikp,jkp->cij", half, table)


def _rotation(angle: np.ndarray, sign: float, dtype):
    """Multiplication by `exp(sign i angle)` as real 2 x 2 blocks `[from, to]`."""
    c, s = np.cos(angle), sign * np.sin(angle)
    return jnp.asarray(np.moveaxis(np.array([[c, s], [-s, c]]), (0, 1), (2, 3)), dtype)


def _multiply(spectrum, weight):
    """`Y_o(k) = sum_i V_i(k) R_io(k)` in complex numbers held as pairs."""
    real, imaginary = weight[..., 0], weight[..., 1]
    a, b = spectrum[..., 0], spectrum[..., 1]
    pair = jnp.stack([a, b])
    rule = "pi...,io...->po..."
    by_real = jnp.einsum(rule, pair, real)
    by_imaginary = jnp.einsum(rule, pair, imaginary)
    return jnp.stack([by_real[0] - by_imaginary[1], by_real[1] + by_imaginary[0]], axis=-1)
