"""Measured series."""

import pathlib

import numpy as np

from continua.core.errors import InputError
from continua.equations import Equation
from continua.problems.conditions import Unknown
from continua.problems.csv_files import read_text
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
# Yearly means of the sunspot number, 1700 to 2008: the public-domain table of NOAA, in
# the scale that was in use until 2015.
_SUNSPOTS = """
5 11 16 23 36 58 29 20 10 8 3 0 0 2 11 27 47 63 60 39 28 26 22 11 21 40 78 122 103 73 47 35 11
5 16 34 70 81 111 101 73 40 20 16 5 11 22 40 60 80.9 83.4 47.7 47.8 30.7 12.2 9.6 10.2 32.4
47.6 54 62.9 85.9 61.2 45.1 36.4 20.9 11.4 37.8 69.8 106.1 100.8 81.6 66.5 34.8 30.6 7 19.8
92.5 154.4 125.9 84.8 68.1 38.5 22.8 10.2 24.1 82.9 132 130.9 118.1 89.9 66.6 60 46.9 41 21.3
16 6.4 4.1 6.8 14.5 34 45 43.1 47.5 42.2 28.1 10.1 8.1 2.5 0 1.4 5 12.2 13.9 35.4 45.8 41.1
30.1 23.9 15.6 6.6 4 1.8 8.5 16.6 36.3 49.6 64.2 67 70.9 47.8 27.5 8.5 13.2 56.9 121.5 138.3
103.2 85.7 64.6 36.7 24.2 10.7 15 40.1 61.5 98.5 124.7 96.3 66.6 64.5 54.1 39 20.6 6.7 4.3
22.7 54.8 93.8 95.8 77.2 59.1 44 47 30.5 16.3 7.3 37.6 74 139 111.2 101.6 66.2 44.7 17 11.3
12.4 3.4 6 32.3 54.3 59.7 63.7 63.5 52.2 25.4 13.1 6.8 6.3 7.1 35.6 73 85.1 78 64 41.8 26.2
26.7 12.1 9.5 2.7 5 24.4 42 63.5 53.8 62 48.5 43.9 18.6 5.7 3.6 1.4 9.6 47.4 57.1 103.9 80.6
63.6 37.6 26.1 14.2 5.8 16.7 44.3 63.9 69 77.8 64.9 35.7 21.2 11.1 5.7 8.7 36.1 79.7 114.4
109.6 88.8 67.8 47.5 30.6 16.3 9.6 33.2 92.6 151.6 136.3 134.7 83.9 69.4 31.5 13.9 4.4 38
141.7 190.2 184.8 159 112.3 53.9 37.6 27.9 10.2 15.1 47 93.8 105.9 105.5 104.5 66.6 68.9 38
34.5 15.5 12.6 27.5 92.5 155.4 154.6 140.4 115.9 66.6 45.9 17.9 13.4 29.4 100.2 157.6 142.6
145.7 94.3 54.6 29.9 17.5 8.6 21.5 64.3 93.3 119.6 111 104 63.7 40.4 29.8 15.2 7.5 2.9
"""
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
    units = {"year": "years", **dict.fromkeys(("hare", "lynx"), "thousands of pelts")}
    rates = {"a": "1/year", "e": "1/year"}
    rates |= dict.fromkeys(("b", "c"), "1/(year and thousand pelts)")
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
        units={**units, **rates} if known else units,
    )


def sunspots(*, split: float = 1975.0) -> SeriesProblem:
    """Yearly means of the sunspot number, 1700 to 2008: 28 cycles of about 11 years.

    The last three cycles are held out.

    **Arguments:**

    - `split`: the last year that methods may see, 1975.
    """
    values = np.array(_SUNSPOTS.split(), float)
    years = 1700.0 + np.arange(len(values))
    return SeriesProblem(
        name="sunspots",
        title="Yearly mean sunspot numbers",
        variables=("sunspots",),
        time="year",
        series=(Series("sunspots", years, values[:, None]),),
        split=split,
        citation="yule1927method",
        notes="Cycles of 9 to 14 years, of heights from 46 to 190; the number is never negative.",
        units={"year": "years"},
    )


def sunspots_monthly(path: str | pathlib.Path, *, split: float | None = None) -> SeriesProblem:
    """Monthly means of the sunspot number, from the file of the observatory in Brussels.

    Their licence (CC BY-NC) keeps them out of this package: get `SN_m_tot_V2.0.csv` from
    https://www.sidc.be/SILSO/datafiles. Its numbers are in the scale of 2015, about 1.4
    to 1.7 times those of `sunspots`.

    **Arguments:**

    - `path`: of the file: year, month, year with fraction, mean (-1 where there is none),
      and what else follows, with semicolons between and no header.
    - `split`: the last year, with its fraction, that methods may see.

    **Raises:** `InputError` with file and line for anything else.
    """
    path = pathlib.Path(path)
    times, values = [], []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        cells = line.split(";")
        try:
            year, month, time, value = (float(cell) for cell in cells[:4])
        except ValueError as error:
            raise InputError(
                "expected year; month; year with fraction; mean",
                where=where,
                fix="take SN_m_tot_V2.0.csv as it is",
            ) from error
        if not 1 <= month <= 12 or not year <= time < year + 1:
            raise InputError(f"{time:g} does not lie in month {month:g} of {year:g}", where=where)
        if value < 0 and value != -1:
            raise InputError(f"a mean of {value:g}", where=where, fix="gaps are -1")
        times.append(time)
        values.append(np.nan if value == -1 else value)
    if not times:
        raise InputError("the file is empty", where=path.name)
    try:
        series = Series("sunspots", np.array(times), np.array(values)[:, None])
        return SeriesProblem(
            name="sunspots_monthly",
            title="Monthly mean sunspot numbers",
            variables=("sunspots",),
            time="year",
            series=(series,),
            split=split,
            citation="clette2014revisiting",
            units={"year": "years"},
        )
    except InputError as error:
        raise error.at(path.name) from error
