"""Measured series."""

import numpy as np

from continua.equations import Equation
from continua.problems.conditions import Unknown
from continua.problems.series import Series, SeriesProblem

# Thousands of pelts that the Hudson Bay Company took in: year, hare, lynx.
_PELTS = (
    (1900, 30.0, 4.0),
    (1901, 47.2, 6.1),
    (1902, 70.2, 9.8),
    (1903, 77.4, 35.2),
    (1904, 36.3, 59.4),
    (1905, 20.6, 41.7),
    (1906, 18.1, 19.0),
    (1907, 21.4, 13.0),
    (1908, 22.0, 8.3),
    (1909, 25.4, 9.1),
    (1910, 27.1, 7.4),
    (1911, 40.3, 8.0),
    (1912, 57.0, 12.3),
    (1913, 76.6, 19.5),
    (1914, 52.3, 45.7),
    (1915, 19.5, 51.1),
    (1916, 11.2, 29.7),
    (1917, 7.6, 15.8),
    (1918, 14.6, 9.7),
    (1919, 16.2, 10.1),
    (1920, 24.7, 8.6),
)
_STARTS = {"a": 0.5, "b": 0.02, "c": 0.02, "e": 0.7}


def pelt_counts(*, known: bool = True) -> SeriesProblem:
    """Hare and lynx by the pelt counts of the Hudson Bay Company, 1900 to 1920.

        hare_t = a hare - b hare lynx,   lynx_t = c hare lynx - e lynx.

    The years after 1915 are held out.

    **Arguments:**

    - `known`: whether the formula is given, its four rates unknown.
    """
    table = np.array(_PELTS)
    equation = Equation(
        ("hare_t = a*hare - b*hare*lynx", "lynx_t = c*hare*lynx - e*lynx"),
        ("hare", "lynx"),
        ("t",),
        tuple(_STARTS),
    )
    unknown = {name: Unknown(start, 0.0) for name, start in _STARTS.items()}
    return SeriesProblem(
        name="pelt_counts",
        title="Hare and lynx in the pelt counts of the Hudson Bay Company",
        variables=("hare", "lynx"),
        time="year",
        series=(Series("pelts", table[:, 0], table[:, 1:]),),
        split=1915.0,
        equation=equation if known else None,
        unknown_parameters=unknown if known else {},
        citation="hewitt1921conservation",
        notes="Two cycles in 21 counts, in thousands of pelts: catches, not animals.",
    )
