"""Steady equations: waves, flow through porous rock, nonlinear diffusion, free constants."""

import dataclasses
import math

import numpy as np
import sympy

from continua.core.errors import InputError
from continua.equations import Equation
from continua.problems.conditions import Condition, Walls
from continua.problems.equation import EquationProblem
from continua.problems.library.linear import fixed
from continua.problems.reference import FormulaReference
from continua.problems.solve_elliptic import EllipticReference

_PLANE = ("x", "y")
_SQUARE = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
_WAVES = 5  # largest wavenumber of a permeability, in half waves an axis
_BRATU_LIMIT = 3.513830719  # largest lambda for which there is a solution


def helmholtz(*, k: float = 20.0) -> EquationProblem:
    """Waves of one frequency in a square, `-lap(u) - k^2 u = 0`.

    **Arguments:**

    - `k`: wavenumber, 20.
    """
    parameters = {"k": k}
    exact = "sin(k*(3*x + 4*y)/5) + cos(k*(12*x - 5*y)/13)"
    return EquationProblem(
        name="helmholtz",
        title="Helmholtz equation on a square",
        equation=Equation(("-lap(u) - k^2*u = 0",), ("u",), _PLANE, tuple(parameters)),
        domain=_SQUARE,
        parameters=parameters,
        boundary={c: fixed("u", exact, exact) for c in _PLANE},
        reference=FormulaReference({"u": exact}, _PLANE, parameters),
        citation="ihlenburg1995finite",
        notes="Indefinite: multigrid and conjugate gradients fail, and errors of phase grow with "
        "k^3 h^2, so that nodes a wave are not enough. Near k^2 = pi^2 (m^2 + n^2) the square "
        "resonates.",
    )


def poisson_neumann() -> EquationProblem:
    """Poisson's equation with given slopes on the whole rim, and a given mean."""
    exact = "cos(pi*x)*cos(2*pi*y) + x^2/2 - 1/6"
    slopes = {"x": ("0", "1"), "y": ("0", "0")}
    return EquationProblem(
        name="poisson_neumann",
        title="Poisson equation with given slopes",
        equation=Equation(
            ("-lap(u) = f",),
            ("u",),
            _PLANE,
            definitions={"f": "5*pi^2*cos(pi*x)*cos(2*pi*y) - 1"},
        ),
        domain=_SQUARE,
        boundary={
            c: Walls(*((Condition("u", {1: 1.0}, value),) for value in ends))
            for c, ends in slopes.items()
        },
        means={"u": 0.0},
        reference=FormulaReference({"u": exact}, _PLANE),
        citation="leveque2007finite",
        notes="Free up to a constant: the system is singular until the mean is asked for, and "
        "sources have to balance what flows through the walls.",
    )


def darcy(*, seed: int = 0, sigma: float = 1.0, power: float = 2.0) -> EquationProblem:
    """Flow through rock of random permeability, `-div(a grad u) = 1`, `log a` Gaussian.

    `log a = sigma sum_k g_k (pi^2 |k|^2 + 9)^(-power/2) cos(pi k_1 x) cos(pi k_2 y)`, at most
    five half waves an axis, `sigma` the standard deviation over the square.

    **Arguments:**

    - `seed`: of the draw, 0.
    - `sigma`: of `log a`, 1.
    - `power`: decay of the waves, 2.

    **Raises:** `InputError` where `sigma` is not positive.
    """
    _check_positive("sigma", sigma)
    return _porous(
        "darcy",
        "Darcy flow, log-normal permeability",
        f"exp({_waves(seed, sigma, power)})",
        "The permeability varies a hundredfold within a few half waves.",
    )


def darcy_two_phase(*, seed: int = 0, width: float = 1.0) -> EquationProblem:
    """Flow through rock of two kinds, permeable by 3 and 12, `-div(a grad u) = 1`.

    `a = 7.5 + 4.5 tanh(g / width)`, `g` Gaussian with variance 1: a threshold with a layer
    between the phases that can be resolved.

    **Arguments:**

    - `seed`: of the draw, 0.
    - `width`: of the layer, in units of `g`, 1.

    **Raises:** `InputError` where `width` is not positive.
    """
    _check_positive("width", width)
    return _porous(
        "darcy_two_phase",
        "Darcy flow, two permeabilities",
        f"7.5 + 4.5*tanh(({_waves(seed, 1.0, 2.0)})/{float(width)!r})",
        "Thin layers between two values: slopes of u jump there, to the eye.",
    )


