"""Equations on regions that are no box, and flows between walls, for finite elements."""

from continua.equations import Equation
from continua.problems.conditions import Condition, FluxCondition, Walls
from continua.problems.equation import EquationProblem
from continua.problems.reference import FormulaReference
from continua.problems.regions import AbstractRegion, Disk, LShape, Perforated
from continua.problems.solve_cavity import NAVIER_STOKES, CavityReference

_PLANE = ("x", "y")


def _value(unknown: str, text: str) -> Condition:
    return Condition(unknown, {0: 1.0}, text)


def _all_parts(region: AbstractRegion, *conditions: Condition) -> dict:
    return dict.fromkeys(region.labels, conditions)


def poisson_corner() -> EquationProblem:
    """Laplace's equation on an L-shape, `-lap(u) = 0`, with `u = r^(2/3) sin(2 theta/3)`.

    Slopes grow without bound at the inner corner, so that uniform meshes converge with
    order 4/3 whatever the degree.
    """
    region = LShape()
    # theta runs from 0 to 3 pi/2 around the corner; r is kept from being zero.
    r = "sqrt(x^2 + y^2 + 1e-300)"
    exact = f"{r}^(2/3)*sin(pi/2 + 4/3*atan(-(x + y)/(sqrt(2)*{r} + y - x)))"
    return EquationProblem(
        name="poisson_corner",
        title="Laplace equation on an L-shape",
        equation=Equation("-div(grad(u)) = 0", "u", _PLANE),
        domain={},
        geometry=region,
        boundary=_all_parts(region, _value("u", exact)),
        reference=FormulaReference({"u": exact}, _PLANE),
        citation="mitchell2013collection",
        notes="The slopes are infinite at the inner corner: the mesh must be refined there.",
    )


def poisson_hole() -> EquationProblem:
    """Poisson's equation around a round hole, `-lap(u) = 4 sin(x - y)`, with
    `u = log(x^2 + y^2) + 2 sin(x - y)` on the boundary."""
    region = Perforated()
    exact = "log(x^2 + y^2) + 2*sin(x - y)"
    return EquationProblem(
        name="poisson_hole",
        title="Poisson equation around a hole",
        equation=Equation("-div(grad(u)) = 4*sin(x - y)", "u", _PLANE),
        domain={},
        geometry=region,
        boundary=_all_parts(region, _value("u", exact)),
        reference=FormulaReference({"u": exact}, _PLANE),
        citation="brenner2008mathematical",
        notes="Straight edges miss the curved boundary by h^2: elements must bend with it.",
    )


def heat_disk(*, kappa: float = 0.1) -> EquationProblem:
    """Heating of a disk through its rim, `u_t = kappa lap(u) + f`, `u + du/dn = g` there.

    **Arguments:**

    - `kappa`: diffusivity, 0.1.
    """
    coordinates, parameters = ("t", "x", "y"), {"kappa": kappa}
    # Harmonic polynomials: a normal derivative on the rim is the value times the degree.
    exact = "exp(-t)*(x^2 - y^2 + x*y) + y*(1 + cos(t))"
    rim = Condition("u", {0: 1.0, 1: 1.0}, "3*exp(-t)*(x^2 - y^2 + x*y) + 2*y*(1 + cos(t))")
    return EquationProblem(
        name="heat_disk",
        title="Heat equation on a disk",
        equation=Equation(
            "u_t = div(kappa*grad(u)) - exp(-t)*(x^2 - y^2 + x*y) - y*sin(t)",
            "u",
            coordinates,
            tuple(parameters),
        ),
        domain={"t": (0.0, 2.0)},
        parameters=parameters,
        initial={"u": "x^2 - y^2 + x*y + 2*y"},
        geometry=Disk(),
        boundary={"rim": rim},
        num_points={"t": 21},
        reference=FormulaReference({"u": exact}, coordinates, parameters),
        citation="brenner2008mathematical",
        notes="A curved boundary with a condition that mixes value and slope, and moves.",
    )


