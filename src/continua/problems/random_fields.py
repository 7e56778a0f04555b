r"""Random periodic functions, drawn by wave vector and therefore free of any grid.

    u(x) = m + sum_k A_k w_k exp(2 pi i k (x - x_0) / L),   |k_j| <= K,

with `w` white noise (`w_-k` the conjugate of `w_k`, `E |w_k|^2 = 1`), so that `u` is
Gaussian and its variance at a point is the sum of all `A_k^2`.
"""

import dataclasses
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.problems.conditions import as_number
from continua.problems.formulas import evaluate

_FINE = {1: 1024, 2: 256}  # nodes an axis on which a given initial state is analysed


@dataclasses.dataclass(frozen=True)
class GaussianField:
    """`N(0, s^2 (-Laplace + q^2)^-p)`: `A_k = s (|2 pi k / L|^2 + q^2)^(-p/2)`.

    **Arguments:**

    - `scale`: `s`, 25.
    - `shift`: `q`, an inverse length, 5.
    - `power`: `p`, the smoothness, 2.
    - `num_waves`: `K`, the largest wavenumber of an axis, 64.

    **Reference:** li2021fourier
    """

    scale: float = 25.0
    shift: float = 5.0
    power: float = 2.0
    num_waves: int = 64

    def __post_init__(self):
        for name in ("scale", "shift", "power"):
            value = as_number(getattr(self, name), f"distribution.{name}")
            if value <= 0:
                raise InputError(f"{value:g} is not positive", where=f"distribution.{name}")
            object.__setattr__(self, name, value)
        _check_waves(self.num_waves)

    def draw(self, base: Any, rng: np.random.Generator) -> np.ndarray:
        """Spectra of one initial state.

        **Arguments:**

        - `base`: the `EquationProblem` whose states they are.
        - `rng`: the source of the noise.

        **Returns:** `(s, *W)` complex, `2 K + 1` wavenumbers an axis in FFT order.
        """
        lengths = [np.ptp(base.domain[c]) for c in base.equation.space]
        squares = 0.0
        for k, length in zip(_waves(self.num_waves, len(lengths)), lengths, strict=True):
            squares = squares + (2 * np.pi * k / length) ** 2
        amplitude = self.scale * (squares + self.shift**2) ** (-self.power / 2)
        states = [_noise(rng, amplitude.shape) for _ in base.states()]
        return amplitude * np.stack(states)

    def transform(self, base: Any, fields: np.ndarray) -> np.ndarray:
        """The states that Gaussian functions `(n, s, *N)` stand for: themselves.

        **Arguments:**

        - `base`: the `EquationProblem`.
        - `fields`: from spectra that `draw` gave.
        """
        return fields


@dataclasses.dataclass(frozen=True)
class LikeInitial:
    """States like the given one: its mean, its spectrum and its size.

    `A_k^2 = (1 - b) |u_k|^2 + b E g_k`, with `u_k` the coefficients of the given state,
    `E` their energy and `g_k` a Gaussian as wide as they reach. A state that is nowhere
    negative is drawn by its logarithm, which keeps the draws positive.

    **Arguments:**

    - `blend`: `b`, the share of energy that need not have the given spectrum, 0.25.
    - `num_waves`: the largest wavenumber of an axis, 48.
    """

    blend: float = 0.25
    num_waves: int = 48

    def __post_init__(self):
        blend = as_number(self.blend, "distribution.blend")
        if not 0 <= blend <= 1:
            raise InputError(f"{blend:g} is no share", where="distribution.blend", fix="0 to 1")
        object.__setattr__(self, "blend", blend)
        _check_waves(self.num_waves)

    def draw(self, base: Any, rng: np.random.Generator) -> np.ndarray:
        """Spectra `(s, *W)` of one initial state; see `GaussianField.draw`.

        **Arguments:**

        - `base`, `rng`: as there.
        """
        given = [self._encode(state) for state in _given(base)]
        size = 2 * self.num_waves + 1
        spectra = []
        for state in given:
            full = np.fft.fftn(state) / state.size
            kept = _resized(full, (size,) * state.ndim)
            mean, energy = kept.flat[0].real, np.abs(kept) ** 2
            energy.flat[0] = 0.0
            power = (1 - self.blend) * energy + self.blend * energy.sum() * self._wide(energy)
            noise = np.sqrt(power) * _noise(rng, power.shape)
            noise.flat[0] = mean
            spectra.append(noise)
        return np.stack(spectra)

    def transform(self, base: Any, fields: np.ndarray) -> np.ndarray:
        """The states that Gaussian functions `(n, s, *N)` stand for.

        **Arguments:**

        - `base`: the `EquationProblem`.
        - `fields`: from spectra that `draw` gave.
        """
        positive = [state.min() >= 0 and state.max() > 0 for state in _given(base)]
        shape = (1, len(positive), *(1,) * (fields.ndim - 2))
        choose = np.reshape(positive, shape)
        return np.where(choose, np.exp(np.where(choose, fields, 0.0)), fields)

    def _encode(self, state: np.ndarray) -> np.ndarray:
        if state.min() < 0 or state.max() == 0:
            return state
        return np.log(np.maximum(state, 0.01 * state.max()))

    def _wide(self, energy: np.ndarray) -> np.ndarray:
        squares = sum(k**2 for k in _waves(self.num_waves, energy.ndim))
        total = energy.sum()
        width = max(float((squares * energy).sum() / total), 1.0) if total > 0 else 1.0
        shape = np.exp(-np.asarray(squares, float) / (4 * width))
        shape.flat[0] = 0.0
        return shape / shape.sum()


