r"""Methods for stochastic differential equations, as values.

Notation in steps: `h` the step, `W` the increment of the Brownian motion, `H` its
space-time Levy area, `f` drift and `g` diffusion at the start, `f_i, g_i` at stage `i`.
An equation in the other reading than a method's is converted by its drift, exactly.
"""

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from continua.core.errors import InputError
from continua.integrate.methods import RK4, AbstractExplicitRungeKutta, AbstractIntegrator
from continua.integrate.stochastic.brownian import Increment
from continua.integrate.stochastic.sde import NOISES, SDE, times

_COMMUTATIVE = ("diagonal", "additive", "scalar", "commutative")


class AbstractStochastic(AbstractIntegrator):
    """A method for stochastic equations; subclasses state what it needs and is.

    States are arrays `(n, *paths)`.
    """

    interpretation: ClassVar[str]  # the reading of the noise that its steps solve
    evaluations: ClassVar[int]  # calls of the drift in a step
    noises: ClassVar[tuple[str, ...]] = NOISES  # the noise that it is right for
    area: ClassVar[bool] = False  # whether it uses the space-time Levy area
    levy: ClassVar[bool] = False  # whether it uses the Levy area of general noise

    @abc.abstractmethod
    def begin(self, sde: SDE, t: Any, y: Any) -> Any:
        """What the first step is handed beside the state."""

    @abc.abstractmethod
    def move(self, sde: SDE, t: Any, y: Any, memory: Any, h: Any, dw: Increment) -> tuple:
        """One step of length `h`: the new state and memory, and the error estimate
        (`None` if there is none)."""


class AbstractMemoryless(AbstractStochastic):
    """A method whose steps are handed nothing but the state."""

    def begin(self, sde, t, y):
        """Nothing."""
        return ()


class AbstractEstimating(AbstractMemoryless):
    """A method that estimates its error, so that it can choose its steps."""


@dataclasses.dataclass(frozen=True)
class EulerMaruyama(AbstractMemoryless):
    r"""`y + f h + g W`, Ito, any noise: strong order 1/2 (1 for additive noise), weak 1.

    **Reference:** kloeden1992numerical
    """

    interpretation: ClassVar[str] = "ito"
    evaluations: ClassVar[int] = 1
    reference: ClassVar[str] = "kloeden1992numerical"

    def move(self, sde, t, y, memory, h, dw):
        """One step."""
        f, g = sde.terms(t, y)
        return y + h * f + times(g, dw.w), memory, None


@dataclasses.dataclass(frozen=True)
class Milstein(AbstractMemoryless):
    r"""`y + f h + g W + 1/2 (d(g W)/dy) g W`, Stratonovich, commutative noise: order 1.

    Converted, it is the Ito form, whose last term is less its mean. The derivative is
    the exact one.

    **Reference:** kloeden1992numerical
    """

    interpretation: ClassVar[str] = "stratonovich"
    evaluations: ClassVar[int] = 1
    noises: ClassVar[tuple[str, ...]] = _COMMUTATIVE
    reference: ClassVar[str] = "kloeden1992numerical"

    def move(self, sde, t, y, memory, h, dw):
        """One step."""

        def kick(y):
            return times(sde.diffusion(t, y), dw.w)

        first = kick(y)
        second = jax.jvp(kick, (y,), (first,))[1]
        return y + h * sde.drift(t, y) + first + 0.5 * second, memory, None


@dataclasses.dataclass(frozen=True)
class StochasticHeun(AbstractEstimating):
    r"""`y + (f + f_1) h/2 + (g + g_1) W/2` with the Euler-Maruyama step as the stage.

    Stratonovich, any noise: strong order 1 for commutative noise, else 1/2. Its error is
    estimated by what the stage lacks.

    **Reference:** kloeden1992numerical
    """

    interpretation: ClassVar[str] = "stratonovich"
    evaluations: ClassVar[int] = 2
    reference: ClassVar[str] = "kloeden1992numerical"

    def move(self, sde, t, y, memory, h, dw):
        """One step."""
        f, g = sde.terms(t, y)
        stage = y + h * f + times(g, dw.w)
        f1, g1 = sde.terms(t + h, stage)
        error = 0.5 * (h * (f1 - f) + times(g1 - g, dw.w))
        return stage + error, memory, error


