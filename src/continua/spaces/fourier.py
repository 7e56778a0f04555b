"""Periodic functions by their values on a uniform grid, or by Fourier coefficients."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from continua.core.errors import InputError
from continua.spaces.base import AbstractSpace, at_nodes


@dataclasses.dataclass(frozen=True)
class FourierSpace(AbstractSpace):
    r"""Fourier series on a periodic box, products dealiased.

        u(x) = sum_k û_k exp(2 pi i k (x - lower) / (upper - lower))

    Derivatives are exact for every series that the grid holds; odd ones leave out the
    highest wavenumber of an even grid, whose sign the nodes do not tell.

    **Arguments:**

    - `names`: the coordinates.
    - `lower`, `upper`: the box, one entry a coordinate.
    - `shape`: nodes of each axis, the upper end left out.
    - `kept`: share of wavenumbers that survive `project` and `to_spectral`, 2/3, which
      keeps quadratic products free of aliases; 1 keeps all.

    **Raises:** `InputError` for sizes that do not fit each other.

    **Reference:** orszag1971elimination
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    shape: tuple[int, ...]
    kept: float = 2 / 3

    def __post_init__(self):
        check_box(self)
        if not 0 < self.kept <= 1:
            raise InputError(f"got {self.kept}, expected 0 < kept <= 1", where="FourierSpace.kept")

    @property
    def spectral_shape(self) -> tuple[int, ...]:
        """The shape of Fourier coefficients of a real field."""
        return (*self.shape[:-1], self.shape[-1] // 2 + 1)

    def nodes(self, axis: int) -> np.ndarray:
        low, high, n = self.lower[axis], self.upper[axis], self.shape[axis]
        return low + (high - low) * np.arange(n) / n

    def wavenumbers(self, axis: int) -> np.ndarray:
        """Integer wavenumbers of one axis of the coefficients."""
        n = self.shape[axis]
        last = axis == len(self.shape) - 1
        return np.arange(n // 2 + 1) if last else np.rint(np.fft.fftfreq(n, 1 / n)).astype(int)

    def symbol(self, orders: tuple[int, ...]) -> Complex[Array, "*Nf"]:
        """What a derivative multiplies Fourier coefficients by: `prod_i (i k_i)^n_i`."""
        total = np.ones((), complex)
        for axis, order in enumerate(orders):
            k, n = self.wavenumbers(axis), self.shape[axis]
            wave = (2j * math.pi / (self.upper[axis] - self.lower[axis]) * k) ** order
            if order % 2:
                wave = np.where(2 * np.abs(k) == n, 0.0, wave)
            total = np.multiply.outer(total, wave)
        return jnp.asarray(total, _complex())

    def laplacian_power(self, power: Any) -> Float[Array, "*Nf"]:
        """What `(-Laplace)^(power/2)` multiplies coefficients by: `|k|^power`.

        **Arguments:**

        - `power`: positive, a number or a scalar.
        """
        axes = range(len(self.shape))
        spans = [2 * math.pi / (self.upper[a] - self.lower[a]) for a in axes]
        return wave_power([spans[a] * self.wavenumbers(a) for a in axes], power)

    def hilbert_symbol(self) -> Complex[Array, "*Nf"]:
        """What the Hilbert transform along the first axis multiplies coefficients by:
        `-i sign(k)`, 0 for the highest wavenumber of an even grid."""
        k, n = self.wavenumbers(0), self.shape[0]
        sign = np.where(2 * np.abs(k) == n, 0, np.sign(k))
        total = np.multiply.outer(-1j * sign, np.ones(self.spectral_shape[1:]))
        return jnp.asarray(total, _complex())

    def mask(self) -> Bool[Array, "*Nf"]:
        """Which wavenumbers are kept."""
        total = np.ones((), bool)
        for axis, n in enumerate(self.shape):
            k = np.abs(self.wavenumbers(axis))
            total = np.multiply.outer(total, (2 * k < self.kept * n) | (self.kept == 1))
        return jnp.asarray(total)

    def coefficients(self, u: Float[Array, "*batch_N"]) -> Complex[Array, "*batch_Nf"]:
        """Fourier coefficients (times the number of nodes) of the trailing axes, all."""
        return jnp.fft.rfftn(u, axes=self._trailing())

    def to_spectral(self, u: Float[Array, "*batch_N"]) -> Complex[Array, "*batch_Nf"]:
        """As `coefficients`, those that alias in products set to zero."""
        found = self.coefficients(u)
        return jnp.where(self.mask(), found, jnp.zeros((), found.dtype))

    def to_physical(self, u_hat: Complex[Array, "*batch_Nf"]) -> Float[Array, "*batch_N"]:
        """Values at the nodes."""
        return jnp.fft.irfftn(u_hat, s=self.shape, axes=self._trailing())

    def derivative(self, field: Float[Array, "*N"], orders: tuple[int, ...]) -> Float[Array, "*N"]:
        return self.to_physical(self.symbol(orders) * self.coefficients(field))

    def project(self, field: Float[Array, "*N"]) -> Float[Array, "*N"]:
        return self.to_physical(self.to_spectral(field))

    def weights(self, axis: int, places: np.ndarray) -> np.ndarray:
        low, high, n = self.lower[axis], self.upper[axis], self.shape[axis]
        index = (np.asarray(places) - low) / (high - low) * n
        # w_j(x) = 1/n sum_k c_k cos(2 pi k (x - x_j)), by angle sums as two thin products.
        k = np.arange(n // 2 + 1)
        share = np.where((k == 0) | (2 * k == n), 1.0, 2.0) / n
        there, nodes = (2 * np.pi / n * np.outer(i, k) for i in (index, np.arange(n)))
        rows = (np.cos(there) * share) @ np.cos(nodes).T + (np.sin(there) * share) @ np.sin(nodes).T
        exact = at_nodes(index)
        rows[exact] = np.arange(n) == np.mod(np.rint(index[exact]).astype(int), n)[:, None]
        return rows

    def _trailing(self) -> tuple[int, ...]:
        return tuple(range(-len(self.shape), 0))


def wave_power(waves: list[np.ndarray], power: Any) -> Float[Array, "*Nf"]:
    """`|k|^power` on a product of axes, 0 where `k` is.

    **Arguments:**

    - `waves`: wavenumbers of each axis, 1-d.
    - `power`: positive, a number or a scalar.
    """
    square = np.zeros(())
    for wave in waves:
        square = np.add.outer(square, wave**2)
    dtype = jnp.zeros(()).dtype
    safe = jnp.asarray(np.where(square > 0, square, 1.0), dtype)
    found = safe ** (jnp.asarray(power, dtype) / 2)
    return jnp.where(jnp.asarray(square > 0), found, jnp.zeros((), dtype))


def _complex():
    """The complex type of the precision that new arrays are made in now."""
    return jnp.zeros((), complex).dtype


def check_box(space) -> None:
    """Sizes of a space that fit each other.

    **Raises:** `InputError` where they do not.
    """
    where = type(space).__name__
    sizes = {len(getattr(space, name)) for name in ("names", "lower", "upper", "shape")}
    if len(sizes) != 1 or 0 in sizes:
        raise InputError(
            "names, lower, upper and shape differ in length", where=where, fix="one entry an axis"
        )
    for name, low, high, n in zip(space.names, space.lower, space.upper, space.shape, strict=True):
        if not low < high:
            raise InputError(f"[{low}, {high}] is empty", where=f"{where}.{name}")
        if n < 4:
            raise InputError(f"{n} nodes are too few", where=f"{where}.{name}", fix="4 at least")
