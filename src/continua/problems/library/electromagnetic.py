"""Maxwell's equations along one axis: a ring or a cavity, a step in the medium."""

from continua.core.errors import InputError
from continua.equations import Equation
from continua.problems.conditions import Condition, Walls
from continua.problems.equation import EquationProblem
from continua.problems.reference import FormulaReference

_CONDUCTORS = Walls((Condition("E", {0: 1.0}),), (Condition("E", {0: 1.0}),))


def maxwell(
    *, eps: float = 1.0, mu: float = 1.0, conductors: bool = False, end: float = 2.0
) -> EquationProblem:
    """Pulses of light around a ring, or one between two perfect conductors.

        eps E_t + H_x = 0,   mu H_t + E_x = 0.

    **Arguments:**

    - `eps`, `mu`: permittivity and permeability, 1 and 1; light travels at
      `1 / sqrt(eps mu)`, with impedance `sqrt(mu / eps)`.
    - `conductors`: whether `E = 0` at 0 and 1, between which the solution is the same as on
      the ring from -1 to 1, for it is odd there; no by default.
    - `end`: the last time, 2, after which light of speed 1 is where it was.
    """
    coordinates, parameters = ("t", "x"), {"eps": eps, "mu": mu}
    start = "sin(pi*{0})*exp(8*sin(pi*{0})^2 - 8)"
    ahead, behind = (start.format(f"(x {s} t/sqrt(eps*mu))") for s in "-+")
    return EquationProblem(
        name="maxwell",
        title="Maxwell's equations",
        equation=Equation(
            ("E_t + H_x/eps = 0", "H_t + E_x/mu = 0"), ("E", "H"), coordinates, tuple(parameters)
        ),
        domain={"t": (0.0, end), "x": (0.0 if conductors else -1.0, 1.0)},
        parameters=parameters,
        initial={"E": start.format("x"), "H": "0"},
        boundary={"x": _CONDUCTORS if conductors else "periodic"},
        reference=FormulaReference(
            {"E": f"({ahead} + {behind})/2", "H": f"({ahead} - ({behind}))/(2*sqrt(mu/eps))"},
            coordinates,
            parameters,
            source="d'Alembert's formula, evaluated in double precision",
        ),
        citation="taflove2005computational",
        notes="Each pulse parts into two, and where they cross H or E cancels; conductors "
        "reflect with the opposite sign. The energy eps E^2 + mu H^2 stays.",
    )


def dielectric(*, eps: float = 4.0) -> EquationProblem:
    """A pulse of light that meets a denser medium, which fills `x > 0`.

        eps(x) E_t + H_x = 0,   H_t + E_x = 0,   eps(x) = 1 left of 0 and `eps` right of it.

    With `n = sqrt(eps)` a part `r = (1 - n) / (1 + n)` of the electric field comes back and
    `1 + r` goes on, slower by `n`.

    **Arguments:**

    - `eps`: relative permittivity, 4; above 0.

    **Raises:** `InputError` where it is not positive.
    """
    if not eps > 0:
        raise InputError(f"got {eps:g}", where="dielectric.eps", fix="give a number above 0")
    coordinates, parameters = ("t", "x"), {"eps": eps}
    right = "(1 + sign(x))/2"
    n, r = "sqrt(eps)", "(1 - sqrt(eps))/(1 + sqrt(eps))"
    pulse = "exp(-50*({} + 1)^2)"
    coming, back, gone = (pulse.format(z) for z in ("x - t", "-x - t", f"{n}*x - t"))
    exact = {
        "E": f"(1 - {right})*({coming} + {r}*{back}) + {right}*(1 + {r})*{gone}",
        "H": f"(1 - {right})*({coming} - {r}*{back}) + {right}*{n}*(1 + {r})*{gone}",
    }
    return EquationProblem(
        name="dielectric",
        title="Light that meets a dielectric",
        equation=Equation(
            (f"E_t + H_x/(1 + (eps - 1)*{right}) = 0", "H_t + E_x = 0"),
            ("E", "H"),
            coordinates,
            tuple(parameters),
        ),
        domain={"t": (0.0, 1.5), "x": (-2.0, 2.0)},
        parameters=parameters,
        initial={u: text.replace(" - t", "") for u, text in exact.items()},
        boundary={"x": "periodic"},
        num_points={"t": 31, "x": 200},
        reference=FormulaReference(
            exact,
            coordinates,
            parameters,
            1e-14,
            "reflected and transmitted pulses; what has come around the ring is below 1e-14",
        ),
        citation="taflove2005computational",
        notes="Both fields are continuous and their slopes jump where the medium does: a scheme "
        "that differentiates across the step is of low order there.",
    )