@dataclasses.dataclass(frozen=True)
class StochasticMidpoint(AbstractMemoryless):
    r"""`y + f_1 h + g_1 W` with the stage `y + f h/2 + g W/2` at the middle.

    Stratonovich, any noise: strong order 1 for commutative noise, else 1/2.

    **Reference:** kloeden1992numerical
    """

    interpretation: ClassVar[str] = "stratonovich"
    evaluations: ClassVar[int] = 2
    reference: ClassVar[str] = "kloeden1992numerical"

    def move(self, sde, t, y, memory, h, dw):
        """One step."""
        f, g = sde.terms(t, y)
        stage = y + 0.5 * (h * f + times(g, dw.w))
        f, g = sde.terms(t + 0.5 * h, stage)
        return y + h * f + times(g, dw.w), memory, None


@dataclasses.dataclass(frozen=True)
class SRA1(AbstractMemoryless):
    r"""Roessler's method for additive noise, strong order 3/2.

    `y + h/3 f + 2h/3 f_1 + g(t+h) W + (g(t) - g(t+h)) (W/2 + H)`, with the stage
    `y + 3h/4 f + 3/2 g(t+h) (W/2 + H)` at `t + 3h/4`.

    **Reference:** roessler2010runge
    """

    interpretation: ClassVar[str] = "ito"
    evaluations: ClassVar[int] = 2
    noises: ClassVar[tuple[str, ...]] = ("additive",)
    area: ClassVar[bool] = True
    reference: ClassVar[str] = "roessler2010runge"

    def move(self, sde, t, y, memory, h, dw):
        """One step."""
        (f, g), g_end = sde.terms(t, y), sde.diffusion(t + h, y)
        mean = 0.5 * dw.w + dw.area
        stage = y + 0.75 * h * f + 1.5 * times(g_end, mean)
        f1 = sde.drift(t + 0.75 * h, stage)
        kick = times(g_end, dw.w) + times(g - g_end, mean)
        return y + h / 3.0 * (f + 2.0 * f1) + kick, memory, None


@dataclasses.dataclass(frozen=True)
class ShARK(AbstractEstimating):
    r"""Foster's shifted Runge-Kutta method for additive noise, strong order 3/2.

    `y + h (2/5 f(y + g H) + 3/5 f_1) + g W`, the stage `y + g H + 5/6 (f(y + g H) h + g W)`
    at `t + 5h/6`; a diffusion that changes in time is taken as linear within a step.

    **Reference:** foster2022high
    """

    interpretation: ClassVar[str] = "stratonovich"
    evaluations: ClassVar[int] = 2
    noises: ClassVar[tuple[str, ...]] = ("additive",)
    area: ClassVar[bool] = True
    reference: ClassVar[str] = "foster2022high"

    def move(self, sde, t, y, memory, h, dw):
        """One step."""
        g, g_end = sde.diffusion(t, y), sde.diffusion(t + h, y)
        shifted = y + times(g, dw.area)
        f = sde.drift(t, shifted)
        stage = shifted + 5.0 / 6.0 * (h * f + times(g, dw.w))
        f1 = sde.drift(t + 5.0 / 6.0 * h, stage)
        kick = times(g, dw.w) + times(g_end - g, 0.5 * dw.w - dw.area)
        error = 0.6 * h * (f1 - f)
        return y + h * f + kick + error, memory, error


