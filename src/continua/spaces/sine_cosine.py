r"""Functions on a box that are odd or even about its walls, by sines and cosines.

    odd:   u(x) = sum_k b_k sin(pi k (x - lower) / (upper - lower)),   u = u'' = ... = 0,
    even:  u(x) = sum_k a_k cos(pi k (x - lower) / (upper - lower)),   u' = u''' = ... = 0

on both walls of an axis. Nodes lie half a cell from the walls, where sines and cosines
share one grid: a real FFT as long as the axis gives the coefficients of either (Makhoul),
half of what the mirrored periodic problem takes.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from continua.core.errors import InputError
from continua.spaces.base import AbstractSpace, along_axis, at_nodes
from continua.spaces.fourier import FourierSpace, check_box, wave_power

ODD, EVEN, PERIODIC = "odd", "even", "periodic"
_SIGNS = {ODD: (1, 1, -1, -1), EVEN: (1, -1, -1, 1)}  # of the n-th derivative, n mod 4


@dataclasses.dataclass(frozen=True)
class SineCosineSpace(AbstractSpace):
    r"""Functions that are odd or even about both walls of an axis, or periodic along it.

    A derivative of odd order turns one into the other. The sine of the highest wavenumber,
    an alternating one at the nodes, is left out of derivatives and products.

    **Arguments:**

    - `names`: the coordinates.
    - `lower`, `upper`: the box, one entry a coordinate.
    - `shape`: nodes of each axis; half a cell from the walls, from the lower end on where
      periodic.
    - `parity`: `"odd"`, `"even"` or `"periodic"` for each axis.
    - `kept`: share of wavenumbers that survive `project` and `to_spectral`, 2/3, which
      keeps quadratic products free of aliases; 1 keeps all.

    **Raises:** `InputError` for sizes that do not fit each other and other words.

    **Reference:** makhoul1980fast, orszag1971elimination
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    shape: tuple[int, ...]
    parity: tuple[str, ...]
    kept: float = 2 / 3

    def __post_init__(self):
        check_box(self)
        if not 0 < self.kept <= 1:
            raise InputError(
                f"got {self.kept}, expected 0 < kept <= 1", where="SineCosineSpace.kept"
            )
        if len(self.parity) != len(self.names) or not set(self.parity) <= {ODD, EVEN, PERIODIC}:
            raise InputError(
                f"got {self.parity}, expected one word an axis",
                where="SineCosineSpace.parity",
                fix="write 'odd', 'even' or 'periodic'",
            )

    @property
    def is_real(self) -> bool:
        """Whether coefficients are real: no axis is periodic."""
        return PERIODIC not in self.parity

    @property
    def spectral_shape(self) -> tuple[int, ...]:
        """The shape of the coefficients of a field."""
        sizes = list(self.shape)
        if not self.is_real:
            last = self._periodic_axes()[-1]
            sizes[last] = sizes[last] // 2 + 1
        return tuple(sizes)

    def holding(self, parity: tuple[str, ...]) -> "SineCosineSpace":
        """The same nodes for functions of another parity."""
        return dataclasses.replace(self, parity=parity)

    def nodes(self, axis: int) -> np.ndarray:
        if self.parity[axis] == PERIODIC:
            return self._mirrored.nodes(axis)
        low, high, n = self.lower[axis], self.upper[axis], self.shape[axis]
        return low + (high - low) * (np.arange(n) + 0.5) / n

    def wavenumbers(self, axis: int) -> np.ndarray:
        """Integer wavenumbers of one axis of the coefficients, of half waves between walls."""
        n = self.shape[axis]
        if self.parity[axis] != PERIODIC:
            return np.arange(n)
        last = axis == self._periodic_axes()[-1]
        return np.arange(n // 2 + 1) if last else np.rint(np.fft.fftfreq(n, 1 / n)).astype(int)

    def _frequencies(self, axis: int) -> np.ndarray:
        length = self.upper[axis] - self.lower[axis]
        full = 2 if self.parity[axis] == PERIODIC else 1
        return full * math.pi / length * self.wavenumbers(axis)

    def symbol(self, orders: tuple[int, ...]) -> Array:
        """What a derivative multiplies coefficients by, those of the result being of the
        parity of the derivative: `(*Nf)`, real where no axis is periodic.

        **Arguments:**

        - `orders`: of the derivative along each axis.
        """
        total = np.ones(())
        for axis, order in enumerate(orders):
            wave = self._frequencies(axis)
            if self.parity[axis] == PERIODIC:
                factor = (1j * wave) ** order
                if order % 2:
                    highest = 2 * np.abs(self.wavenumbers(axis)) == self.shape[axis]
                    factor = np.where(highest, 0.0, factor)
            else:
                factor = _SIGNS[self.parity[axis]][order % 4] * wave**order
            total = np.multiply.outer(total, factor)
        return jnp.asarray(total, self._dtype())

    def laplacian_power(self, power: Any) -> Float[Array, "*Nf"]:
        """`|k|^power` of the coefficients, 0 at `k = 0`.

        **Arguments:**

        - `power`: positive, a number or a scalar.
        """
        return wave_power([self._frequencies(a) for a in range(len(self.shape))], power)

    def mask(self) -> Bool[Array, "*Nf"]:
        """Which wavenumbers are kept."""
        total = np.ones((), bool)
        for axis, n in enumerate(self.shape):
            k, full = np.abs(self.wavenumbers(axis)), 2 if self.parity[axis] == PERIODIC else 1
            total = np.multiply.outer(total, (full * k < self.kept * n) | (self.kept == 1))
        return jnp.asarray(total)

    def coefficients(self, u: Float[Array, "*batch_N"]) -> Array:
        """Coefficients of the trailing axes, all: `(*batch, *Nf)`."""
        for axis, name in enumerate(self.parity):
            if name != PERIODIC:
                transform = _sines if name == ODD else _cosines
                u = along_axis(transform, u, axis + u.ndim - len(self.shape))
        axes = tuple(a - len(self.shape) for a in self._periodic_axes())
        return jnp.fft.rfftn(u, axes=axes) if axes else u

    def to_spectral(self, u: Float[Array, "*batch_N"]) -> Array:
        """As `coefficients`, those that alias in products set to zero."""
        found = self.coefficients(u)
        return jnp.where(self.mask(), found, jnp.zeros((), found.dtype))

    def to_physical(self, u_hat: Array) -> Float[Array, "*batch_N"]:
        """Values at the nodes."""
        axes = self._periodic_axes()
        if axes:
            sizes = [self.shape[a] for a in axes]
            u_hat = jnp.fft.irfftn(u_hat, s=sizes, axes=[a - len(self.shape) for a in axes])
        for axis, name in enumerate(self.parity):
            if name != PERIODIC:
                transform = _from_sines if name == ODD else _from_cosines
                u_hat = along_axis(transform, u_hat, axis + u_hat.ndim - len(self.shape))
        return u_hat

    def differentiated(self, orders: tuple[int, ...]) -> "SineCosineSpace":
        """The space of a derivative.

        **Arguments:**

        - `orders`: along each axis.
        """
        return self.holding(flipped(self.parity, orders))

    def derivative(self, field: Float[Array, "*N"], orders: tuple[int, ...]) -> Float[Array, "*N"]:
        return self.differentiated(orders).to_physical(
            self.symbol(orders) * self.coefficients(field)
        )

    def project(self, field: Float[Array, "*N"]) -> Float[Array, "*N"]:
        return self.to_physical(self.to_spectral(field))

    def weights(self, axis: int, places: np.ndarray) -> np.ndarray:
        if self.parity[axis] == PERIODIC:
            return self._mirrored.weights(axis, places)
        low, high, n = self.lower[axis], self.upper[axis], self.shape[axis]
        index = (np.asarray(places) - low) / (high - low) * n - 0.5
        wave, k = (
            (np.cos, np.arange(n)) if self.parity[axis] == EVEN else (np.sin, np.arange(n) + 1)
        )
        share = np.where((k == 0) | (k == n), 1.0, 2.0) / n
        there, nodes = (np.pi / n * np.outer(i + 0.5, k) for i in (index, np.arange(n)))
        rows = (wave(there) * share) @ wave(nodes).T
        exact = at_nodes(index) & (np.rint(index) >= 0) & (np.rint(index) < n)
        rows[exact] = np.arange(n) == np.rint(index[exact])[:, None]
        return rows

    def _periodic_axes(self) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(self.parity) if name == PERIODIC)

    @property
    def _mirrored(self) -> FourierSpace:
        return FourierSpace(self.names, self.lower, self.upper, self.shape, self.kept)

    def _dtype(self):
        return jnp.zeros((), float if self.is_real else complex).dtype


