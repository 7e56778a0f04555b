"""Measured series: the table that is bundled, and files that a user brings."""

import numpy as np
import pytest

from continua.core.errors import InputError
from continua.problems import load, ts_files
from continua.problems.library.measured import sunspots, sunspots_monthly
from continua.problems.ts_files import from_aeon, series_from_ts


def test_yearly_sunspots_are_the_published_ones():
    problem = sunspots()
    (series,) = problem.series
    t, y = series.t, series.y[:, 0]
    np.testing.assert_array_equal(t, np.arange(1700, 2009))
    # Sum and well-known extremes of the table: the height of cycle 19, the Dalton minimum.
    assert y.sum() == pytest.approx(15373.4, abs=0.05)
    assert (t[y.argmax()], y.max()) == (1957, 190.2)
    assert y[t == 1816] == 45.8
    np.testing.assert_array_equal(t[y == 0], [1711, 1712, 1810])
    np.testing.assert_array_equal(y[[0, 1, -2, -1]], [5, 11, 7.5, 2.9])
    power = np.abs(np.fft.rfft(y - y.mean())) ** 2
    assert 309 / power.argmax() == pytest.approx(11.0, abs=0.1)
    assert [len(s.t) for s in problem.held_out()] == [33]
    assert len(sunspots(split=1900.0).training()[0].t) == 201


MONTHS = """1749;01;1749.042;  96.7; -1.0;   -1;1
1749;02;1749.123; 104.3; -1.0;   -1;1
1749;03;1749.204;  -1.0; -1.0;   -1;1
1749;04;1749.288;  92.8; -1.0;   -1;1
"""


def test_monthly_sunspots_come_from_a_file(tmp_path):
    path = tmp_path / "SN_m_tot_V2.0.csv"
    path.write_text(MONTHS)
    problem = sunspots_monthly(path, split=1749.2)
    (series,) = problem.series
    np.testing.assert_array_equal(series.t, [1749.042, 1749.123, 1749.204, 1749.288])
    np.testing.assert_array_equal(series.y[:, 0], [96.7, 104.3, np.nan, 92.8])
    assert len(problem.held_out()[0].t) == 2


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the file is empty"),
        (MONTHS.replace(";", ","), "line 1: expected year; month"),
        (MONTHS.replace("104.3", "many"), "line 2: expected year; month"),
        (MONTHS.replace("104.3", "-7"), "line 2: a mean of -7"),
        (MONTHS.replace("1749.123", "1794.123"), "line 2: 1794.12 does not lie in month 2"),
        (MONTHS + MONTHS, "the time 1749.04 is repeated"),
    ],
)
def test_other_tables_are_named(tmp_path, text, part):
    path = tmp_path / "months.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=part) as caught:
        sunspots_monthly(path)
    assert "months.csv" in str(caught.value)


PLAIN = """# made up
%another comment
@problemName Two Waves
@timeStamps false
@missing true
@univariate false
@equalLength false
@classLabel true up down
@data
1,2,?,4:5,6,7,8:up
1.5,-2e1:NaN,0:down

"""


ONE_CHANNEL = "@classLabel true up down\n@data\n1,2,3:up\n4,5,6:down\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="waves.ts"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_series_of_several_dimensions_and_lengths(write):
    problem = series_from_ts(write(PLAIN), task="forecast", split=2.0)
    assert (problem.title, problem.time) == ("Two Waves", "step")
    assert problem.variables == ("value_0", "value_1")
    one, two = problem.series
    np.testing.assert_array_equal(one.t, [0, 1, 2, 3])
    np.testing.assert_array_equal(one.y, [[1, 5], [2, 6], [np.nan, 7], [4, 8]])
    np.testing.assert_array_equal(two.y, [[1.5, np.nan], [-20, 0]])
    assert [len(s.t) for s in problem.held_out()] == [1, 0]
    labelled = series_from_ts(write(PLAIN))
    assert (labelled.task, labelled.targets) == ("classify", ("up", "down"))
    assert labelled.series == problem.series


def test_series_with_dates_and_without_labels(write):
    text = (
        "@timestamps True\n@univariate false\n@classLabel false\n@data\n"
        "(2020-02-28 23:00:00,1.0),(2020-02-29 01:30:00,?):(2020-02-28 23:30:00,7)\n"
        "(3,1),(4.5,2):(4.5,3)\n"
    )
    problem = series_from_ts(write(text))
    assert problem.task == "forecast"
    assert not problem.targets
    one, two = problem.series
    np.testing.assert_array_equal(one.t, [0, 1800, 9000])
    np.testing.assert_array_equal(one.y, [[1, np.nan], [np.nan, 7], [np.nan, np.nan]])
    np.testing.assert_array_equal(two.t, [0, 1.5])
    np.testing.assert_array_equal(two.y, [[1, np.nan], [2, 3]])