def elasticity(*, mu: float = 1.0, lam: float = 1.5) -> EquationProblem:
    """A plate with a round hole under tension, `div(sigma(u)) = 0`, in plane strain,

        sigma = lam div(u) I + mu (grad u + grad u^T).

    Kirsch's solution for a tension 1 along `x` in an infinite plate: displacements are given
    on the outer sides, and nothing pulls at the hole.

    **Arguments:**

    - `mu`: shear modulus, 1.
    - `lam`: Lame's first parameter, 1.5.
    """
    region = Perforated()
    parameters = {"mu": mu, "lam": lam}
    equation = Equation(
        (
            "-div(vec((lam + 2*mu)*u_x + lam*v_y, mu*(u_y + v_x))) = 0",
            "-div(vec(mu*(u_y + v_x), (lam + 2*mu)*v_y + lam*u_x)) = 0",
        ),
        ("u", "v"),
        _PLANE,
        tuple(parameters),
    )
    a, s = region.radius, "(x^2 + y^2)"
    kappa = "(3 - 2*lam/(lam + mu))"
    cosine, sine = "(x^3 - 3*x*y^2)", "(3*x^2*y - y^3)"  # r^3 times those of 3 theta
    rings = f"2*{a}^2*((1 + {kappa})*x/{s} + {cosine}/{s}^2) - 2*{a}^4*{cosine}/{s}^3"
    u = f"(({kappa} + 1)*x + {rings})/(8*mu)"
    rings = f"2*{a}^2*((1 - {kappa})*y/{s} + {sine}/{s}^2) - 2*{a}^4*{sine}/{s}^3"
    v = f"(({kappa} - 3)*y + {rings})/(8*mu)"
    sides = (_value("u", u), _value("v", v))
    free = (FluxCondition("u"), FluxCondition("v"))
    return EquationProblem(
        name="elasticity",
        title="Plate with a hole under tension",
        equation=equation,
        domain={},
        parameters=parameters,
        geometry=region,
        boundary={label: free if label == "hole" else sides for label in region.labels},
        reference=FormulaReference({"u": u, "v": v}, _PLANE, parameters),
        citation="kirsch1898theorie",
        notes="Stress triples at the edge of the hole, whose shape must be met.",
    )


def _walls(texts: dict[str, str]) -> dict[str, Walls]:
    """The same formulas as values of unknowns on all four sides."""
    side = tuple(_value(name, text) for name, text in texts.items())
    return dict.fromkeys(_PLANE, Walls(side, side))


def stokes() -> EquationProblem:
    """Creeping flow in a box, `-lap(u) + grad(p) = f`, `div(u) = 0`, at rest on the walls."""
    u, v, p = "sin(pi*x)^2*sin(2*pi*y)", "-sin(2*pi*x)*sin(pi*y)^2", "cos(pi*x)*sin(pi*y)"
    forces = {
        "f": "4*pi^2*sin(pi*x)^2*sin(2*pi*y) - 2*pi^2*cos(2*pi*x)*sin(2*pi*y)"
        " - pi*sin(pi*x)*sin(pi*y)",
        "g": "2*pi^2*sin(2*pi*x)*cos(2*pi*y) - 4*pi^2*sin(2*pi*x)*sin(pi*y)^2"
        " + pi*cos(pi*x)*cos(pi*y)",
    }
    return EquationProblem(
        name="stokes",
        title="Stokes flow in a box",
        equation=Equation(
            ("-lap(u) + p_x = f", "-lap(v) + p_y = g", "div(vec(u, v)) = 0"),
            ("u", "v", "p"),
            _PLANE,
            definitions=forces,
        ),
        domain={"x": (0.0, 1.0), "y": (0.0, 1.0)},
        boundary=_walls({"u": "0", "v": "0"}),
        means={"p": 0.0},
        reference=FormulaReference({"u": u, "v": v, "p": p}, _PLANE),
        citation="elman2014finite",
        notes="A saddle point: the pressure has no equation of its own, and no boundary values.",
    )