def functions(spectra: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values of functions on a uniform periodic grid, exact at every node.

    **Arguments:**

    - `spectra`: `(n, s, *W)`, an odd number of wavenumbers an axis.
    - `shape`: nodes of each axis.

    **Returns:** `(n, s, *shape)`.
    """
    axes = tuple(range(2, spectra.ndim))
    # A coarse grid sees every wave at its nodes: fill a multiple of it, keep each r-th.
    ratio = [-(-spectra.shape[a] // n) for a, n in zip(axes, shape, strict=True)]
    wide = tuple(r * n for r, n in zip(ratio, shape, strict=True))
    values = np.fft.ifftn(_resized(spectra, wide), axes=axes).real * np.prod(wide)
    return values[(..., *(slice(None, None, r) for r in ratio))]


def _resized(spectra: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The spectra with more wavenumbers (zeros) or fewer (cut), in FFT order."""
    axes = tuple(range(spectra.ndim - len(shape), spectra.ndim))
    centred = np.fft.fftshift(spectra, axes=axes)
    for axis, n in zip(axes, shape, strict=True):
        have = centred.shape[axis]
        keep = min((have - 1) // 2, (n - 1) // 2)
        middle = have // 2
        centred = np.take(centred, range(middle - keep, middle + keep + 1), axis=axis)
        before = n // 2 - keep
        pads = [(0, 0)] * centred.ndim
        pads[axis] = (before, n - before - 2 * keep - 1)
        centred = np.pad(centred, pads)
    return np.fft.ifftshift(centred, axes=axes)


def _waves(largest: int, dimensions: int) -> list[np.ndarray]:
    size = 2 * largest + 1
    one = np.fft.fftfreq(size, 1 / size)
    return list(np.meshgrid(*[one] * dimensions, indexing="ij"))


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """White noise by wave vector: `E |w_k|^2 = 1`, of real functions."""
    return np.fft.fftn(rng.standard_normal(shape)) / np.sqrt(np.prod(shape))


def _given(base: Any) -> list[np.ndarray]:
    """The initial state of a problem on a fine grid, one array a state."""
    equation = base.equation
    size = _FINE.get(len(equation.space), 64)
    ends = [base.domain[c] for c in equation.space]
    axes = [np.linspace(low, high, size, endpoint=False) for low, high in ends]
    mesh = dict(zip(equation.space, np.meshgrid(*axes, indexing="ij"), strict=True))
    mesh[equation.time] = np.asarray(base.domain[equation.time][0])
    values = base.all_parameters()
    return [evaluate(base.initial[n], equation, mesh, values) for n in base.states()]


def _check_waves(count: int) -> None:
    if count < 1:
        raise InputError(f"got {count}, expected 1 or more", where="distribution.num_waves")