def p_laplacian(*, p: float = 3.0, epsilon: float = 0.1) -> EquationProblem:
    """Diffusion that depends on its own slope, `-div((epsilon^2 + |grad u|^2)^(p/2-1) grad u) = f`.

    The solution is that of the pure p-Laplacian around a point, `u = -(p-1)/p 2^(1/(1-p))
    r^(p/(p-1))`; `f` is 1 for `epsilon = 0`.

    **Arguments:**

    - `p`: above 1, 3.
    - `epsilon`: slope below which diffusion is linear, 0.1.

    **Raises:** `InputError` where `p` is not above 1 or `epsilon` not positive.
    """
    if not 1 < p < math.inf:
        raise InputError(f"p = {p:g} is not above 1", where="p_laplacian.p")
    _check_positive("epsilon", epsilon)
    square, exponent = f"({float(epsilon)!r}^2 + u_x^2 + u_y^2)", repr((p - 2) / 2)
    flow = f"{square}^({exponent})" if p != 2 else "1"
    exact = f"-{(p - 1) / p * 2 ** (1 / (1 - p))!r}*(x^2 + y^2)^({p / (2 * (p - 1))!r})"
    return EquationProblem(
        name="p_laplacian",
        title="p-Laplace equation",
        equation=Equation(
            (f"-d({flow}*u_x, x) - d({flow}*u_y, y) = f",),
            ("u",),
            _PLANE,
            definitions={"f": _source(p, epsilon)},
        ),
        domain={c: (0.25, 1.25) for c in _PLANE},
        boundary={c: fixed("u", exact, exact) for c in _PLANE},
        reference=FormulaReference({"u": exact}, _PLANE),
        citation="barrett1993finite",
        notes="Nonlinear in the highest derivatives: Newton's method needs shortened steps, and "
        "the smaller epsilon is, the nearer is the Jacobian to singular where slopes vanish.",
    )


def _source(p: float, epsilon: float) -> str:
    """`-(r q psi')' / r` with `q` the diffusivity of the slope `psi' = -(r/2)^(1/(p-1))`."""
    r = sympy.Symbol("r", positive=True)
    slope = -((r / 2) ** (1 / sympy.Float(p - 1)))
    flow = (sympy.Float(epsilon) ** 2 + slope**2) ** (sympy.Float(p - 2) / 2) * slope
    text = str(sympy.simplify(-sympy.diff(r * flow, r) / r)).replace("**", "^")
    return text.replace("r", "sqrt(x^2 + y^2)")


def bratu(*, lam: float = 1.0) -> EquationProblem:
    """Bratu's equation of heat that its own temperature makes, `-u_xx = lam exp(u)`, on a line.

    The lower of its two solutions, `u = -2 log(cosh((x - 1/2) s/2) / cosh(s/4))`,
    `s = sqrt(2 lam) cosh(s/4)`.

    **Arguments:**

    - `lam`: from 0 to 3.5138, beyond which nothing is steady; 1.

    **Raises:** `InputError` for others.
    """
    if not 0 < lam < _BRATU_LIMIT:
        raise InputError(
            f"lam = {lam:g} has no steady solution",
            where="bratu.lam",
            fix=f"take more than 0 and less than {_BRATU_LIMIT:.4f}",
        )
    from scipy.optimize import brentq

    def gap(s: float) -> float:
        return s - math.sqrt(2 * lam) * math.cosh(s / 4)

    # The two solutions meet where the slope of the gap vanishes.
    turn = 4 * math.asinh(4 / math.sqrt(2 * lam))
    s = float(brentq(gap, 0.0, turn, xtol=1e-15, rtol=1e-14))  # type: ignore[arg-type]
    exact = f"-2*log(cosh((x - 1/2)*{s / 2!r})/cosh({s / 4!r}))"
    return EquationProblem(
        name="bratu",
        title="Bratu's equation",
        equation=Equation((f"-u_xx = {float(lam)!r}*exp(u)",), ("u",), ("x",)),
        domain={"x": (0.0, 1.0)},
        boundary={"x": fixed("u", "0", "0")},
        reference=FormulaReference({"u": exact}, ("x",), accuracy=1e-14),
        citation="bratu1914sur",
        notes="Nonlinear with two solutions; Newton's method from zero finds the lower one, and "
        "converges ever more slowly towards lam = 3.5138, where they meet.",
    )


def _porous(name: str, title: str, permeability: str, notes: str) -> EquationProblem:
    bare = EquationProblem(
        name=name,
        title=title,
        equation=Equation(
            ("-d(a*u_x, x) - d(a*u_y, y) = 1",), ("u",), _PLANE, definitions={"a": permeability}
        ),
        domain=_SQUARE,
        boundary={c: fixed("u", "0", "0") for c in _PLANE},
        citation="li2021fourier",
        notes=f"{notes} In the corners the solution has but two derivatives.",
    )
    return dataclasses.replace(bare, reference=EllipticReference(bare))


def _waves(seed: int, sigma: float, power: float) -> str:
    """A Gaussian function by its waves, scaled to the standard deviation `sigma`."""
    rng = np.random.default_rng(seed)
    waves = [(i, j) for i in range(_WAVES + 1) for j in range(_WAVES + 1) if i or j]
    decay = [(math.pi**2 * (i * i + j * j) + 9) ** (-power / 2) for i, j in waves]
    heights = rng.standard_normal(len(waves)) * decay
    # The mean square of a product of cosines is 1/2 for each wavenumber that is not 0.
    halves = np.array([0.5 ** ((i > 0) + (j > 0)) for i, j in waves])
    heights *= sigma / math.sqrt(float(np.sum(halves * heights**2)))
    terms = []
    for height, pair in zip(heights, waves, strict=True):
        factors = [f"cos({k}*pi*{c})" for k, c in zip(pair, _PLANE, strict=True) if k]
        terms.append("*".join([f"{height:.8g}", *factors]))
    return " + ".join(terms)


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{name} = {value:g} is not positive", where=name)
