"""Patterns of reaction and diffusion on periodic boxes."""

import math

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference


def gray_scott(*, feed: float = 0.04, kill: float = 0.06) -> EquationProblem:
    """Gray and Scott's reaction `U + 2V -> 3V` in the plane, from two spots.

        u_t = 2e-5 lap(u) - u v^2 + F (1 - u),   v_t = 1e-5 lap(v) + u v^2 - (F + k) v.

    **Arguments:**

    - `feed`, `kill`: `F` and `k`, 0.04 and 0.06.
    """
    parameters = {"Du": 2e-5, "Dv": 1e-5, "F": feed, "k": kill}
    spots = " + ".join(
        f"exp({sharp}*(cos(5*pi*(x - {x})) + cos(5*pi*(y - {y})) - 2))"
        for x, y, sharp in ((0.16, 0.18, 4), (0.26, 0.24, 3))
    )
    problem = EquationProblem(
        name="gray_scott",
        title="Gray-Scott spots",
        equation=Equation(
            (
                "u_t = Du*u_xx + Du*u_yy - u*v^2 + F*(1 - u)",
                "v_t = Dv*v_xx + Dv*v_yy + u*v^2 - F*v - k*v",
            ),
            ("u", "v"),
            ("t", "x", "y"),
            tuple(parameters),
        ),
        domain={"t": (0.0, 100.0), "x": (0.0, 0.4), "y": (0.0, 0.4)},
        parameters=parameters,
        initial={"u": f"1 - ({spots})/2", "v": f"({spots})/4"},
        boundary={"x": "periodic", "y": "periodic"},
        num_points={"t": 11, "x": 32, "y": 32},
        citation="pearson1993complex",
        notes="Spots that eat their surroundings; they split long after the end of this run.",
    )
    return with_reference(problem)


def _brusselator(axes: tuple[str, ...], end: float, initial, values, **options) -> EquationProblem:
    """The Brusselator on a periodic box of side 1."""
    spread = {u: " + ".join(f"alpha*{u}_{x}{x}" for x in axes) for u in "uv"}
    return EquationProblem(
        equation=Equation(
            (
                f"u_t = a + u^2*v - (b + 1)*u + {spread['u']}",
                f"v_t = b*u - u^2*v + {spread['v']}",
            ),
            ("u", "v"),
            ("t", *axes),
            tuple(values),
        ),
        domain={"t": (0.0, end), **dict.fromkeys(axes, (0.0, 1.0))},
        parameters=values,
        initial=initial,
        boundary=dict.fromkeys(axes, "periodic"),
        citation="hairer1996solving",
        **options,
    )


def brusselator(*, b: float = 3.0, alpha: float = 0.02) -> EquationProblem:
    """The Brusselator around a ring, `u_t = 1 + u^2 v - (b + 1) u + alpha u_xx`,
    `v_t = b u - u^2 v + alpha v_xx`.

    **Arguments:**

    - `b`: the second of the two feeds, 3.
    - `alpha`: diffusivity, 0.02.
    """
    problem = _brusselator(
        ("x",),
        10.0,
        {"u": "1 + sin(2*pi*x)", "v": "3"},
        {"a": 1.0, "b": b, "alpha": alpha},
        name="brusselator",
        title="Brusselator",
        notes="Oscillates with sudden jumps; the usual wall values are left out, ends are joined.",
    )
    return with_reference(problem)


def brusselator_2d(*, b: float = 3.0, alpha: float = 0.02) -> EquationProblem:
    """The Brusselator on a torus, as `brusselator` with `lap(u)` for `u_xx`.

    **Arguments:**

    - `b`: the second of the two feeds, 3.
    - `alpha`: diffusivity, 0.02.
    """
    problem = _brusselator(
        ("x", "y"),
        3.0,
        {"u": "1 + sin(2*pi*x)*cos(2*pi*y)", "v": "3 + cos(2*pi*(x + y))"},
        {"a": 1.0, "b": b, "alpha": alpha},
        name="brusselator_2d",
        title="Brusselator on a torus",
        num_points={"t": 13, "x": 32, "y": 32},
        notes="All places pull each other into one relaxation oscillation.",
    )
    return with_reference(problem)