@dataclasses.dataclass(frozen=True)
class SPaRK(AbstractEstimating):
    r"""Foster's splitting-path Runge-Kutta method, Stratonovich, any noise.

    Strong order 3/2 for additive noise, 1 for commutative noise, else 1/2, with an
    error estimate. With `a = (3 - sqrt(3))/6`, stages `y + f h/2 + g (W/2 + sqrt(3) H)`
    and `y + f_1 h + g_1 W`,

        y + a (f + f_2) h + (1 - 2a) f_1 h + g (a W + H) + g_1 (1 - 2a) W + g_2 (a W - H).

    **Reference:** foster2023convergence
    """

    interpretation: ClassVar[str] = "stratonovich"
    evaluations: ClassVar[int] = 3
    area: ClassVar[bool] = True
    reference: ClassVar[str] = "foster2023convergence"

    def move(self, sde, t, y, memory, h, dw):
        """One step."""
        root = 3.0**0.5
        b = root / 3.0  # 1 - 2a
        w, area = dw.w, dw.area
        f, g = sde.terms(t, y)
        stage = y + 0.5 * h * f + times(g, 0.5 * w + root * area)
        f1, g1 = sde.terms(t + 0.5 * h, stage)
        stage = y + h * f1 + times(g1, w)
        f2, g2 = sde.terms(t + h, stage)

        # What it is beyond the trapezoidal rule on the first and last stage.
        error = b * h * (f1 - 0.5 * (f + f2)) + times(g - g2, area)
        error = error + times(b * (g1 - 0.5 * (g + g2)), w)
        return y + 0.5 * (h * (f + f2) + times(g + g2, w)) + error, memory, error


@dataclasses.dataclass(frozen=True)
class SRIW1(AbstractMemoryless):
    r"""Roessler's method for diagonal or scalar Ito noise, strong order 3/2.

    **Reference:** roessler2010runge
    """

    interpretation: ClassVar[str] = "ito"
    evaluations: ClassVar[int] = 2
    noises: ClassVar[tuple[str, ...]] = ("diagonal", "scalar")
    area: ClassVar[bool] = True
    reference: ClassVar[str] = "roessler2010runge"

    def move(self, sde, t, y, memory, h, dw):
        """One step."""
        root = jnp.sqrt(h)
        w, mean = dw.w, 0.5 * dw.w + dw.area  # I_1 and I_10 / h
        w11 = 0.5 * (w * w - h) / root
        w111 = (w * w * w / h - 3.0 * w) / 6.0

        def column(g):
            return g if g.ndim == y.ndim else g[:, 0]

        f1, g1 = sde.terms(t, y)
        x = y + 0.75 * h * f1 + 1.5 * times(g1, mean)
        f2 = sde.drift(t + 0.75 * h, x)
        x = y + 0.25 * h * f1 + 0.5 * root * column(g1)
        g2 = sde.diffusion(t + 0.25 * h, x)
        x = y + h * f1 - root * column(g1)
        g3 = sde.diffusion(t + h, x)
        x = y + 0.25 * h * f1 + root * column(-5.0 * g1 + 3.0 * g2 + 0.5 * g3)
        g4 = sde.diffusion(t + 0.25 * h, x)
        kick = (
            times(g1, -w - w11 + 2.0 * (mean - w111))
            + times(g2, 4.0 / 3.0 * (w + w11 - mean) + 5.0 / 3.0 * w111)
            + times(g3, 2.0 / 3.0 * (w - mean - w111) - w11 / 3.0)
            + times(g4, w111)
        )
        return y + h / 3.0 * (f1 + 2.0 * f2) + kick, memory, None


