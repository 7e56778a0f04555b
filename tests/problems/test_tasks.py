"""What series can be asked for: held-out rows, hidden values, targets, new series."""

import dataclasses

import numpy as np
import pytest

import continua as ct
from continua.cli import main
from continua.compare import main_metric, score
from continua.core.errors import InputError
from continua.problems import Series, SeriesProblem, hide, load, series_from_csv, thin
from continua.problems.read_toml import parse_toml
from continua.problems.write_toml import to_toml

T = np.arange(8.0)


def waves(count=6, **fields) -> SeriesProblem:
    series = tuple(
        Series(str(i), T, np.stack([np.sin(T + i), np.cos(T + i)], axis=-1), 0.1 * T[:, None])
        for i in range(count)
    )
    return SeriesProblem(
        name="waves",
        title="Waves",
        variables=("a", "b"),
        time="t",
        series=series,
        inputs=("force",),
        **fields,
    )


def classes(**fields) -> SeriesProblem:
    targets = ("x", "y") * 3
    return waves(task="classify", targets=targets, tested=(4, 5), **fields)


def test_hidden_values_are_not_seen_and_are_the_answers():
    problem = hide(waves(), 0.25, seed=3)
    assert (problem.task, main_metric(problem)) == ("interpolate", "rmse_held_out")
    for seen, answers, whole in zip(
        problem.training(), problem.held_out(), problem.series, strict=True
    ):
        hidden = whole.hidden
        assert hidden is not None
        assert hidden.sum() == round(0.25 * 14)
        assert not hidden[0].any()
        np.testing.assert_array_equal(np.isnan(seen.y), hidden)
        here = np.isin(T, answers.t)
        np.testing.assert_array_equal(np.where(hidden[here], whole.y[here], np.nan), answers.y)
    assert problem == hide(waves(), 0.25, seed=3) != hide(waves(), 0.25, seed=4)
    # The draw of a series does not depend on how many there are.
    few = hide(waves(2), 0.25, seed=3)
    np.testing.assert_array_equal(few.series[1].hidden, problem.series[1].hidden)


def test_thin_takes_rows_or_values_away():
    rows = thin(waves(), 0.5)
    assert {len(s.t) for s in rows.series} == {4}
    assert all(s.t[0] == 0 and len(s.inputs) == 4 for s in rows.series)
    values = thin(waves(), 0.5, rows=False)
    assert {int(np.isnan(s.y).sum()) for s in values.series} == {7}
    assert thin(waves(), 0.0) == waves()
    with pytest.raises(InputError, match="got 1; give a share of 0 or more, below 1"):
        thin(waves(), 1.0)


def test_series_that_are_tested_are_held_out_whole():
    problem = classes()
    assert problem.classes == ("x", "y") == problem.outputs
    assert [s.name for s in problem.training()] == ["0", "1", "2", "3"]
    assert [s.name for s in problem.held_out()] == ["4", "5"]
    assert list(problem.evaluation_grid()) == ["series"]


def test_the_share_of_each_class_is_the_trivial_answer():
    problem = classes()
    problem = dataclasses.replace(problem, targets=("x", "x", "x", "y", "x", "y"))
    solution = ct.solve(problem, ct.methods.Mean())
    np.testing.assert_allclose(solution.values([0.0, 5.0]), [[0.75, 0.75], [0.25, 0.25]])
    errors = score(solution, problem)
    assert main_metric(problem) == "error_rate_held_out"
    assert errors["error_rate_held_out"] == 0.5
    assert errors["error_rate_training"] == 0.25
    assert errors["log_loss_held_out"] == pytest.approx(-np.mean(np.log([0.75, 0.25])))
    numbers = dataclasses.replace(problem, task="regress", targets=(1.0, 2.0, 3.0, 6.0, 7.0, 3.0))
    errors = score(ct.solve(numbers, ct.methods.Mean()), numbers)
    assert errors["rmse_held_out"] == pytest.approx(np.sqrt((4**2 + 0) / 2))


@pytest.mark.parametrize(
    "problem",
    [
        classes(statics={"age": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)}),
        hide(waves(), 0.3),
        waves(task="generate", tested=(1,)),
        waves(task="regress", targets=(1.0, 2.0, 3.0, 4.0, 5.0, 6.5)),
    ],
    ids=lambda p: p.task,
)
def test_round_trip(problem, tmp_path):
    assert parse_toml(to_toml(problem), tmp_path, "x") == problem


