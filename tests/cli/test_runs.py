"""Whole runs through the command line, in processes of their own where that matters."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray

from continua.cli import main
from continua.core.serialise import load_tree

ROOT = pathlib.Path(__file__).parents[2]
LAYOUT = {
    "config.toml",
    "records.jsonl",
    "solution.nc",
    "metrics.jsonl",
    "checkpoints",
    "plots",
    "report.html",
}
SHORT_PINN = [
    "--method", "PINN", "--network.width", "6", "--network.depth", "1",
    "--num-collocation", "50",
]  # fmt: skip


def command(*words, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_ENABLE_X64", None)
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from continua.cli import main; sys.exit(main())"]
        + [str(w) for w in words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_solve_keeps_its_promise_about_the_folder(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["solve", "heat", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["result"] == "success"
    assert told["errors"]["relative_l2"] < 1e-6
    assert {p.name for p in out.iterdir()} >= LAYOUT
    with xarray.open_dataset(out / "solution.nc", engine="h5netcdf") as dataset:
        assert set(dataset.dims) == {"t", "x"}
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    columns = "problem method seed metric value seconds_run seconds_compile evaluations "
    columns += "precision versions digest"
    assert all(set(columns.split()) <= set(row) for row in rows)


def patients(path, told="sick,well"):
    """Two kinds of series, six of each, and their table."""
    rng = np.random.default_rng(0)
    lines = ["time,patient,heart,outcome,part"]
    for i in range(12):
        for t in np.arange(12.0):
            heart = np.sin((0.5 + i % 2) * t) + 0.05 * rng.standard_normal()
            part = "test" if i >= 8 else "train"
            lines.append(f"{t},p{i},{heart:.3f},{told.split(',')[i % 2]},{part}")
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize(("told", "task"), [("sick,well", "classify"), ("1.5,2.5", "regress")])
def test_answers_for_whole_series_end_in_a_report(tmp_path, capsys, told, task):
    table, out = patients(tmp_path / "patients.csv", told), tmp_path / "run"
    words = ["--target", "outcome", "--test", "part", "--task", task, "--out", str(out)]
    assert main(["fit", table, *words]) == 0
    assert "patients by RandomConvolutions" in capsys.readouterr().out
    assert (out / "plots" / "solution_RandomConvolutions.png").exists()
    assert "RandomConvolutions" in (out / "report.html").read_text()


def test_a_column_of_words_asks_for_its_role(tmp_path, capsys):
    assert main(["fit", patients(tmp_path / "patients.csv")]) == 2
    told = capsys.readouterr().err
    assert "'sick' is not a number" in told
    assert "--target" in told


def test_a_run_does_not_overwrite_another_unasked(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main(["solve", "lorenz", "--out", out, "--json"]) == 0
    assert main(["solve", "lorenz", "--out", out, "--json"]) == 2
    assert main(["solve", "lorenz", "--out", out, "--json", "--overwrite"]) == 0
    capsys.readouterr()


def test_a_diverging_solve_says_where_and_exits_with_one(tmp_path, capsys):
    path = tmp_path / "blow.toml"
    path.write_text(
        """
