"""Incompressible flow in a periodic plane, by vorticity and stream function."""

import math

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference
from continua.problems.reference import FormulaReference

_SIDE = (0.0, 2 * math.pi)


def _flow(source: str, parameters: dict[str, float], initial: str, end: float, **options):
    """Navier-Stokes on the torus: transport, viscosity and a source of vorticity."""
    equation = Equation(
        (
            f"w_t + psi_y*w_x - psi_x*w_y = nu*w_xx + nu*w_yy{source}",
            "psi_xx + psi_yy = -w",
        ),
        ("w", "psi"),
        ("t", "x", "y"),
        tuple(parameters),
    )
    return EquationProblem(
        equation=equation,
        domain={"t": (0.0, end), "x": _SIDE, "y": _SIDE},
        parameters=parameters,
        initial={"w": initial},
        boundary={"x": "periodic", "y": "periodic"},
        **options,
    )


def taylor_green(*, nu: float = 0.05) -> EquationProblem:
    """The decaying vortices of Taylor and Green, a solution of Navier-Stokes.

        psi = cos(x) cos(y) exp(-2 nu t),   w = 2 psi.

    **Arguments:**

    - `nu`: viscosity, 0.05.
    """
    parameters = {"nu": nu}
    psi = "exp(-2*nu*t)*cos(x)*cos(y)"
    return _flow(
        "",
        parameters,
        "2*cos(x)*cos(y)",
        2.0,
        name="taylor_green",
        title="Taylor-Green vortices",
        num_points={"t": 11, "x": 32, "y": 32},
        reference=FormulaReference({"w": f"2*{psi}", "psi": psi}, ("t", "x", "y"), parameters),
        citation="taylor1937mechanism",
        notes="Transport and pressure balance each other: what is lost is lost to viscosity.",
    )


def decaying_turbulence(*, nu: float = 0.02) -> EquationProblem:
    """Navier-Stokes in two dimensions from vortices of many sizes, left to themselves.

    **Arguments:**

    - `nu`: viscosity, 0.02.
    """
    waves = (
        (1, 2, 0.3, 1.0),
        (3, -1, 1.1, 0.9),
        (2, 3, 2.0, 0.8),
        (4, 1, 0.7, 0.6),
        (1, -4, 4.0, 0.6),
    )
    problem = _flow(
        "",
        {"nu": nu},
        " + ".join(f"{a}*cos({k}*x + ({m})*y + {phase})" for k, m, phase, a in waves),
        2.0,
        name="decaying_turbulence",
        title="Decaying turbulence in two dimensions",
        num_points={"t": 9, "x": 32, "y": 32},
        citation="mcwilliams1984emergence",
        notes="Energy moves to large vortices, enstrophy to thin sheets, where it is lost.",
    )
    return with_reference(problem)


def kolmogorov_flow(*, nu: float = 0.02, drag: float = 0.1) -> EquationProblem:
    """Kolmogorov's flow: Navier-Stokes in two dimensions, pushed by `sin(4 y)` along `x`.

    **Arguments:**

    - `nu`: viscosity, 0.02.
    - `drag`: friction that acts on all scales, 0.1.
    """
    problem = _flow(
        " - drag*w - 4*cos(4*y)",
        {"nu": nu, "drag": drag},
        "cos(x + y + 1) + cos(2*x - y)/2 - cos(4*y)",
        2.0,
        name="kolmogorov_flow",
        title="Kolmogorov flow",
        num_points={"t": 9, "x": 32, "y": 32},
        citation="meshalkin1961investigation",
        notes="Four pairs of jets that break into moving vortices; chaotic in the long run.",
    )
    return with_reference(problem)


def abc_flow(*, nu: float = 0.05) -> EquationProblem:
    """The flow of Arnold, Beltrami and Childress, which decays as it is,

        u = (sin z + cos y, sin x + cos z, sin y + cos x) exp(-nu t),   curl u = u,

    by velocity and pressure in three dimensions.

    **Arguments:**

    - `nu`: viscosity, 0.05.
    """
    velocity, coordinates, parameters = ("u", "v", "w"), ("t", "x", "y", "z"), {"nu": nu}
    shapes = ("sin(z) + cos(y)", "sin(x) + cos(z)", "sin(y) + cos(x)")
    transport = [f"dot(vec(u, v, w), grad({name}))" for name in velocity]
    squares = " + ".join(f"({shape})^2" for shape in shapes)
    exact = {u: f"({shape})*exp(-nu*t)" for u, shape in zip(velocity, shapes, strict=True)}
    exact["p"] = f"(3 - ({squares}))/2*exp(-2*nu*t)"
    return EquationProblem(
        name="abc_flow",
        title="ABC flow",
        equation=Equation(
            (
                f"d(vec(u, v, w), t) + vec({', '.join(transport)})"
                " = nu*lap(vec(u, v, w)) - grad(p)",
                "div(vec(u, v, w)) = 0",
            ),
            (*velocity, "p"),
            coordinates,
            tuple(parameters),
        ),
        domain={"t": (0.0, 1.0), "x": _SIDE, "y": _SIDE, "z": _SIDE},
        parameters=parameters,
        initial=dict(zip(velocity, shapes, strict=True)),
        boundary=dict.fromkeys("xyz", "periodic"),
        means={"p": 0.0},
        num_points={"t": 6, "x": 16, "y": 16, "z": 16},
        reference=FormulaReference(exact, coordinates, parameters),
        citation="dombre1986chaotic",
        notes="Streamlines are chaotic though the flow is simple; pressure balances transport.",
    )
