"""Waves around a ring that keep their energy: the wave equation, sine-Gordon, Schrödinger."""

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.reference import FormulaReference


def wave(*, c: float = 1.0) -> EquationProblem:
    """The wave equation, `u_tt = c^2 u_xx`, from a bump at rest that falls apart in two.

        u = (f(x - c t) + f(x + c t)) / 2.

    **Arguments:**

    - `c`: speed, 1.
    """
    coordinates, parameters = ("t", "x"), {"c": c}
    left, right = (f"exp(5*cos(2*pi*(x {s} c*t)) - 5)" for s in "+-")
    return EquationProblem(
        name="wave",
        title="Wave equation",
        equation=Equation(("u_tt = c^2*u_xx",), ("u",), coordinates, tuple(parameters)),
        domain={"t": (0.0, 1.0), "x": (0.0, 1.0)},
        parameters=parameters,
        initial={"u": "exp(5*cos(2*pi*x) - 5)", "u_t": "0"},
        boundary={"x": "periodic"},
        reference=FormulaReference({"u": f"({left} + {right})/2"}, coordinates, parameters),
        citation="leveque2007finite",
        notes="Of second order in time; nothing decays, so that errors of phase add up.",
    )


def sine_gordon(*, omega: float = 0.6) -> EquationProblem:
    """The breather of the sine-Gordon equation, `u_tt = u_xx - sin(u)`.

        u = 4 atan(k cos(omega t) / (omega cosh(k x))),   k = sqrt(1 - omega^2).

    **Arguments:**

    - `omega`: frequency, between 0 and 1, 0.6.
    """
    coordinates, parameters = ("t", "x"), {"omega": omega}
    shape = "sqrt(1 - omega^2)/(omega*cosh(sqrt(1 - omega^2)*x))"
    return EquationProblem(
        name="sine_gordon",
        title="Breather of the sine-Gordon equation",
        equation=Equation(("u_tt = u_xx - sin(u)",), ("u",), coordinates, ("omega",)),
        domain={"t": (0.0, 20.0), "x": (-40.0, 40.0)},
        parameters=parameters,
        initial={"u": f"4*atan({shape})", "u_t": "0"},
        boundary={"x": "periodic"},
        reference=FormulaReference(
            {"u": f"4*atan(cos(omega*t)*{shape})"},
            coordinates,
            parameters,
            1e-12,
            "closed form on the line; tails at the ends of the period are below 1e-13",
        ),
        citation="ablowitz1973sinegordon",
        notes="Two bound kinks that swing through each other; energy stays as it is.",
    )


def schroedinger(*, k: float = 2.0) -> EquationProblem:
    """A Gaussian packet of free waves, `i psi_t = -psi_xx / 2` with `psi = u + i v`.

        psi = (1 + i t)^(-1/2) exp(-(y - k t)^2 / (2 + 2 i t) + i k y - i k^2 t / 2),  y = x + 4.

    **Arguments:**

    - `k`: wavenumber and speed, 2.
    """
    coordinates, parameters = ("t", "x"), {"k": k}
    size = "exp(-(x + 4 - k*t)^2/(2*(1 + t^2)))/(1 + t^2)^0.25"
    phase = "((x + 4 - k*t)^2*t/(2*(1 + t^2)) + k*(x + 4) - k^2*t/2 - atan(t)/2)"
    start = "exp(-(x + 4)^2/2)"
    return EquationProblem(
        name="schroedinger",
        title="Free Schrödinger equation",
        equation=Equation(
            ("u_t = -v_xx/2", "v_t = u_xx/2"), ("u", "v"), coordinates, tuple(parameters)
        ),
        domain={"t": (0.0, 2.0), "x": (-20.0, 20.0)},
        parameters=parameters,
        initial={"u": f"{start}*cos(k*(x + 4))", "v": f"{start}*sin(k*(x + 4))"},
        boundary={"x": "periodic"},
        reference=FormulaReference(
            {"u": f"{size}*cos({phase})", "v": f"{size}*sin({phase})"},
            coordinates,
            parameters,
            1e-13,
            "closed form on the line; tails at the ends of the period are below 1e-16",
        ),
        citation="griffiths2018quantum",
        notes="The packet moves and spreads; u^2 + v^2 keeps its integral, the square root of pi.",
    )


def nonlinear_schroedinger(*, a: float = 1.0, speed: float = 1.0) -> EquationProblem:
    """The bright soliton of the cubic equation, `i psi_t = -psi_xx / 2 - |psi|^2 psi`.

        psi = a sech(a (y - c t)) exp(i c y + i (a^2 - c^2) t / 2),  psi = u + i v,  y = x + 2.

    **Arguments:**

    - `a`: height, 1.
    - `speed`: `c`, 1.
    """
    coordinates, parameters = ("t", "x"), {"a": a, "c": speed}
    size = "a*sech(a*(x + 2 - c*t))"
    phase = "(c*(x + 2) + (a^2 - c^2)*t/2)"
    start = "a*sech(a*(x + 2))"
    return EquationProblem(
        name="nonlinear_schroedinger",
        title="Soliton of the cubic Schrödinger equation",
        equation=Equation(
            ("u_t = -v_xx/2 - (u^2 + v^2)*v", "v_t = u_xx/2 + (u^2 + v^2)*u"),
            ("u", "v"),
            coordinates,
            tuple(parameters),
        ),
        domain={"t": (0.0, 4.0), "x": (-32.0, 32.0)},
        parameters=parameters,
        initial={"u": f"{start}*cos(c*(x + 2))", "v": f"{start}*sin(c*(x + 2))"},
        boundary={"x": "periodic"},
        reference=FormulaReference(
            {"u": f"{size}*cos({phase})", "v": f"{size}*sin({phase})"},
            coordinates,
            parameters,
            1e-12,
            "closed form on the line; tails at the ends of the period are below 1e-12",
        ),
        citation="zakharov1972exact",
        notes="Dispersion and focusing in balance; mass, momentum and energy stay as they are.",
    )