def test_targets_are_labels(write):
    text = "@equalLength true\n@seriesLength 2\n@targetLabel true\n@data\n1,2:0.25\n3,4:-1\n"
    problem = series_from_ts(write(text))
    assert (problem.task, problem.targets) == ("regress", (0.25, -1.0))
    assert problem.variables == ("value",)


def test_a_second_file_is_tested(write):
    learn, test = write(PLAIN), write(PLAIN.replace(",6,", ",66,"), "later.ts")
    problem = series_from_ts(learn, test=test)
    assert problem.tested == (2, 3)
    assert problem.targets == ("up", "down", "up", "down")
    assert [s.y[1, 1] for s in (problem.training()[0], problem.held_out()[0])] == [6, 66]
    assert series_from_ts(learn, test=test, task="generate").tested == (2, 3)
    assert series_from_ts(learn, test=test, task="forecast").tested == ()
    with pytest.raises(InputError, match="later.ts: 1 dimensions, but waves has 2|later.ts: 1 dim"):
        series_from_ts(learn, test=write(ONE_CHANNEL, "later.ts"))
    write(PLAIN, "w_TRAIN.ts")
    write(PLAIN, "w_TEST.ts")
    assert load(learn.parent / "w_TRAIN.ts").tested == (2, 3)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("t,u\n0,1\n", "line 1: expected @key value"),
        ("@problemName x\n", "no @data"),
        ("@data\n\n", "no series after @data"),
        (PLAIN.replace("@classLabel true", "@classLabel maybe"), "line 8: got 'maybe up down'"),
        (PLAIN.replace(":up", ":upp"), "line 10: the class 'upp' .*did you mean 'up'"),
        (PLAIN.replace("-2e1", "many"), "line 11: 'many' is not a number"),
        (PLAIN.replace("-2e1", "inf"), "line 11: 'inf' is not finite"),
        (PLAIN.replace("5,6,7,8", "5,6,7"), "line 10: its dimensions differ in length"),
        (PLAIN.replace("NaN,0:", ""), "line 11: 1 dimensions, but the first series has 2"),
        (PLAIN.replace("Length false", "Length true\n@seriesLength 4"), "line 12: 2 values, but"),
        ("@timeStamps true\n@data\n1,2,3\n", "line 3: expected pairs"),
        ("@timeStamps true\n@data\n(1,2),(1,3)\n", "line 3: a time is repeated"),
        ("@timeStamps true\n@data\n(soon,2)\n", "line 3: 'soon' is no number or date"),
        ("@data\n?,?\n", "holds no number"),
    ],
)
def test_other_formats_are_named(write, text, part):
    with pytest.raises(InputError, match=part) as caught:
        series_from_ts(write(text))
    assert "waves.ts" in str(caught.value)


def test_aeon_brings_series(tmp_path, monkeypatch):
    """A package with files where aeon has them stands in for it."""
    data = tmp_path / "aeon" / "datasets" / "data"
    for name, files in {
        "Waves": {"Waves_TRAIN.ts": PLAIN, "Waves_TEST.ts": PLAIN.replace("1,2,", "9,9,")},
        "Airline": {"Airline.csv": "Date,Passengers\n1949-01,112\n1949-02,118\n1949-12,NaN\n"},
        "Lynx": {"Lynx.csv": ",0\n1821,269\n1822,321\n"},
        "Other": {"Other.csv": "a,b,c\n1,2,3\n"},
    }.items():
        (data / name).mkdir(parents=True)
        for file, text in files.items():
            (data / name / file).write_text(text)
    (tmp_path / "aeon" / "__init__.py").write_text("raise ImportError('not to be run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert from_aeon("Waves", part="train").series[0].y[0, 0] == 1
    both = from_aeon("Waves")
    assert (both.tested, both.series[2].y[0, 0]) == ((2, 3), 9)
    assert from_aeon("Waves", part="test").series[0].y[0, 0] == 9
    airline = from_aeon("Airline")
    assert airline.variables == ("Passengers",)
    np.testing.assert_allclose(airline.series[0].t, 1949 + np.array([0, 1, 11]) / 12)
    np.testing.assert_array_equal(airline.series[0].y[:, 0], [112, 118, np.nan])
    lynx = from_aeon("Lynx", split=1821.0)
    assert (lynx.variables, lynx.series[0].t[1]) == (("value",), 1822)
    with pytest.raises(InputError, match="no series 'Wave'; did you mean 'Waves'"):
        from_aeon("Wave")
    with pytest.raises(InputError, match="no series 'Other'; known: Airline, Lynx, Waves"):
        from_aeon("Other")
    with pytest.raises(InputError, match="got 'both', expected train, test or all"):
        from_aeon("Waves", part="both")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(ts_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="the package aeon is missing; pip install aeon"):
        from_aeon("GunPoint")
