"""What a network of coordinates sees: scaled, periodic or random-frequency features."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from continua.nets.fixed import Fixed


class Rescale(eqx.Module):
    """The box of the coordinates mapped onto `[-1, 1]` in every axis.

    `y = (2 x - upper - lower) / (upper - lower)`.

    **Arguments:**

    - `lower`, `upper`: the box, one number a coordinate.
    """

    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, lower: Sequence[float], upper: Sequence[float]):
        self.lower, self.upper = tuple(map(float, lower)), tuple(map(float, upper))

    @property
    def size(self) -> int:
        """The number of features."""
        return len(self.lower)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        low, high = np.array(self.lower), np.array(self.upper)
        scale = jnp.asarray(2.0 / (high - low), x.dtype)
        return x * scale - jnp.asarray((high + low) / (high - low), x.dtype)


class PeriodicEmbedding(eqx.Module):
    """Features that make any network of them exactly periodic in chosen axes.

    `x -> [cos(2 pi k x / L), sin(2 pi k x / L)]`, `k = 1 .. harmonics`, for an axis
    of period `L`; other axes pass unchanged and come first. An axis with cosines alone
    is even as well: slopes vanish at 0 and at `L/2`.

    **Arguments:**

    - `periods`: `L` for each axis (the length, not the wavenumber), `None` for an axis
      that is not periodic.
    - `harmonics`: the number of harmonics, 1.
    - `even`: for each axis, whether it has cosines alone; none by default.

    **Reference:** dong2021method
    """

    periods: tuple[float | None, ...] = eqx.field(static=True)
    harmonics: int = eqx.field(static=True)
    even: tuple[bool, ...] = eqx.field(static=True)

    def __init__(
        self,
        periods: Sequence[float | None],
        harmonics: int = 1,
        *,
        even: Sequence[bool] = (),
    ):
        self.periods, self.harmonics = tuple(periods), harmonics
        self.even = tuple(map(bool, even)) or (False,) * len(self.periods)

    @property
    def size(self) -> int:
        """The number of features."""
        return sum(
            1 if period is None else self.harmonics * (1 if even else 2)
            for period, even in zip(self.periods, self.even, strict=True)
        )

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " f"]:
        # Constant matrices, so that all features come out of a few products.
        unit = np.eye(len(self.periods))
        plain = [unit[i] for i, period in enumerate(self.periods) if period is None]
        waves = [
            ((2 * np.pi * k / period) * unit[i], self.even[i])
            for i, period in enumerate(self.periods)
            if period is not None
            for k in range(1, self.harmonics + 1)
        ]
        parts = []
        if plain:
            parts.append(jnp.asarray(np.stack(plain), x.dtype) @ x)
        if waves:
            cosines = np.stack([wave for wave, _ in waves])
            parts.append(jnp.cos(jnp.asarray(cosines, x.dtype) @ x))
        if not all(even for _, even in waves):
            sines = np.stack([wave for wave, even in waves if not even])
            parts.append(jnp.sin(jnp.asarray(sines, x.dtype) @ x))
        return jnp.concatenate(parts)


class FourierFeatures(eqx.Module):
    """Cosines and sines of random frequencies.

    `y -> [cos(B y), sin(B y)]`, `B ~ N(0, scale^2)`.

    **Arguments:**

    - `in_size`: the number of coordinates or features `y`.
    - `size`: the number of features that come out, even.
    - `scale`: standard deviation of the frequencies; 1 to 2, up to 10 for fine scales.
    - `trained`: whether `B` is trained.

    **Reference:** tancik2020fourier
    """

    frequencies: Float[Array, "half in"] | Fixed

    def __init__(
        self,
        in_size: int,
        size: int,
        *,
        scale: float = 1.0,
        trained: bool = False,
        key: Key[Array, ""],
    ):
        matrix = scale * jax.random.normal(key, (size // 2, in_size))
        self.frequencies = matrix if trained else Fixed(matrix)

    @property
    def size(self) -> int:
        """The number of features."""
        return 2 * self._matrix.shape[0]

    @property
    def _matrix(self) -> Float[Array, "half in"]:
        matrix = self.frequencies
        return matrix.value if isinstance(matrix, Fixed) else matrix

    def __call__(self, y: Float[Array, " in"]) -> Float[Array, " f"]:
        phase = self._matrix @ y
        return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)])


class Chain(eqx.Module):
    """Modules one after another.

    **Arguments:**

    - `parts`: applied from the first to the last.
    """

    parts: tuple[Any, ...]

    def __call__(self, x: Float[Array, "*a"]) -> Float[Array, "*b"]:
        for part in self.parts:
            x = part(x)
        return x
