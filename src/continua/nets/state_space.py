r"""Layers that are linear equations: a convolution, a recurrence or a scan, all the same.

    x' = A x + B u,   y = C x + D u,   x_k = Ab x_{k-1} + Bb u_k,   y = K * u + D u,
    K_j = C Ab^j Bb.

Signals are `(H, T)`: features first. A step is `Delta` a row, its own for every feature (or
state), times how long the row lasts, so that rows may be uneven and another rate of samples
is another `rate` with the same weights.
"""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from continua.core.errors import InputError, suggest
from continua.nets.causal import causal_convolution, parallel_scan
from continua.nets.fixed import Fixed, OwnRate
from continua.nets.hippo import (
    Structured,
    dense_kernel,
    diagonal,
    discretise,
    hippo,
    structured,
)

MODES = ("convolution", "scan", "recurrence")
# Of Adam, as a share of the rate of all other weights.
_RATE = 0.25
_DT_LIMITS = (math.log(1e-4), 0.0)


def _complex(pair: Float[Array, "2 *n"]) -> Inexact[Array, "*n"]:
    return jax.lax.complex(pair[0], pair[1])


def _pair(values: np.ndarray) -> Float[Array, "2 *n"]:
    return jnp.asarray(np.stack([np.real(values), np.imag(values)]), jnp.zeros(()).dtype)


def _steps_between(limits: tuple[float, float], count: int, *, key) -> Float[Array, " n"]:
    """Logarithms of steps, even between two limits."""
    low, high = (math.log(x) for x in limits)
    return low + (high - low) * jax.random.uniform(key, (count,))


class AbstractStateSpace(eqx.Module):
    """A linear equation between two signals of `size` features.

    Subclasses state `skip` (`D`) and `log_dt` (of the steps).
    """

    skip: eqx.AbstractVar[Float[Array, " H"]]
    log_dt: eqx.AbstractVar[OwnRate]

    def __call__(
        self,
        u: Float[Array, "H T"],
        steps: Float[Array, " T"] | None = None,
        *,
        mode: str = "convolution",
        rate: Float[Array, ""] | float = 1.0,
    ) -> Float[Array, "H T"]:
        """The output signal.

        **Arguments:**

        - `u`: the input.
        - `steps`: how long every row lasts, in units of the common row; 1 each.
        - `mode`: `"convolution"` (even rows alone), `"scan"` or `"recurrence"`.
        - `rate`: multiplies all steps: 1/2 at twice as many samples.

        **Raises:** `InputError` for an unknown mode, or a convolution of uneven rows.
        """
        if mode not in MODES:
            raise InputError(
                f"unknown mode '{mode}'", where="StateSpace.mode", fix=suggest(mode, MODES)
            )
        if mode == "convolution":
            if steps is not None:
                raise InputError(
                    "rows of uneven steps are no convolution",
                    where="StateSpace.mode",
                    fix='take "scan" or "recurrence"',
                )
            y = self.convolve(u, rate)
        elif mode == "scan":
            y = self.scan(u, steps, rate)
        else:
            return self.recur(u, steps, rate)
        return y + self.skip[:, None] * u

    def recur(self, u, steps, rate) -> Float[Array, "H T"]:
        """Row after row by `advance`, in memory of one state.

        **Arguments:**

        - `u`, `steps`, `rate`: as the call.
        """
        if steps is None:
            discrete = self.discrete(rate)
            return jax.lax.scan(lambda x, v: self.advance(discrete, x, v), self.start(), u.T)[1].T

        def row(x, inputs):
            step, v = inputs
            return self.advance(self.discrete(rate * step), x, v)

        return jax.lax.scan(row, self.start(), (steps, u.T))[1].T

    def step(self, x: Any, u: Float[Array, " H"], rate: Float[Array, ""] | float = 1.0):
        """The state after one more row, and the output at it.

        **Arguments:**

        - `x`: the state before, from `start` or the last step.
        - `u`: the input of the row.
        - `rate`: how long the row lasts.
        """
        return self.advance(self.discrete(rate), x, u)

    @property
    def dt(self) -> Float[Array, " n"]:
        """The steps of a common row."""
        return jnp.exp(jnp.clip(self.log_dt.value, *_DT_LIMITS))

    @abc.abstractmethod
    def start(self) -> Inexact[Array, "..."]:
        """The state before the first row, zeros."""

    @abc.abstractmethod
    def discrete(self, rate) -> tuple[Any, Any]:
        """`Ab` and `Bb` of a row.

        **Arguments:**

        - `rate`: how long the row lasts.
        """

    @abc.abstractmethod
    def advance(self, discrete, x, u) -> tuple[Any, Float[Array, " H"]]:
        """The next state and output.

        **Arguments:**

        - `discrete`: from there.
        - `x`, `u`: the state, and the input of the row.
        """

    @abc.abstractmethod
    def convolve(self, u, rate) -> Float[Array, "H T"]:
        """`K * u`.

        **Arguments:**

        - `u`, `rate`: as the call.
        """

    @abc.abstractmethod
    def scan(self, u, steps, rate) -> Float[Array, "H T"]:
        """`C x` of all rows at once.

        **Arguments:**

        - `u`, `steps`, `rate`: as the call.
        """