def fitzhugh_nagumo_waves(*, epsilon: float = 0.08) -> EquationProblem:
    """Waves of excitation in the plane by FitzHugh and Nagumo's model.

        u_t = lap(u) + u - u^3/3 - v,   v_t = epsilon (u + 0.7 - 0.8 v).

    **Arguments:**

    - `epsilon`: how slow recovery is, 0.08.
    """
    parameters = {"epsilon": epsilon, "a": 0.7, "b": 0.8}
    spot = "exp(2*(cos(pi*x/10) + cos(pi*y/10) - 2))"
    wake = "exp(2*(cos(pi*(x - 4)/10) + cos(pi*(y - 2)/10) - 2))"
    problem = EquationProblem(
        name="fitzhugh_nagumo_waves",
        title="Waves of excitation by FitzHugh and Nagumo",
        equation=Equation(
            (
                "u_t = u_xx + u_yy + u - u^3/3 - v",
                "v_t = epsilon*u + epsilon*a - epsilon*b*v",
            ),
            ("u", "v"),
            ("t", "x", "y"),
            tuple(parameters),
        ),
        domain={"t": (0.0, 5.0), "x": (-10.0, 10.0), "y": (-10.0, 10.0)},
        parameters=parameters,
        initial={"u": f"-1.2 + 3*{spot}", "v": f"-0.625 + {wake}"},
        boundary={"x": "periodic", "y": "periodic"},
        num_points={"t": 6, "x": 32, "y": 32},
        citation="winfree1991varieties",
        notes="A front broken by its refractory wake; steep where the medium is excited.",
    )
    return with_reference(problem)


def ginzburg_landau(*, b: float = 2.0, c: float = -1.0) -> EquationProblem:
    """The complex Ginzburg-Landau equation for `A = u + i v`.

        A_t = A + (1 + i b) A_xx - (1 + i c) |A|^2 A.

    **Arguments:**

    - `b`, `c`: dispersion, linear and nonlinear, 2 and -1; with `1 + b c < 0` plane waves
      are unstable.
    """
    parameters = {"b": b, "c": c}
    problem = EquationProblem(
        name="ginzburg_landau",
        title="Complex Ginzburg-Landau",
        equation=Equation(
            (
                "u_t = u + u_xx - b*v_xx - (u^2 + v^2)*(u - c*v)",
                "v_t = v + v_xx + b*u_xx - (u^2 + v^2)*(v + c*u)",
            ),
            ("u", "v"),
            ("t", "x"),
            tuple(parameters),
        ),
        domain={"t": (0.0, 30.0), "x": (0.0, 20 * math.pi)},
        parameters=parameters,
        initial={"u": "cos(x/10)*0.5 + 0.2*sin(x/5)", "v": "sin(x/10)*0.5"},
        boundary={"x": "periodic"},
        citation="aranson2002world",
        notes="A real system of two; the linear part couples them through dispersion.",
    )
    return with_reference(problem)


def swift_hohenberg(*, r: float = 0.2, g: float = 1.0) -> EquationProblem:
    """Rolls of the Swift-Hohenberg equation, `u_t = r u - (1 + d_xx)^2 u + g u^2 - u^3`.

    **Arguments:**

    - `r`: distance from the onset, 0.2.
    - `g`: strength of the square, 1.
    """
    parameters = {"r": r, "g": g}
    problem = EquationProblem(
        name="swift_hohenberg",
        title="Swift-Hohenberg",
        equation=Equation(
            ("u_t = (r - 1)*u - 2*u_xx - u_xxxx + g*u^2 - u^3",),
            ("u",),
            ("t", "x"),
            tuple(parameters),
        ),
        domain={"t": (0.0, 40.0), "x": (0.0, 20 * math.pi)},
        parameters=parameters,
        initial={"u": "0.3*cos(x)*exp(2*cos(x/10) - 2) + 0.1*sin(x/5)"},
        boundary={"x": "periodic"},
        citation="swift1977hydrodynamic",
        notes="Fourth order in space; rolls spread from a spot over the whole ring.",
    )
    return with_reference(problem)


def cahn_hilliard(*, kappa: float = 0.05) -> EquationProblem:
    """Demixing by the Cahn-Hilliard equation, `u_t = (u^3 - u - kappa u_xx)_xx`.

    **Arguments:**

    - `kappa`: square of the width of interfaces, 0.05.
    """
    parameters = {"kappa": kappa}
    problem = EquationProblem(
        name="cahn_hilliard",
        title="Cahn-Hilliard",
        equation=Equation(
            ("u_t = d(u^3, x, 2) - u_xx - kappa*u_xxxx",), ("u",), ("t", "x"), tuple(parameters)
        ),
        domain={"t": (0.0, 1.0), "x": (0.0, 2 * math.pi)},
        parameters=parameters,
        initial={"u": "0.1*cos(x) + 0.2*cos(3*x + 1)"},
        boundary={"x": "periodic"},
        citation="cahn1958free",
        notes="Fourth order in space with a nonlinear diffusion of order two; mass is kept.",
    )
    return with_reference(problem)