title = "Blow-up"
[equation]
unknowns = ["u"]
coordinates = ["t"]
expressions = ["u_t = u^2"]
[domain]
t = [0.0, 2.0]
[initial]
u = "1"
"""
    )
    words = ["solve", str(path), "--method", "RungeKutta", "--json", "--no-reference"]
    assert main(words) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["result"] in ("diverged", "step_limit")
    assert "step" in told["message"]
    assert told["advice"]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = [
        "--training.checkpoint-seconds", "0",
        "--training.chunk", "10",
        "--training.stages.0.steps", "60",
        "--training.stages.1.steps", "400",
    ]  # fmt: skip
    words = ["solve", "heat", *SHORT_PINN, *options, "--no-reference", "--json"]
    process = command(*words, "--out", whole)
    _, error = process.communicate()
    assert process.returncode == 0, error
    process = command(*words, "--out", killed)
    newest = killed / "checkpoints"
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None:
        if newest.exists() and len([p for p in newest.iterdir() if p.name.isdigit()]) >= 2:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "records.jsonl").exists()
    process = command("resume", killed, "--json")
    _, error = process.communicate()
    assert process.returncode == 0, error
    trees = [load_tree(run / "solution").evaluator for run in (whole, killed)]
    points = np.array([[0.05, 0.3], [0.1, 0.7]])
    np.testing.assert_array_equal(trees[0](points), trees[1](points))
    arrays = [dict(np.load(run / "solution.npz")) for run in (whole, killed)]
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name])


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """A small comparison, made once: a sparse regression and a classical fit."""
    out = tmp_path_factory.mktemp("comparison") / "run"
    words = ["compare", ROOT / "examples" / "lynx_hare.toml", "--methods", "SINDy"]
    process = command(*words, "--out", out, "--json")
    text, error = process.communicate()
    assert process.returncode == 0, error
    return out, [json.loads(line) for line in text.splitlines()]


def test_compare_always_has_its_baselines(comparison):
    out, rows = comparison
    assert {r["method"] for r in rows} >= {"SINDy", "ParameterFit", "Mean", "Persistence"}
    assert all(r["versions"] and r["digest"] for r in rows)
    assert (out / "report.html").exists()


def test_compare_solves_only_what_changed(comparison):
    out, rows = comparison
    before = {p: p.stat().st_mtime_ns for p in out.glob("cases/*/records.jsonl")}
    process = command(
        "compare", ROOT / "examples" / "lynx_hare.toml", "--methods", "SINDy", "--out", out,
        "--json",
    )  # fmt: skip
    text, _ = process.communicate()
    assert [json.loads(line) for line in text.splitlines()] == rows
    assert before == {p: p.stat().st_mtime_ns for p in out.glob("cases/*/records.jsonl")}


def test_the_report_stands_alone(comparison):
    text = (comparison[0] / "report.html").read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "<img" in text
    assert 'src="data:image/png;base64,' in text
    assert "Use " in text


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium was found to open the report with")
def test_the_report_opens_offline_and_sorts(comparison, tmp_path):
    page = (comparison[0] / "report.html").read_text()
    probe = """
<script>
window.addEventListener("load", () => {
  const table = document.querySelector("table.sortable");
  const read = () => [...table.tBodies[0].rows].map(r => Number(r.cells[2].dataset.sort));
  table.querySelectorAll("th")[2].click(); const up = read();
  table.querySelectorAll("th")[2].click(); const down = read();
  const pictures = [...document.images].map(i => i.complete && i.naturalWidth > 100);
  const result = document.createElement("div");
  result.id = "probe"; result.textContent = JSON.stringify({up, down, pictures});
  document.body.append(result);
});
</script></body>"""
    path = tmp_path / "probe.html"
    path.write_text(page.replace("</body>", probe))
    found = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000", "--dump-dom", path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    start = found.stdout.index('<div id="probe">') + len('<div id="probe">')
    told = json.loads(found.stdout[start : found.stdout.index("</div>", start)])
    assert len(told["up"]) >= 4
    assert told["up"] == sorted(told["up"])
    assert told["down"] == sorted(told["up"], reverse=True)
    assert len(told["pictures"]) >= 2
    assert all(told["pictures"])


def test_lists_and_pages(capsys):
    assert main(["list", "problems", "--json"]) == 0
    problems = json.loads(capsys.readouterr().out)
    assert {"burgers", "kdv", "lorenz", "poisson"} <= set(problems)
    assert main(["list", "methods", "--json"]) == 0
    assert {"PINN", "FNO", "Spectral"} <= set(json.loads(capsys.readouterr().out))
    assert main(["list", "benchmarks", "--json"]) == 0
    assert "pinn_burgers" in json.loads(capsys.readouterr().out)
    assert main(["show", "burgers"]) == 0
    assert "u_xx" in capsys.readouterr().out
    assert main(["show", "PINN"]) == 0
    text = capsys.readouterr().out
    assert "--network.width" in text
    assert "@article" in text or "@inproceedings" in text or "@misc" in text


def test_help_does_not_wait_for_jax():
    program = (
        "import sys\nfrom continua.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'jax', 'scipy', 'sympy', 'xarray', 'matplotlib', 'diffrax'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