class LSSL(AbstractStateSpace):
    """A dense equation for every feature, with `A` and `B` in common, by the bilinear rule.

    In double precision alone: powers of these matrices lose all digits of a float32.

    **Arguments:**

    - `size`: features `H`.
    - `states`: `N`, 64.
    - `memory`: `"legs"`, `"legt"`, `"lagt"`, or `"fourier"` where `train` keeps no structure.
    - `train`: what is moved of `A` and `B`: `"structure"` (the parts of
      `hippo.structured`), `"matrix"` or `"nothing"`.
    - `dt`: range of the steps of a row, even in their logarithm, `(0.001, 0.1)`.

    **Raises:** `InputError` for unknown names.

    **Reference:** gu2021combining
    """

    system: OwnRate | Fixed
    readout: Float[Array, "H N"]
    skip: Float[Array, " H"]
    log_dt: OwnRate

    def __init__(
        self,
        size: int,
        *,
        states: int = 64,
        memory: str = "legs",
        train: str = "structure",
        dt: tuple[float, float] = (0.001, 0.1),
        key,
    ):
        kinds = ("structure", "matrix", "nothing")
        if train not in kinds:
            raise InputError(f"unknown '{train}'", where="LSSL.train", fix=suggest(train, kinds))
        read, skip, steps = jax.random.split(key, 3)
        if train == "structure":
            self.system = OwnRate(structured(memory, states), 0.1 * _RATE)
        else:
            pair = hippo(memory, states)
            self.system = OwnRate(pair, 0.1 * _RATE) if train == "matrix" else Fixed(pair)
        self.readout = jax.random.normal(read, (size, states))
        self.skip = jax.random.normal(skip, (size,))
        self.log_dt = OwnRate(_steps_between(dt, size, key=steps), _RATE)

    def matrices(self) -> tuple[Float[Array, "N N"], Float[Array, " N"]]:
        """`A` and `B`."""
        value = self.system.value
        return value.matrices() if isinstance(value, Structured) else value

    def start(self):
        return jnp.zeros_like(self.readout)

    def discrete(self, rate):
        a, b = self.matrices()
        return jax.vmap(lambda dt: discretise(a, b, dt))(rate * self.dt)

    def advance(self, discrete, x, u):
        a, b = discrete
        x = jnp.einsum("hij,hj->hi", a, x) + b * u[:, None]
        return x, jnp.sum(self.readout * x, axis=1) + self.skip * u

    def kernel(self, length: int, rate: Float[Array, ""] | float = 1.0) -> Float[Array, "H T"]:
        """`C Ab^j Bb`, `j < length`, of every feature.

        **Arguments:**

        - `length`, `rate`: rows, and how long each lasts.
        """
        one = lambda a, b, c: dense_kernel(a, b, c, length)  # noqa: E731
        return jax.vmap(one)(*self.discrete(rate), self.readout)

    def convolve(self, u, rate):
        return causal_convolution(self.kernel(u.shape[1], rate), u)

    def scan(self, u, steps, rate):
        if steps is not None:
            return self._scan_uneven(u, steps, rate)
        a, b = self.discrete(rate)
        x, reach = b[:, :, None] * u[:, None, :], 1  # (H, N, T)
        while reach < u.shape[1]:
            x = x + jnp.pad(a @ x[..., :-reach], ((0, 0), (0, 0), (reach, 0)))
            a, reach = a @ a, 2 * reach
        return jnp.einsum("hn,hnt->ht", self.readout, x)

    def _scan_uneven(self, u, steps, rate):
        """Products of the matrices of all rows: dear in memory, for short series."""
        a, b = jax.vmap(self.discrete)(rate * steps)

        def joined(one, two):
            return two[0] @ one[0], jnp.einsum("...ij,...j->...i", two[0], one[1]) + two[1]

        x = jax.lax.associative_scan(joined, (a, b * u.T[:, :, None]))[1]
        return jnp.einsum("hn,thn->ht", self.readout, x)


