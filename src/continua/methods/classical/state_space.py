r"""Gaussian processes in time as linear stochastic differential equations.

    dx = F x dt + L dW,   y = H x,
    x(t + h) = A x(t) + q,   A = exp(F h),   q ~ N(0, Q),   Q = int_0^h e^{Fs} L L' e^{F's} ds.

Transitions are exact for every step `h`: in closed form where there is one, in Lyapunov's
form `Q = P - A P A'` where the process is stationary with covariance `P`, else by the
matrix exponential of Van Loan, of a fraction of the step that is then doubled.
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag, expm

from continua.core.errors import InputError
from continua.problems.values import AbstractValue

_ORDERS = (0.5, 1.5, 2.5)
_WIDE = 100.0  # spreads of the data that a start may be away, where nothing is known
_DOUBLINGS = 8


@dataclasses.dataclass(frozen=True)
class Free:
    """A positive number to be fitted, by its logarithm.

    **Arguments:**

    - `starts`: where searches begin, one each.
    - `lower`, `upper`: ends of the search.
    """

    starts: tuple[float, ...]
    lower: float
    upper: float


@dataclasses.dataclass(frozen=True)
class Scales:
    """What data say about sizes before anything is fitted.

    **Arguments:**

    - `spread`: standard deviation of the values.
    - `span`, `step`: of the times, the second a median.
    - `periods`: the strongest ones.
    """

    spread: float
    span: float
    step: float
    periods: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class System:
    """A model with all its numbers.

    **Arguments:**

    - `mean`, `covariance`: of the state at the start, `(n,)` and `(n, n)`.
    - `output`: `H`, `(c, n)`.
    - `transition`: a step `h >= 0` to `A` and `Q`.
    """

    mean: Any
    covariance: Any
    output: Any
    transition: Callable[[Any], tuple[Any, Any]]


class AbstractStateSpace(AbstractValue, abc.ABC):
    """A linear stochastic differential equation; numbers that are `None` are fitted."""

    @property
    @abc.abstractmethod
    def stationary(self) -> bool:
        """Whether the start is as likely as any other time."""

    @property
    @abc.abstractmethod
    def outputs(self) -> int:
        """Rows of `H`."""

    @abc.abstractmethod
    def free(self, scales: Scales) -> dict[str, Free]:
        """The numbers to be fitted, by name.

        **Arguments:**

        - `scales`: of the data.
        """

    @abc.abstractmethod
    def system(self, values: Mapping[str, Any], scales: Scales) -> System:
        """The model with numbers, which may be traced.

        **Arguments:**

        - `values`: of what is fitted.
        - `scales`: of the data.
        """


def _given(owner: Any, values: Mapping[str, Any], *names: str) -> list[Any]:
    dtype = jnp.zeros(()).dtype
    found = (values.get(name, getattr(owner, name)) for name in names)
    return [jnp.asarray(value, dtype) for value in found]


def _only_free(owner: Any, **choices: Free) -> dict[str, Free]:
    return {name: free for name, free in choices.items() if getattr(owner, name) is None}


def _check_positive(owner: Any, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise InputError(
                f"got {value!r}",
                where=f"{type(owner).__name__}.{name}",
                fix="give a positive number, or None to fit it",
            )


def _spreads(scales: Scales) -> Free:
    s = scales.spread
    return Free((s, s / 2, 2 * s), 1e-4 * s, 1e3 * s)


@dataclasses.dataclass(frozen=True, eq=False)
class Matern(AbstractStateSpace):
    """The process with Matern's covariance: `nu - 1/2` times differentiable.

    `k(h) = deviation^2 e^{-r} p(r)`, `r = sqrt(2 nu) |h| / scale`, with `p = 1`, `1 + r` and
    `1 + r + r^2 / 3` for `nu` of 1/2, 3/2 and 5/2.

    **Arguments:**

    - `nu`: 0.5, 1.5 (default) or 2.5.
    - `scale`: of time, in its units.
    - `deviation`: standard deviation, in the units of the data.

    **Raises:** `InputError` for another `nu`, and numbers that are not positive.

    **Reference:** hartikainen2010kalman
    """

    nu: float = 1.5
    scale: float | None = None
    deviation: float | None = None

    stationary: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]
    outputs: ClassVar[int] = 1  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self):
        if self.nu not in _ORDERS:
            raise InputError(f"got {self.nu!r}", where="Matern.nu", fix="give 0.5, 1.5 or 2.5")
        _check_positive(self, "scale", "deviation")

    def free(self, scales: Scales) -> dict[str, Free]:
        starts = (scales.span / 10, 3 * scales.step, scales.span / 2)
        times = Free(starts, 0.1 * scales.step, 100 * scales.span)
        return _only_free(self, scale=times, deviation=_spreads(scales))

    def system(self, values: Mapping[str, Any], scales: Scales) -> System:
        scale, deviation = _given(self, values, "scale", "deviation")
        n, dtype = round(self.nu + 0.5), scale.dtype
        # Derivatives by the time r: the characteristic polynomial is (z + 1)^n.
        companion = np.diag(np.ones(n - 1), 1)
        companion[-1] = [-math.comb(n, k) for k in range(n)]
        shifted = companion + np.eye(n)  # nilpotent
        powers = [np.linalg.matrix_power(shifted, k) / math.factorial(k) for k in range(n)]
        covariance = {
            1: np.eye(1),
            2: np.eye(2),
            3: np.array([[1, 0, -1 / 3], [0, 1 / 3, 0], [-1 / 3, 0, 1]]),
        }[n]
        stationary = jnp.asarray(covariance, dtype) * deviation**2
        root = jnp.asarray(math.sqrt(2 * self.nu), dtype)

        def transition(h):
            r = root * h / scale
            a = sum(jnp.asarray(p, dtype) * r**k for k, p in enumerate(powers)) * jnp.exp(-r)
            return a, _symmetric(stationary - a @ stationary @ a.T)

        return System(jnp.zeros(n, dtype), stationary, _first(n, dtype), transition)


@dataclasses.dataclass(frozen=True, eq=False)
class Oscillator(AbstractStateSpace):
    """A stochastic oscillator that forgets its phase: `k(h) = deviation^2 e^{-|h| / decay}
    cos(2 pi h / period)`.

    `F = [[-1 / decay, -w], [w, -1 / decay]]`, `w = 2 pi / period`, `L L' = 2 deviation^2 /
    decay` on both states.

    **Arguments:**

    - `period`, `decay`: in units of time.
    - `deviation`: standard deviation, in the units of the data.

    **Raises:** `InputError` for numbers that are not positive.

    **Reference:** solin2014explicit
    """

    period: float | None = None
    decay: float | None = None
    deviation: float | None = None

    stationary: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]
    outputs: ClassVar[int] = 1  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self):
        _check_positive(self, "period", "decay", "deviation")

    def free(self, scales: Scales) -> dict[str, Free]:
        periods = Free(scales.periods, 0.2 * scales.step, 10 * scales.span)
        decays = Free((scales.span,), 0.1 * scales.step, 100 * scales.span)
        return _only_free(self, period=periods, decay=decays, deviation=_spreads(scales))

    def system(self, values: Mapping[str, Any], scales: Scales) -> System:
        period, decay, deviation = _given(self, values, "period", "decay", "deviation")
        dtype = period.dtype
        stationary = jnp.eye(2, dtype=dtype) * deviation**2

        def transition(h):
            angle = jnp.asarray(2 * math.pi, dtype) * h / period
            c, s = jnp.cos(angle), jnp.sin(angle)
            a = jnp.exp(-h / decay) * jnp.stack([jnp.stack([c, -s]), jnp.stack([s, c])])
            return a, -jnp.expm1(-2 * h / decay) * stationary

        return System(jnp.zeros(2, dtype), stationary, _first(2, dtype), transition)


@dataclasses.dataclass(frozen=True, eq=False)
class IntegratedWiener(AbstractStateSpace):
    """The `order`-th integral of a Wiener process, with a wide start: local trends.

    `d x^(order) = deviation dW`; the smoother is then a smoothing spline of degree
    `2 order + 1`.

    **Arguments:**

    - `order`: 0 for a Wiener process, 1 (default) for a trend that wanders, 2 or 3.
    - `deviation`: of the noise, in units of the data over time to the `order + 1/2`.
    - `start`: standard deviation of the first value about the mean; by default, and for the
      derivatives, 100 spreads of the data, for each of them over the median step.

    **Raises:** `InputError` for another order, and numbers that are not positive.

    **Reference:** wahba1978improper
    """

    order: int = 1
    deviation: float | None = None
    start: float | None = None

    stationary: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleMethodOverride]
    outputs: ClassVar[int] = 1  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self):
        if self.order not in (0, 1, 2, 3):
            raise InputError(
                f"got {self.order!r}", where="IntegratedWiener.order", fix="give 0, 1, 2 or 3"
            )
        _check_positive(self, "deviation", "start")

    def free(self, scales: Scales) -> dict[str, Free]:
        power = self.order + 0.5
        starts = [scales.spread / t**power for t in (scales.span / 10, scales.span, scales.step)]
        ends = (1e-3 * min(starts), 1e3 * max(starts))
        return _only_free(self, deviation=Free(tuple(starts), *ends))

    def system(self, values: Mapping[str, Any], scales: Scales) -> System:
        (deviation,) = _given(self, values, "deviation")
        p, n, dtype = self.order, self.order + 1, deviation.dtype
        wide = self.start or _WIDE * scales.spread
        start = np.diag([(wide / scales.step**k) ** 2 for k in range(n)])
        i, j = np.indices((n, n))
        ahead = np.maximum(j - i, 0)
        taylor = jnp.asarray(np.where(j >= i, 1 / _factorial(ahead), 0.0), dtype)
        power = 2 * p + 1 - i - j
        share = 1 / (power * _factorial(p - i) * _factorial(p - j))
        shares = jnp.asarray(share, dtype)

        def transition(h):
            a = taylor * _powers(h, ahead)
            return a, deviation**2 * shares * _powers(h, power)

        return System(jnp.zeros(n, dtype), jnp.asarray(start, dtype), _first(n, dtype), transition)


@dataclasses.dataclass(frozen=True, eq=False)
class LinearSDE(AbstractStateSpace):
    """`dx = F x dt + L dW`, `y = H x`, all given; only noise of measurements is fitted.

    **Arguments:**

    - `drift`: `F`, `(n, n)`.
    - `noise`: `L`, `(n, k)`.
    - `output`: `H`, `(c, n)`: one row, for every variable alike and each on its own, or
      one for each variable.
    - `mean`: of the state at the start, `(n,)`; 0.
    - `covariance`: of it, `(n, n)`; that of the stationary process by default.

    **Raises:** `InputError` for shapes that disagree, and without a covariance where the
    drift does not pull back.

    **Reference:** sarkka2019applied
    """

    drift: Any
    noise: Any
    output: Any
    mean: Any = None
    covariance: Any = None

    def __post_init__(self):
        drift, noise, output = (np.array(getattr(self, f), float) for f in _MATRICES)
        n = len(drift) if drift.ndim else 0
        shapes = {"drift": drift.shape, "noise": noise.shape, "output": output.shape}
        expected = {"drift": (n, n), "noise": (n, *noise.shape[1:]), "output": (len(output), n)}
        for name, shape in shapes.items():
            if len(shape) != 2 or shape != expected[name]:
                raise InputError(
                    f"shape {shape} does not fit a state of {n}",
                    where=f"LinearSDE.{name}",
                    fix="give F (n, n), L (n, k) and H (c, n)",
                )
        mean = np.zeros(n) if self.mean is None else np.array(self.mean, float)
        covariance = self.covariance
        if covariance is None:
            covariance = _lyapunov(drift, noise)
        covariance = np.array(covariance, float)
        if mean.shape != (n,) or covariance.shape != (n, n):
            raise InputError(f"does not fit a state of {n}", where="LinearSDE.mean, covariance")
        names = (*_MATRICES, "mean", "covariance")
        for name, value in zip(names, (drift, noise, output, mean, covariance), strict=True):
            object.__setattr__(self, name, value)

    @property
    def stationary(self) -> bool:
        if np.any(self.mean):
            return False
        q = self.noise @ self.noise.T
        gap = self.drift @ self.covariance + self.covariance @ self.drift.T + q
        return bool(np.max(np.abs(gap)) <= 1e-10 * max(np.max(np.abs(q)), 1e-300))

    @property
    def outputs(self) -> int:
        return len(self.output)

    def free(self, scales: Scales) -> dict[str, Free]:
        return {}

    def system(self, values: Mapping[str, Any], scales: Scales) -> System:
        dtype = jnp.zeros(()).dtype
        mean, covariance, output = (
            jnp.asarray(a, dtype) for a in (self.mean, self.covariance, self.output)
        )
        n = len(self.drift)
        q = self.noise @ self.noise.T
        block = jnp.asarray(np.block([[-self.drift, q], [np.zeros((n, n)), self.drift.T]]), dtype)

        def transition(h):
            part = expm(block * (h / 2**_DOUBLINGS))
            a = part[n:, n:].T
            found = a @ part[:n, n:]
            for _ in range(_DOUBLINGS):
                found = found + a @ found @ a.T
                a = a @ a
            return a, _symmetric(found)

        return System(mean, covariance, output, transition)


_MATRICES = ("drift", "noise", "output")


@dataclasses.dataclass(frozen=True, eq=False)
class Sum(AbstractStateSpace):
    """The sum of independent processes, such as a trend and an oscillator.

    **Arguments:**

    - `models`: two or more, with one row of `H` each.

    **Raises:** `InputError` for other models.
    """

    models: tuple[AbstractStateSpace, ...]

    def __post_init__(self):
        object.__setattr__(self, "models", tuple(self.models))
        for model in self.models:
            if not isinstance(model, AbstractStateSpace) or model.outputs != 1:
                raise InputError(
                    f"got {type(model).__name__}",
                    where="Sum.models",
                    fix="give models of one output, such as Matern() and Oscillator()",
                )
        if not self.models:
            raise InputError("no models", where="Sum.models", fix="give two or more")

    @property
    def stationary(self) -> bool:
        return all(model.stationary for model in self.models)

    @property
    def outputs(self) -> int:
        return 1

    def free(self, scales: Scales) -> dict[str, Free]:
        parts = [model.free(scales) for model in self.models]
        return {f"{i}.{k}": free for i, part in enumerate(parts, 1) for k, free in part.items()}

    def system(self, values: Mapping[str, Any], scales: Scales) -> System:
        parts = []
        for i, model in enumerate(self.models, 1):
            head = f"{i}."
            own = {k.removeprefix(head): v for k, v in values.items() if k.startswith(head)}
            parts.append(model.system(own, scales))

        def transition(h):
            pairs = [part.transition(h) for part in parts]
            return block_diag(*(a for a, _ in pairs)), block_diag(*(q for _, q in pairs))

        return System(
            jnp.concatenate([part.mean for part in parts]),
            block_diag(*(part.covariance for part in parts)),
            jnp.concatenate([part.output for part in parts], axis=1),
            transition,
        )


def _lyapunov(drift: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The covariance of the stationary process, `F P + P F' + L L' = 0`."""
    from scipy import linalg

    if np.max(np.linalg.eigvals(drift).real, initial=-1.0) >= 0:
        raise InputError(
            "the drift does not pull back, so that there is no stationary covariance",
            where="LinearSDE.covariance",
            fix="give the covariance of the state at the start",
        )
    return linalg.solve_continuous_lyapunov(drift, -noise @ noise.T)


def _symmetric(q: Any) -> Any:
    return (q + q.T) / 2


def _first(n: int, dtype: Any) -> Any:
    return jnp.eye(1, n, dtype=dtype)


def _factorial(k: np.ndarray) -> np.ndarray:
    return np.vectorize(math.factorial)(k).astype(float)


def _powers(h: Any, k: np.ndarray) -> Any:
    """`h^k`, entry by entry; whole powers keep derivatives finite at 0."""
    table = jnp.stack([h**i for i in range(int(k.max()) + 1)])
    return table[k]