def kovasznay(*, re: float = 40.0) -> EquationProblem:
    """Steady flow behind a grid, `u . grad(u) - lap(u)/Re + grad(p) = 0`, `div(u) = 0`.

    **Arguments:**

    - `re`: Reynolds number, 40.
    """
    parameters = {"Re": re}
    rate = "(Re/2 - sqrt(Re^2/4 + 4*pi^2))"
    u, v = f"1 - exp({rate}*x)*cos(2*pi*y)", f"{rate}/(2*pi)*exp({rate}*x)*sin(2*pi*y)"
    # Of mean zero on the domain.
    mean = f"(exp(2*{rate}) - exp(-{rate}))/(3*{rate})"
    p = f"({mean} - exp(2*{rate}*x))/2"
    return EquationProblem(
        name="kovasznay",
        title="Kovasznay flow",
        equation=NAVIER_STOKES,
        domain={"x": (-0.5, 1.0), "y": (-0.5, 1.5)},
        parameters=parameters,
        boundary=_walls({"u": u, "v": v}),
        means={"p": 0.0},
        reference=FormulaReference({"u": u, "v": v, "p": p}, _PLANE, parameters),
        citation="kovasznay1948laminar",
        notes="Transport and pressure at once: few exact solutions of the full equations are.",
    )


def lid_driven_cavity(*, re: float = 100.0, smooth: bool = True) -> EquationProblem:
    """Flow in a box whose lid moves, `u . grad(u) - lap(u)/Re + grad(p) = 0`, `div(u) = 0`.

    **Arguments:**

    - `re`: Reynolds number, 100.
    - `smooth`: whether the lid moves by `16 x^2 (1 - x)^2`; else by 1 throughout, for which
      published extremes are known but no reference is.
    """
    still = (_value("u", "0"), _value("v", "0"))
    lid = (_value("u", "16*x^2*(1 - x)^2" if smooth else "1"), _value("v", "0"))
    corners = "" if smooth else "The velocity jumps there, and the pressure has no bound. "
    return EquationProblem(
        name="lid_driven_cavity",
        title="Lid-driven cavity",
        equation=NAVIER_STOKES,
        domain={"x": (0.0, 1.0), "y": (0.0, 1.0)},
        parameters={"Re": re},
        boundary={"x": Walls(still, still), "y": Walls(still, lid)},
        means={"p": 0.0},
        reference=CavityReference((0.0, 0.0, 16.0, -32.0, 16.0), re) if smooth else None,
        citation="shen1991hopf" if smooth else "botella1998benchmark",
        notes=f"Eddies in the corners, where derivatives have no bound. {corners}".strip(),
    )


def cylinder_flow(*, nu: float = 0.001) -> EquationProblem:
    """Steady flow around a cylinder in a channel, `u . grad(u) - nu lap(u) + grad(p) = 0`.

    The benchmark 2D-1 of Schaefer and Turek; at the viscosity of 0.001, where the Reynolds
    number is 20, drag and lift coefficients are 5.57953523384 and 0.010618948146: 500 times
    the outflows of `u` and `v` through the cylinder. It has no reference in closed form.

    **Arguments:**

    - `nu`: kinematic viscosity, 0.001.
    """
    region = Perforated((0.0, 0.0), (2.2, 0.41), (0.2, 0.2), 0.05)
    still = (_value("u", "0"), _value("v", "0"))
    inlet = (_value("u", "1.2*y*(0.41 - y)/0.41^2"), _value("v", "0"))
    free = (FluxCondition("u"), FluxCondition("v"))
    return EquationProblem(
        name="cylinder_flow",
        title="Flow around a cylinder",
        equation=Equation(
            (
                "dot(vec(u, v), grad(u)) - nu*lap(u) + p_x = 0",
                "dot(vec(u, v), grad(v)) - nu*lap(v) + p_y = 0",
                "div(vec(u, v)) = 0",
            ),
            ("u", "v", "p"),
            _PLANE,
            ("nu",),
        ),
        domain={},
        parameters={"nu": nu},
        geometry=region,
        boundary={"left": inlet, "right": free, "bottom": still, "top": still, "hole": still},
        num_points={"x": 111, "y": 42},
        citation="schaefer1996benchmark",
        notes="Forces on the cylinder hang on the thin layer around it and on its shape.",
    )
