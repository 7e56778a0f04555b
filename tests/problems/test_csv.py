"""CSV files: what is ordinary in them, and every mistake with its place."""

import contextlib
import pathlib
import tempfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from continua.core.errors import InputError
from continua.problems import SeriesProblem, pelt_counts, series_from_csv
from continua.problems.csv_files import measurements_of, read_table


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_gaps_uneven_steps_and_order_are_ordinary(write):
    path = write("\ufefftime, a ,b\n3,1.5,\n\n0,1,NA\n0.5,nan,2e-1\n")
    problem = series_from_csv(path, split=1.0)
    (series,) = problem.series
    assert (problem.time, problem.variables, problem.name) == ("time", ("a", "b"), "data")
    np.testing.assert_array_equal(series.t, [0, 0.5, 3])
    np.testing.assert_array_equal(series.y, [[1, np.nan], [np.nan, 0.2], [1.5, np.nan]])
    assert problem.split == 1.0


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_are_found(write, delimiter):
    text = "Year,u\n1,1\n2,4\n3,9\n".replace(",", delimiter)
    problem = series_from_csv(write(text))
    assert problem.time == "Year"
    np.testing.assert_array_equal(problem.series[0].y[:, 0], [1, 4, 9])


def test_several_series_have_an_id(write):
    text = "id,t,u\nb,0,1\na,0,2\nb,1,3\na,2,4\n"
    problem = series_from_csv(write(text))
    assert [s.name for s in problem.series] == ["b", "a"]
    np.testing.assert_array_equal(problem.series[1].t, [0, 2])
    named = text.replace("id,", "mouse,")
    assert series_from_csv(write(named), id="mouse").series == problem.series


def test_the_packaged_counts_are_those_of_the_example():
    path = pathlib.Path(__file__).parents[2] / "examples" / "lynx_hare.csv"
    (from_file,), (packaged,) = series_from_csv(path).series, pelt_counts().series
    np.testing.assert_array_equal(from_file.t, packaged.t)
    np.testing.assert_array_equal(from_file.y, packaged.y)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b\n1,2\n2,3\n3,4\n", ["data.csv", "no time column among a, b"]),
        ("t,u\n0,1\n1,high\n2,3\n", ["data.csv, line 3, column 'u'", "'high' is not a number"]),
        ("t,u\n0,1\nlate,2\n2,3\n", ["line 3, column 't'", "'late' is not a number"]),
        ("t,u\n0,1\n,2\n2,3\n", ["line 3, column 't'", "empty", "remove the row"]),
        ("t,u\n0,1\n1,2\n\n1,3\n", ["line 5, column 't'", "the time 1 is repeated"]),
        ("t,u,id\n0,1,a\n0,2,a\n1,1,b\n2,1,b\n", ["line 3", "repeated in series 'a'"]),
        ("t,u,v\n0,1,\n1,2,NA\n2,3,\n", ["data.csv", "column 'v' holds no number"]),
        ("t,u,v\n0,1,2\n1,2,\n2,3,2.0\n", ["data.csv", "'v' is 2 in every row", "--statics"]),
        ("t,u\n0,1\n1,2\n", ["data.csv", "2 rows, at least 3"]),
        ("t,u\n", ["data.csv", "0 rows, at least 3"]),
        ("t,u\n0,1\n1,2,3\n2,3\n", ["data.csv, line 3", "3 cells for 2 columns"]),
        ("t,u\n0,1\n1\n2,3\n", ["data.csv, line 3", "1 cells for 2 columns"]),
        ("", ["data.csv", "empty"]),
        ("\n\n", ["data.csv", "empty"]),
        ("0,1\n1,2\n2,3\n", ["data.csv, line 1", "add a header"]),
        ("t,u,\n0,1,\n1,2,\n2,3,\n", ["line 1", "a column has no name"]),
        ("t,u,u\n0,1,1\n1,2,1\n2,3,1\n", ["line 1", "'u' appears twice"]),
        ("t,u\n0,1\n1,inf\n2,3\n", ["line 3, column 'u'", "not finite"]),
        ("t\n0\n1\n2\n", ["no column beside the time"]),
        (b"t,u\n0,\xff\n", ["data.csv", "not UTF-8"]),
        ('t,u\n0,"1\n', ["data.csv", "unexpected end"]),
    ],
)
def test_mistakes_name_file_line_and_column(write, text, parts):
    with pytest.raises(InputError) as caught:
        series_from_csv(write(text))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_missing_files_and_columns_are_named(tmp_path, write):
    with pytest.raises(InputError, match="no such file"):
        series_from_csv(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        series_from_csv(tmp_path)
    path = write("t,u\n0,1\n1,2\n2,3\n")
    with pytest.raises(InputError, match="no column 'w'"):
        series_from_csv(path, time="w")
    with pytest.raises(InputError, match="no column 'ux'.*did you mean 'u'"):
        series_from_csv(path, variables=("ux",))


def test_measurements_take_columns_by_name(write):
    table = read_table(write("time,x,temp,other\n0,1,5,a\n1,2,,b\n"))
    found = measurements_of(table, ("t", "x"), ("u", "v"), {"t": "time", "u": "temp"})
    np.testing.assert_array_equal(found.points, [[0, 1], [1, 2]])
    np.testing.assert_array_equal(found.values, [[5, np.nan], [np.nan, np.nan]])
    with pytest.raises(InputError, match="no column 't'"):
        measurements_of(table, ("t", "x"), ("temp",))
    with pytest.raises(InputError, match="no column of an unknown"):
        measurements_of(table, ("time", "x"), ("v",))
    with pytest.raises(InputError, match="'w' is no coordinate or unknown"):
        measurements_of(table, ("time", "x"), ("temp",), {"w": "other"})


numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(numbers, numbers, st.none() | numbers),
        min_size=3,
        max_size=8,
        unique_by=lambda row: row[0] + 0.0,
    )
)
@example([(0.0, 0.0, None), (1.0, 1.7e308, None), (2.0, -1e308, 0.0)])  # fmt: skip
def test_every_table_of_numbers_is_read_back(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "data.csv"
        lines = [",".join("" if v is None else repr(v) for v in row) for row in rows]
        path.write_text("\n".join(["t,a,b", *lines]))
        if all(row[2] is None for row in rows):
            with pytest.raises(InputError, match="'b' holds no number"):
                series_from_csv(path)
            return
        for column in ("a", "b"):
            values = [row["ab".index(column) + 1] for row in rows]
            values = [v for v in values if v is not None]
            if len(values) > 1 and len({v + 0.0 for v in values}) == 1:
                with pytest.raises(InputError, match=f"'{column}' is .* in every row"):
                    series_from_csv(path)
                return
        (series,) = series_from_csv(path).series
    expected = np.array(sorted(rows, key=lambda row: row[0]), float)
    np.testing.assert_array_equal(np.column_stack([series.t, series.y]), expected)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='t,u;\t"\n\r 019.eE-+naNx\0', max_size=60) | st.text(max_size=40))
@example("t,u,v\n")
def test_any_text_is_read_or_refused(text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "data.csv"
        path.write_text(text, encoding="utf-8", errors="ignore", newline="")
        with contextlib.suppress(InputError):
            assert isinstance(series_from_csv(path), SeriesProblem)
