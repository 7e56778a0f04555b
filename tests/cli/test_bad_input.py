"""Bad input: one line with place, cause and fix, exit code 2, nothing half-written."""

import pathlib

import pytest

from continua.cli import main

GOOD = """
title = "Test"
[equation]
unknowns = ["u"]
coordinates = ["t", "x"]
expressions = ["u_t = nu*u_xx"]
[parameters]
nu = 0.1
[domain]
t = [0.0, 1.0]
x = [-1.0, 1.0]
[initial]
u = "sin(pi*x)"
[boundary]
x = "periodic"
"""

EQUATION = 'expressions = ["u_t = nu*u_xx"]'
CASES = {
    "unknown symbol": (EQUATION, 'expressions = ["u_t = mu*u_xx"]', "mu"),
    "unbalanced": (EQUATION, 'expressions = ["u_t = nu*(u_xx"]', "never closed"),
    "undeclared parameter": ("nu = 0.1", "mu = 0.1", "nu"),
    "missing initial": ('u = "sin(pi*x)"', "", "initial"),
    "missing boundary": ('x = "periodic"', "", "boundary"),
    "condition on a stranger": ('x = "periodic"', 'x = { lower = { v = "0" } }', "v"),
    "second order": (EQUATION, 'expressions = ["u_tt = nu*u_xx"]', "u_t"),
    "empty interval": ("x = [-1.0, 1.0]", "x = [1.0, 1.0]", "domain"),
    "reversed interval": ("t = [0.0, 1.0]", "t = [1.0, 0.0]", "domain"),
    "mixed walls": (
        'x = "periodic"',
        'x = { lower = "periodic", upper = { u = "0" } }',
        "periodic",
    ),
    "code": (EQUATION, "expressions = [\"u_t = __import__('os').system('touch x')\"]", "column"),
    "no TOML": ("[domain]", "[domain", "line"),
    "misspelt key": ("[initial]", "[inital]", "initial"),
}


def refuse(capsys, words, part):
    code = main([str(w) for w in words])
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("continua: ")
    assert error.count("\n") == 1, error
    assert part.lower() in error.lower(), error
    return error


@pytest.mark.parametrize("case", CASES)
def test_bad_problem_files(case, tmp_path, capsys):
    old, new, part = CASES[case]
    assert old in GOOD
    path = tmp_path / "problem.toml"
    path.write_text(GOOD.replace(old, new))
    refuse(capsys, ["solve", path, "--out", tmp_path / "run"], part)
    assert [p.name for p in tmp_path.iterdir()] == ["problem.toml"]


def test_a_method_that_cannot_names_those_that_can(tmp_path, capsys):
    path = tmp_path / "problem.toml"
    path.write_text(GOOD)
    error = refuse(capsys, ["solve", path, "--method", "SINDy"], "SINDy cannot solve")
    assert "Spectral" in error
    assert "PINN" in error


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["solve", "burger"], "burgers"),
        (["solve", "nowhere.toml"], "nowhere.toml"),
        (["solve", "burgers", "--method", "PIN"], "PINN"),
        (["solve", "burgers", "--method", "PINN", "--network.wdth", "3"], "wdth"),
        (["solve", "burgers", "--budget", "soon"], "not a positive time"),
        (["show", "nothing"], "no problem"),
        (["bench", "nothing"], "unknown benchmark"),
        (["report"], "no run"),
    ],
)
def test_bad_words(words, part, capsys):
    refuse(capsys, words, part)


CSV = "t,a,b\n0,1,2\n1,2,3\n2,3,4\n3,4,5\n"
CSV_CASES = {
    "no time": (CSV.replace("t,a", "z,a"), "time"),
    "text": (CSV.replace("2,3,4", "2,many,4"), "many"),
    "repeated": (CSV.replace("2,3,4", "1,3,4"), "repeated"),
    "empty column": ("t,a,b\n0,1,\n1,2,NaN\n2,3,\n3,4,\n", "'b'"),
    "ragged": (CSV.replace("2,3,4", "2,3"), "column"),
    "empty": ("", "empty"),
}


@pytest.mark.parametrize("case", CSV_CASES)
def test_bad_series_files(case, tmp_path, capsys):
    text, part = CSV_CASES[case]
    path = tmp_path / "data.csv"
    path.write_text(text)
    refuse(capsys, ["fit", path], part)


def test_missing_series_file(capsys):
    refuse(capsys, ["fit", "nowhere.csv"], "nowhere.csv")


def test_run_folders(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("")
    refuse(capsys, ["solve", "heat", "--out", path / "run"], "cannot write")
    refuse(capsys, ["resume", tmp_path], "no run here")
    refuse(capsys, ["report", tmp_path], "no run here")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text('command = "solve"\n')
    refuse(capsys, ["solve", "heat", "--out", run], "interrupted")
    refuse(capsys, ["report", run], "records")
    (run / "config.toml").write_text("command = \n")
    refuse(capsys, ["resume", run], "damaged settings")
    (run / "config.toml").write_text('command = "solve"\nseed = 0\nprecision = "float64"\n')
    (run / "problem.json").write_text("{")
    (run / "problem.npz").write_text("")
    refuse(capsys, ["resume", run], "damaged")


def test_tyro_refuses_unknown_commands_with_code_two():
    with pytest.raises(SystemExit) as end:
        main(["sovle"])
    assert end.value.code == 2


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = pathlib.Path("evil.toml")
    for evil in (
        "__import__('os').mkdir('owned')",
        "().__class__.__bases__[0]",
        "(lambda: 1)()",
        "sin.__globals__",
        "9**9**9**9",
        "(" * 5000 + "u" + ")" * 5000,
    ):
        path.write_text(GOOD.replace('u = "sin(pi*x)"', f'u = "{evil}"'))
        assert main(["solve", str(path)]) == 2, evil
        capsys.readouterr()
    assert [p.name for p in tmp_path.iterdir()] == ["evil.toml"]