class S4D(AbstractStateSpace):
    """An equation of `N / 2` pairs of complex modes for every feature, stepped exactly.

    `A_n = -exp(r_n) + i w_n`, at first `-1/2 + i pi n`, `B = 1`,
    `K_j = 2 Re sum_n C_n (exp(Delta A_n) - 1) / A_n exp(j Delta A_n)`.

    **Arguments:**

    - `size`: features `H`.
    - `states`: `N`, an even number, 64.
    - `dt`: range of the steps of a row, even in their logarithm, `(0.001, 0.1)`.

    **Raises:** `InputError` for an odd number of states.

    **Reference:** gu2022parameterization
    """

    log_decay: OwnRate
    frequency: OwnRate
    readout: Float[Array, "2 H n"]
    skip: Float[Array, " H"]
    log_dt: OwnRate

    def __init__(self, size: int, *, states: int = 64, dt: tuple[float, float] = (0.001, 0.1), key):
        _even(states, "S4D.states")
        read, skip, steps = jax.random.split(key, 3)
        shape = (size, states // 2)
        modes = math.pi * jnp.arange(states // 2, dtype=jnp.zeros(()).dtype)
        self.log_decay = OwnRate(jnp.full(shape, math.log(0.5)), _RATE)
        self.frequency = OwnRate(jnp.broadcast_to(modes, shape), _RATE)
        self.readout = math.sqrt(0.5) * jax.random.normal(read, (2, *shape))
        self.skip = jax.random.normal(skip, (size,))
        self.log_dt = OwnRate(_steps_between(dt, size, key=steps), _RATE)

    def values(self) -> Inexact[Array, "H n"]:
        """The eigenvalues."""
        return jax.lax.complex(-jnp.exp(self.log_decay.value), self.frequency.value)

    def _exponents(self, rate):
        """Step times eigenvalue."""
        values = self.values()
        return (rate * self.dt)[:, None].astype(values.dtype) * values

    def start(self):
        return _complex(jnp.zeros_like(self.readout))

    def discrete(self, rate):
        # No eigenvalue is 0, and exp(z) - 1 has all its digits: one exponential for both.
        moved = jnp.expm1(self._exponents(rate))
        return 1 + moved, moved / self.values()

    def advance(self, discrete, x, u):
        factor, push = discrete
        x = factor * x + push * u[:, None].astype(push.dtype)
        real, imaginary = self.readout
        y = 2 * jnp.sum(real * x.real - imaginary * x.imag, axis=1)
        return x, y + self.skip * u

    def kernel(self, length: int, rate: Float[Array, ""] | float = 1.0) -> Float[Array, "H T"]:
        """`K_j`, `j < length`, of every feature.

        **Arguments:**

        - `length`, `rate`: rows, and how long each lasts.
        """
        exponents = self._exponents(rate)
        weights = _complex(self.readout) * self.discrete(rate)[1]
        # exp((i s + r) z) = exp(i s z) exp(r z): few exponentials and one real product.
        side = math.isqrt(max(length - 1, 0)) + 1
        left = weights[..., None] * _powers(exponents, -(-length // side), side)
        right = _powers(exponents, side)
        rows = jnp.concatenate([left.real, -left.imag], axis=1)
        columns = jnp.concatenate([right.real, right.imag], axis=1)
        table = 2 * jnp.einsum("hni,hnr->hir", rows, columns)
        return table.reshape(len(table), -1)[:, :length]

    def convolve(self, u, rate):
        return causal_convolution(self.kernel(u.shape[1], rate), u)

    def scan(self, u, steps, rate):
        factors, pushes = _of_rows(self, steps, rate)
        pushed = pushes * u.T[..., None].astype(pushes.dtype)
        x = parallel_scan(jnp.broadcast_to(factors, pushed.shape), pushed)
        real, imaginary = self.readout
        y = jnp.einsum("hn,thn->ht", real, x.real) - jnp.einsum("hn,thn->ht", imaginary, x.imag)
        return 2 * y


class S5(AbstractStateSpace):
    """One equation of `N / 2` pairs of complex modes for all features, stepped exactly.

    `A` starts as the eigenvalues of the normal part of LegS, `B` and `C` as normal numbers
    in its eigenvectors; every mode has a step of its own.

    **Arguments:**

    - `size`: features `H`.
    - `states`: `N`, an even number, 64.
    - `dt`: range of the steps of a row, even in their logarithm, `(0.001, 0.1)`.

    **Raises:** `InputError` for an odd number of states.

    **Reference:** smith2023simplified
    """

    log_decay: OwnRate
    frequency: OwnRate
    enter: OwnRate
    readout: Float[Array, "2 H n"]
    skip: Float[Array, " H"]
    log_dt: OwnRate

    def __init__(self, size: int, *, states: int = 64, dt: tuple[float, float] = (0.001, 0.1), key):
        _even(states, "S5.states")
        into, read, skip, steps = jax.random.split(key, 4)
        values, vectors = diagonal(states)
        enter = np.asarray(jax.random.normal(into, (states, size))) / math.sqrt(size)
        out = np.asarray(jax.random.normal(read, (size, states))) / math.sqrt(states)
        dtype = jnp.zeros(()).dtype
        self.log_decay = OwnRate(jnp.asarray(np.log(-np.real(values)), dtype), _RATE)
        self.frequency = OwnRate(jnp.asarray(np.imag(values), dtype), _RATE)
        self.enter = OwnRate(_pair(vectors.conj().T @ enter), _RATE)
        self.readout = _pair(out @ vectors)
        self.skip = jax.random.normal(skip, (size,))
        self.log_dt = OwnRate(_steps_between(dt, states // 2, key=steps), _RATE)

    def values(self) -> Inexact[Array, " n"]:
        """The eigenvalues."""
        return jax.lax.complex(-jnp.exp(self.log_decay.value), self.frequency.value)

    def _exponents(self, rate):
        """Step times eigenvalue."""
        values = self.values()
        return (rate * self.dt).astype(values.dtype) * values

    def start(self):
        return _complex(jnp.zeros((2, self.readout.shape[2]), self.readout.dtype))

    def discrete(self, rate):
        # No eigenvalue is 0, and exp(z) - 1 has all its digits: one exponential for both.
        moved = jnp.expm1(self._exponents(rate))
        return 1 + moved, moved / self.values()

    def advance(self, discrete, x, u):
        factor, push = discrete
        x = factor * x + push * self._entered(u)
        return x, self._told(x) + self.skip * u

    def _entered(self, u):
        """`B u` of one row or of all."""
        return _complex(jnp.tensordot(self.enter.value, u, axes=1))

    def _told(self, x):
        """`2 Re C x` of one row or of all."""
        real, imaginary = self.readout
        return 2 * (real @ x.real - imaginary @ x.imag)

    def convolve(self, u, rate):
        exponents = self._exponents(rate)
        pushes = self.discrete(rate)[1][:, None] * self._entered(u)
        return self._told(causal_convolution(_powers(exponents, u.shape[1]), pushes))

    def scan(self, u, steps, rate):
        factors, pushes = _of_rows(self, steps, rate)
        pushed = pushes * self._entered(u).T
        return self._told(parallel_scan(jnp.broadcast_to(factors, pushed.shape), pushed).T)


def _of_rows(layer: AbstractStateSpace, steps, rate):
    """`Ab` and `Bb` with an axis of rows in front, of length 1 where all are alike."""
    if steps is None:
        return jax.tree.map(lambda x: x[None], layer.discrete(rate))
    return jax.vmap(layer.discrete)(rate * steps)


def _powers(exponents, count: int, stride: int = 1):
    """`exp(j s z)`, `j < count`, along a new last axis."""
    times = stride * jnp.arange(count).astype(exponents.real.dtype)
    return jnp.exp(exponents[..., None] * times.astype(exponents.dtype))


def _even(states: int, where: str) -> None:
    if states < 2 or states % 2:
        raise InputError(
            f"got {states} states", where=where, fix="give an even number, states come in pairs"
        )
