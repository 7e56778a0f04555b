"""Small problems for the tests of classical methods."""

from continua.equations import Equation
from continua.problems import Condition, EquationProblem, Walls


def problem(expressions, unknowns, coordinates, domain, initial, boundary, **options):
    """An equation problem from texts."""
    expressions = (expressions,) if isinstance(expressions, str) else expressions
    parameters = options.pop("parameters", {})
    names = (*parameters, *options.get("unknown_parameters", {}))
    return EquationProblem(
        name="test",
        title="Test",
        equation=Equation(expressions, unknowns, coordinates, names),
        domain=domain,
        parameters=parameters,
        initial=initial,
        boundary=boundary,
        **options,
    )


def on_wall(unknown, coefficients, value="0"):
    """One condition."""
    return Condition(unknown, coefficients, value)


def walls(lower, upper):
    """One condition on each side."""
    return Walls((lower,), (upper,))


def line(expressions, horizon, ends, initial, boundary, unknowns=("u",), **options):
    """A problem in `t` and `x` with small grids."""
    return problem(
        expressions,
        unknowns,
        ("t", "x"),
        {"t": (0.0, horizon), "x": ends},
        initial,
        {"x": boundary},
        num_points={"t": 6, "x": 21},
        **options,
    )


def ordinary(expressions, horizon, initial, unknowns=("u",), **options):
    """An ordinary equation in `t`."""
    points = {"t": options.pop("times", 21)}
    return problem(
        expressions,
        unknowns,
        ("t",),
        {"t": (0.0, horizon)},
        initial,
        {},
        num_points=points,
        **options,
    )