@dataclasses.dataclass(frozen=True)
class StochasticReversibleHeun(AbstractStochastic):
    r"""A second state `z` beside `y`, one evaluation a step, and a step that can be undone.

    `z_1 = 2y - z + f h + g W` and `y_1 = y + (f + f_1) h/2 + (g + g_1) W/2`, with `f, g` at
    `z` and `f_1, g_1` at `z_1`. Stratonovich, any noise: strong order 1/2, and 1 for
    additive noise.

    **Reference:** kidger2021efficient
    """

    interpretation: ClassVar[str] = "stratonovich"
    evaluations: ClassVar[int] = 1
    reference: ClassVar[str] = "kidger2021efficient"

    def begin(self, sde, t, y):
        """The second state, and drift and diffusion there."""
        return y, *sde.terms(t, y)

    def move(self, sde, t, y, memory, h, dw):
        """One step."""
        z, f, g = memory
        z = 2.0 * y - z + h * f + times(g, dw.w)
        f1, g1 = sde.terms(t + h, z)
        return y + 0.5 * (h * (f + f1) + times(g + g1, dw.w)), (z, f1, g1), None


@dataclasses.dataclass(frozen=True)
class LogODE(AbstractMemoryless):
    r"""The flow over unit time of the equation that the step's log-signature drives,

        dz/du = h f(z) + sum_i W_i g_i(z) + sum_(i<j) A_ij [g_i, g_j](z),

    with brackets `[g_i, g_j] = (dg_j/dy) g_i - (dg_i/dy) g_j` and the Levy area `A`, which
    is approximated, and needed for general noise alone. Stratonovich, any noise. So the
    flows of all vector fields stay what they are: on a group, or a manifold that they are
    tangent to, up to the error of `method`.

    Strong order 1 for commutative noise, else 1/2, since the path does not tell its areas.
    But as these have the right mean and covariance, there is a Brownian path near whose
    solution the steps are with order 1, where the noise spans all directions (Davie).

    **Arguments:**

    - `method`: an explicit Runge-Kutta method for one step over the unit of time; `RK4()`
      by default. Its order should be 3 at least.

    **Raises:** `InputError` for another method.

    **Reference:** castell1996ordinary, davie2014kmt
    """

    method: Any = RK4()

    interpretation: ClassVar[str] = "stratonovich"
    area: ClassVar[bool] = True
    levy: ClassVar[bool] = True
    reference: ClassVar[str] = "castell1996ordinary"

    def __post_init__(self):
        if not isinstance(self.method, AbstractExplicitRungeKutta):
            raise InputError(
                f"got {type(self.method).__name__}, expected an explicit Runge-Kutta method",
                where="LogODE.method",
                fix="give a value such as RK4()",
            )

    @property
    def evaluations(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Calls of the drift in a step."""
        return self.method.tableau.stages

    def move(self, sde, t, y, memory, h, dw):
        """One step."""

        def field(u, z):
            s = t + u * h
            slope = h * sde.drift(s, z) + times(sde.diffusion(s, z), dw.w)
            return slope + brackets(sde, s, z, dw.levy) if sde.noise == "general" else slope

        zero, one = jnp.zeros_like(h), jnp.ones_like(h)
        return self.method.step(field, zero, y, field(zero, y), one)[0], memory, None


def brackets(sde: SDE, t: Any, y: Any, levy: Any) -> Any:
    """`sum_(i<j) A_ij [g_i, g_j]`, which is `sum_j (dg_j/dy) sum_i g_i A_ij`.

    **Arguments:**

    - `sde`: with flat parts and general noise.
    - `t`, `y`: where.
    - `levy`: `A`, `(m, m, *paths)`.
    """
    g = sde.diffusion(t, y)

    def of_channel(j):
        def column(y):
            return jnp.take(sde.diffusion(t, y), j, axis=1)

        along = times(g, jnp.take(levy, j, axis=1))
        return jax.jvp(column, (y,), (along,))[1]

    return jnp.sum(jax.vmap(of_channel)(jnp.arange(g.shape[1])), axis=0)


METHODS: tuple[type[AbstractStochastic], ...] = (
    EulerMaruyama, Milstein, StochasticHeun, StochasticMidpoint, StochasticReversibleHeun,
    SPaRK, SRIW1, SRA1, ShARK, LogODE,
)  # fmt: skip