@dataclasses.dataclass(frozen=True)
class SineCosineStates:
    """The states of a system on one grid, each of its own parity.

    **Arguments:**

    - `parts`: a `SineCosineSpace` for each state, alike but for their parities.

    **Raises:** `InputError` where they differ, or where an axis is periodic for some alone.
    """

    parts: tuple[SineCosineSpace, ...]

    def __post_init__(self):
        first = self.parts[0]
        for part in self.parts:
            periodic = [name == PERIODIC for name in part.parity]
            if part.holding(first.parity) != first or periodic != [
                name == PERIODIC for name in first.parity
            ]:
                raise InputError(
                    "the states differ in more than odd and even", where="SineCosineStates.parts"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes of each axis."""
        return self.parts[0].shape

    @property
    def is_real(self) -> bool:
        """Whether coefficients are real: no axis is periodic."""
        return self.parts[0].is_real

    @property
    def names(self) -> tuple[str, ...]:
        """The coordinates."""
        return self.parts[0].names

    @property
    def spectral_shape(self) -> tuple[int, ...]:
        """The shape of the coefficients of one state."""
        return self.parts[0].spectral_shape

    @property
    def points(self) -> dict[str, Float[Array, "..."]]:
        """Each coordinate at the nodes, broadcastable to `shape`."""
        return self.parts[0].points

    def axes(self) -> dict[str, np.ndarray]:
        """The nodes of each axis, one 1-d array a coordinate."""
        return self.parts[0].axes()

    def wavenumbers(self, axis: int) -> np.ndarray:
        """Integer wavenumbers of one axis of the coefficients."""
        return self.parts[0].wavenumbers(axis)

    def holding(self, parity: tuple[str, ...]) -> SineCosineSpace:
        """The space of functions of one parity on the same nodes."""
        return self.parts[0].holding(parity)

    def selected(self, rows: list[int]) -> "SineCosineStates":
        """Some of the states.

        **Arguments:**

        - `rows`: which ones.
        """
        return SineCosineStates(tuple(self.parts[i] for i in rows))

    def to_spectral(self, u: Float[Array, "*batch_N"]) -> Array:
        """Coefficients of fields `(*batch, s, *N)`, those that alias set to zero."""
        return self._by_state(u, lambda part, field: part.to_spectral(field))

    def to_physical(self, u_hat: Array) -> Float[Array, "*batch_N"]:
        """Values at the nodes of coefficients `(*batch, s, *Nf)`."""
        return self._by_state(u_hat, lambda part, field: part.to_physical(field))

    def interpolate(self, values: Any, points: Any) -> np.ndarray:
        """Functions on the grid at any points; exact at nodes.

        **Arguments:**

        - `values`: `(m s, *N)`, all the states again and again.
        - `points`: `(n, d)`.

        **Returns:** `(n, m s)`.
        """
        values, count = np.asarray(values), len(self.parts)
        found = np.empty((len(points), len(values)))
        for parity in dict.fromkeys(part.parity for part in self.parts):
            rows = [i for i in range(len(values)) if self.parts[i % count].parity == parity]
            found[:, rows] = self.holding(parity).interpolate(values[rows], points)
        return found

    def _by_state(self, fields: Array, transform) -> Array:
        """States of one parity together."""
        parities = list(dict.fromkeys(part.parity for part in self.parts))
        if len(parities) == 1:
            return transform(self.parts[0], fields)
        axis = fields.ndim - len(self.shape) - 1
        rows = [[i for i, p in enumerate(self.parts) if p.parity == name] for name in parities]
        found = [
            transform(self.holding(name), jnp.take(fields, jnp.asarray(row), axis=axis))
            for name, row in zip(parities, rows, strict=True)
        ]
        order = np.argsort(np.concatenate(rows))
        return jnp.take(jnp.concatenate(found, axis=axis), jnp.asarray(order), axis=axis)


def flipped(parity: tuple[str, ...], orders: tuple[int, ...]) -> tuple[str, ...]:
    """The parity of a derivative.

    **Arguments:**

    - `parity`: of the function, a word an axis.
    - `orders`: of the derivative.
    """
    other = {ODD: EVEN, EVEN: ODD, PERIODIC: PERIODIC}
    return tuple(other[p] if n % 2 else p for p, n in zip(parity, orders, strict=True))


@dataclasses.dataclass(frozen=True)
class _Tables:
    """Of one length `N`, for `k = 0 .. N - 1` and for the coefficients of a real FFT.

    `order`: even nodes upwards, then odd ones downwards; `back`: its inverse. `found`: where
    the FFT of them has wavenumber `k` or `N - k`. `cos`, `sin`: of `pi k / (2 N)`.
    """

    order: np.ndarray
    back: np.ndarray
    found: np.ndarray
    cos: np.ndarray
    sin: np.ndarray


@functools.lru_cache(maxsize=64)
def _tables(n: int) -> _Tables:
    order = np.concatenate([np.arange(0, n, 2), np.arange(1, n, 2)[::-1]])
    k = np.arange(n)
    angle = np.pi * k / (2 * n)
    back, found = np.argsort(order), np.minimum(k, n - k)
    order, back, found = (a.astype(np.int32) for a in (order, back, found))
    return _Tables(order, back, found, np.cos(angle), np.sin(angle))


def _alternating(n: int) -> np.ndarray:
    return (-1.0) ** np.arange(n)


def _cosines(u):
    """`sum_j u_j cos(pi k (j + 1/2) / N)` for `k = 0 .. N - 1`."""
    n, dtype = u.shape[-1], u.dtype
    table = _tables(n)
    # a_k = Re(exp(-i pi k / 2N) v_k), with v_k the conjugate of v_(N - k) beyond the middle.
    sin = np.where(np.arange(n) > n // 2, -table.sin, table.sin)
    found = jnp.fft.rfft(u[..., table.order])[..., table.found]
    return jnp.asarray(table.cos, dtype) * found.real + jnp.asarray(sin, dtype) * found.imag


def _from_cosines(a):
    n, dtype = a.shape[-1], a.dtype
    table, k = _tables(n), np.arange(n // 2 + 1, dtype=np.int32)
    cos, sin = (jnp.asarray(x[: n // 2 + 1], dtype) for x in (table.cos, table.sin))
    # v_k = exp(i pi k / 2N) (a_k - i a_(N - k)), a_N = 0.
    here = a[..., : n // 2 + 1]
    there = jnp.asarray(k > 0, dtype) * a[..., (n - k) % n]
    found = jax.lax.complex(cos * here + sin * there, sin * here - cos * there)
    return jnp.fft.irfft(found, n=n)[..., table.back]


def _sines(u):
    """`sum_j u_j sin(pi k (j + 1/2) / N)` for `k = 1 .. N - 1`, and 0 for `k = 0`: the
    cosines of `(-1)^j u_j` from the other end."""
    n, k = u.shape[-1], np.arange(u.shape[-1], dtype=np.int32)
    mirrored = _cosines(u * jnp.asarray(_alternating(n), u.dtype))[..., (n - k) % n]
    return mirrored * jnp.asarray(k > 0, u.dtype)


def _from_sines(b):
    n, k = b.shape[-1], np.arange(b.shape[-1], dtype=np.int32)
    mirrored = b[..., (n - k) % n] * jnp.asarray(k > 0, b.dtype)
    return _from_cosines(mirrored) * jnp.asarray(_alternating(n), b.dtype)