CSV = """id,t,a,force,age,kind,part
p,0,1,0.5,30,sick,train
p,1,2,0.6,30,sick,train
q,0,3,0.7,40,well,train
q,2,,0.8,40,well,train
r,0,5,0.9,50,well,test
r,1,6,1.0,50,well,test
"""
ROLES = {
    **{"task": "classify", "target": "kind", "test": "part"},
    **{"inputs": ("force",), "statics": ("age",)},
}


def test_columns_of_a_table_have_roles(tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    problem = series_from_csv(tmp_path / "a.csv", **ROLES)
    assert problem.variables == ("a",)
    assert problem.tested == (2,)
    assert problem.targets == ("sick", "well", "well")
    assert problem.statics == {"age": (30.0, 40.0, 50.0)}
    np.testing.assert_array_equal(problem.series[1].inputs, [[0.7], [0.8]])
    (tmp_path / "a.toml").write_text(
        'name = "a"\ntitle = "a"\n[series]\nfile = "a.csv"\ntask = "classify"\ntarget = "kind"\n'
        'test = "part"\ninputs = ["force"]\nstatics = ["age"]\n'
    )
    assert load(tmp_path / "a.toml").digest() == problem.digest()


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("30,sick,train\nq", "31,sick,train\nq", "line 3, column 'age': '31' after '30'"),
        ("2,0.6", "2,", "line 3, column 'force': the cell is empty"),
        ("well,test", "ill,test", "the class 'ill' is tested, but no series to learn from"),
        (",train", ",test", "every series is tested"),
    ],
)
def test_roles_that_do_not_hold_are_named(tmp_path, old, new, part):
    (tmp_path / "a.csv").write_text(CSV.replace(old, new))
    with pytest.raises(InputError, match=part):
        series_from_csv(tmp_path / "a.csv", **ROLES)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: waves(task="guess"), "unknown task 'guess'"),
        (lambda: waves(tested=(1,)), "to forecast takes no series that are tested whole"),
        (lambda: waves(task="generate", tested=(9,)), "there is no series 9; number them"),
        (lambda: waves(targets=("x",) * 6), "to forecast needs no targets"),
        (lambda: waves(task="classify", targets=("x",)), "1 targets for 6 series"),
        (lambda: waves(task="classify", targets=("x",) * 6), "are of the class 'x'"),
        (lambda: waves(task="regress", targets=("x",) * 6), "could not convert .*classify"),
        (lambda: waves(task="interpolate"), "nothing is hidden"),
        (lambda: waves(statics={"age": (1.0,)}), "'age' has 1 numbers for 6 series"),
        (lambda: dataclasses.replace(waves(), inputs=()), "1 columns for 0 inputs"),
        (lambda: Series("s", T, T[:, None], T[:3, None]), r"inputs of shape \(3, 1\) for 8"),
        (lambda: Series("s", T, T[:, None], T[:, None] / 0.0), "known input has no value at"),
        (
            lambda: dataclasses.replace(waves(), series=(waves().series[0],) * 2),
            "two series are named '0'",
        ),
    ],
)
def test_parts_that_disagree_are_named(make, part):
    with np.errstate(all="ignore"), pytest.raises(InputError, match=part):
        make()


def test_methods_say_what_they_cannot_be_asked():
    support = ct.methods.SINDy().supports(classes())
    assert not support.ok
    assert support.reason == "SINDy does not classify series"
    assert "takes no inputs (force)" in ct.methods.SINDy().supports(waves()).reason


def test_a_file_is_interpolated_from_the_command_line(tmp_path, capsys):
    rows = "\n".join(f"{t},{np.sin(0.7 * t):.5f}" for t in range(12))
    (tmp_path / "a.csv").write_text("t,a\n" + rows + "\n")
    command = ["fit", str(tmp_path / "a.csv"), "--method", "Mean", "--hide", "0.3", "--json"]
    assert main(command) == 0
    assert '"rmse_held_out"' in capsys.readouterr().out
    assert main(["fit", str(tmp_path / "a.csv"), "--hide", "1.5", "--method", "Mean"]) == 2
    assert "give a share of 0 or more, below 1" in capsys.readouterr().err
