"""The gallery of the documentation, its benchmark, and pictures of problems."""

import dataclasses
import json
import pathlib
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray

from benchmarks import gallery, problems
from continua.cli import main
from continua.cli.show import facts, picture_of
from continua.core.pictures import draw, thumbnail
from continua.methods import FiniteDifferences
from continua.problems import PROBLEMS, burgers_family, get, heat, pelt_counts

ADVICE = "draw it with `python -m benchmarks.problems --pictures`"


def row(problem="heat", method="Spectral", value: float | str = 1e-3, **other):
    """A row of the record."""
    plain = {
        "problem": problem,
        "method": method,
        "metric": "relative_l2",
        "value": value,
        "kind": "classical",
        "setting": f"{method}()",
        "seconds_run": 0.01,
        "seconds_total": 1.0,
        "evaluations": 100,
        "machine": "a machine",
        "versions": "jax 1",
        "reference_limited": False,
        "message": "",
    }
    return {**plain, **other}


def test_every_problem_has_a_small_picture_of_4_by_3():
    from PIL import Image

    total = 0
    for name in PROBLEMS:
        path = gallery.PICTURES / f"{name}.webp"
        assert path.exists(), f"{name}: {ADVICE}"
        total += path.stat().st_size
        assert path.stat().st_size <= problems.LARGEST, name
        with Image.open(path) as image:
            width, height = image.size
        assert 3 * width == 4 * height, name
    assert total < 1.5e6


def test_every_problem_is_in_the_index_once():
    text = gallery.index()
    linked = re.findall(r"\]\(gallery/(\w+)\.md\)", text)
    assert set(linked) == set(PROBLEMS)
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == len(gallery.GROUPS)
    assert gallery.on_page_markdown(f"a {gallery.MARK} b").startswith("a ## ")
    assert gallery.on_page_markdown("nothing here") == "nothing here"
    assert gallery.group(get("lorenz")) == "Ordinary equations"
    assert gallery.group(get("gray_scott")) == "In two space dimensions and more"
    assert gallery.group(get("poisson")) == "Steady"


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_page_for_each_problem(name):
    problem = gallery.made()[name]
    text = gallery.page(name, [], None, diagram=False)
    assert text.startswith(f"# {problem.title}\n")
    assert problem.notes in text
    assert f"{{{problem.citation}," in text
    assert "Methods that take it" in text or "Also take" in text
    for line in facts(problem)["equation"]:
        assert line in text


def test_a_page_tells_the_best_of_each_method():
    rows = [
        row(value=1e-3),
        row(value=1e-6, setting="Spectral(num_points=64)", seconds_run=0.25),
        row(method="FiniteDifferences", value=1e-9, reference_limited=True),
        row(method="Chebyshev", metric="failure", value="nan", message="diverged | badly"),
    ]
    reference = {"value": 1e-15, "message": "closed form"}
    lines = gallery.page("heat", rows, reference).splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert table[1].startswith("| FiniteDifferences | 1.0e-09 (as far as the reference tells)")
    assert table[2] == "| Spectral | 1.0e-06 | 250 ms | `Spectral(num_points=64)` |"
    assert table[3] == "| Chebyshev | failed | | diverged / badly |"
    assert "Relative error 1e-15: closed form." in lines
    assert "![Error against seconds and evaluations](heat_costs.webp)" in lines
    (others,) = [line for line in lines if line.startswith("Also take")]
    assert "FiniteVolumes" in others
    assert "Chebyshev" not in others


def test_diagrams_are_small_and_only_where_a_method_succeeded():
    failed = [row(metric="failure", value="nan")]
    assert gallery.picture_of_costs(failed) is None
    assert gallery.picture_of_costs([]) is None
    found = gallery.picture_of_costs([row(value=10.0**-k, seconds_run=10.0**k) for k in range(5)])
    assert found is not None
    assert found[8:12] == b"WEBP"
    assert len(found) < 30_000


def test_pages_and_diagrams_are_added_to_the_files(monkeypatch):
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

    known = {"problems": {"heat": [row()]}, "problem_table": {}}
    monkeypatch.setattr(gallery, "records", lambda name: known[name])
    config: Any = MkDocsConfig()
    config.load_dict({"site_name": "x", "docs_dir": "docs", "site_dir": "site"})
    config.plugins = SimpleNamespace(_current_plugin="gallery")  # who adds the files
    files = gallery.on_files(Files([]), config)
    there = {file.src_uri for file in files}
    assert there == {f"gallery/{n}.md" for n in PROBLEMS} | {"gallery/heat_costs.webp"}


def test_ladders_end_where_the_reference_or_the_time_ends():
    problem = heat()
    rows = list(problems.rows_of(problem, 1e-9))
    methods = [r["method"] for r in rows]
    assert methods[0] == "Spectral"  # the best comes first
    assert set(methods) == {m.name for m in problems.methods_of(problem)}
    assert all(methods.count(m) <= 2 for m in methods)
    assert all(r["metric"] == "relative_l2" and r["value"] < 1e-2 for r in rows)
    assert all(r["seconds_run"] > 0 and r["setting"].startswith(r["method"]) for r in rows)
    # Sines are exact for this problem, to the digits of its reference.
    assert all(r["reference_limited"] == (r["method"] == "Spectral") for r in rows)
    assert all(r["steps"] > 0 and r["result"] == "success" for r in rows)


def test_an_error_of_the_size_of_the_references_ends_a_ladder(monkeypatch):
    problem = heat()
    rough = dataclasses.replace(problem.reference, accuracy=1e-2)
    problem = dataclasses.replace(problem, reference=rough)
    monkeypatch.setattr(problems, "methods_of", lambda p: [FiniteDifferences()])
    (only,) = problems.rows_of(problem)
    assert only["value"] < 1e-2
    assert only["reference_limited"]


def test_a_rung_that_fails_is_a_row(monkeypatch):
    def refuse(*args, **kwargs):
        raise ValueError("no\nluck")

    monkeypatch.setattr(problems, "solve", refuse)
    monkeypatch.setattr(problems, "methods_of", lambda p: [FiniteDifferences()])
    found = next(problems.rows_of(heat()))
    assert (found["metric"], found["message"]) == ("failure", "ValueError: no luck")
    assert found["result"] == "error"


def test_rows_of_some_problems_are_replaced(monkeypatch, tmp_path, capsys):
    path = tmp_path / "problems.jsonl"
    old = [row("heat"), row("lorenz", value=0.5)]
    path.write_text("".join(json.dumps(r) + "\n" for r in old))
    monkeypatch.setattr(problems, "RECORDS", path)
    new = [row("heat", value=0.25), row("heat", value=0.125)]
    monkeypatch.setattr(problems, "_in_a_process", lambda name, *_: new)
    assert problems.again(["heat"]) == 2
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["problem"], r["value"]) for r in rows] == [
        ("heat", 0.25),
        ("heat", 0.125),
        ("lorenz", 0.5),
    ]
    assert "heat: 2 rows" in capsys.readouterr().out


def test_a_process_that_breaks_is_a_row_of_its_problem():
    (found,) = problems._in_a_process("no_such_problem", 1.0, False)
    assert (found["problem"], found["metric"]) == ("no_such_problem", "failure")
    assert found["message"] == "ended with 1"


def test_pictures_of_each_kind(tmp_path):
    path = problems.picture("heat", folder=tmp_path)
    assert path == tmp_path / "heat.webp"
    assert path.stat().st_size <= problems.LARGEST
    series = picture_of(pelt_counts())
    assert set(series.data_vars) == {"hare", "lynx"}
    family = picture_of(burgers_family(num_points=32))
    assert list(family.data_vars) == ["u before", "u after"]
    assert family["u before"].shape == (32,)
    law = picture_of(get("ornstein_uhlenbeck"))
    assert {str(n).rpartition("_")[2] for n in law.data_vars} == {"x", "std", "paths"}
    assert law["x_paths"].sizes["t"] == law.sizes["t"]
    disk = picture_of(get("heat_disk"))["u"].values
    assert 0.7 < np.mean(np.isfinite(disk)) < 0.85  # pi / 4


def curves(**values):
    """A dataset over time."""
    t = np.linspace(0.0, 1.0, 11)
    return xarray.Dataset({n: ("t", v + 0 * t) for n, v in values.items()}, coords={"t": t})


def test_orbits_states_and_scales():
    t = np.linspace(0.0, 1.0, 11)
    panel = thumbnail(curves(x1=t, y1=t**2, x2=-t, y2=t)).axes[0]
    assert len(panel.lines) == 4  # two orbits, two ends
    assert panel.get_xlabel() == "x"
    panel = thumbnail(curves(x=t, y=t, z=1 - t)).axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("x", "z")
    panel = thumbnail(curves(a=t, b=1e-5 * t)).axes[0]
    assert max(panel.lines[1].get_ydata()) == pytest.approx(1.0)
    assert panel.get_legend().get_texts()[1].get_text() == "b / 1e-05"
    panel = thumbnail(curves(a=t, b=2 * t)).axes[0]
    assert max(panel.lines[1].get_ydata()) == pytest.approx(2.0)


def test_maps_over_time_are_first_middle_and_last():
    axes = {"t": np.arange(5.0), "x": np.arange(3.0), "y": np.arange(4.0)}
    u = np.broadcast_to(np.arange(5.0)[:, None, None], (5, 3, 4)).copy()
    u[:, 0, 0] = np.nan  # outside
    dataset = xarray.Dataset({"u": (tuple(axes), u)}, coords=axes)
    titles = [panel.get_title() for panel in draw(dataset).axes if panel.get_title()]
    assert titles == ["u: t = 0", "u: t = 2", "u: t = 4"]
    compared = draw(dataset, dataset)
    assert [p.get_title() for p in compared.axes if p.get_title()] == [
        "u: solution",
        "u: reference",
        "u: difference",
    ]
    assert thumbnail(dataset).axes[0].get_title() == "u: t = 4"
    deep = dataset.expand_dims({"z": np.arange(3.0)}, axis=-1)
    assert [p.get_title() for p in draw(deep).axes if p.get_title()] == titles
    assert thumbnail(deep).axes[0].get_title() == "u: t = 4"


def test_many_curves_stand_in_columns():
    t = np.linspace(0.0, 1.0, 11)
    figure = draw(curves(**{f"u{i}": i + t for i in range(9)}))
    assert len(figure.axes) == 9
    assert figure.get_figwidth() > figure.get_figheight()


def test_answers_for_series_are_counted_and_laws_lie_side_by_side():
    def of(values, method, numbers):
        columns = {n: (("series",), np.asarray(v, float)) for n, v in values.items()}
        coords = {"series": np.asarray(numbers, float)}
        return xarray.Dataset(columns, coords=coords, attrs={"method": method})

    found = of({"a": [1, 0.9, 0.2, 0.1], "b": [0, 0.1, 0.8, 0.9]}, "M", range(4))
    true = of({"a": [1, 0, 0], "b": [0, 1, 1]}, "data", [1, 2, 3])
    (panel,) = draw(found, true).axes
    assert [t.get_text() for t in panel.texts] == ["1", "0", "0", "2"]
    (panel,) = draw(of({"u": [1, 2, 3]}, "M", range(3)), of({"u": [2, 4]}, "data", [1, 2])).axes
    points = next(line for line in panel.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(points.get_xydata(), [[2, 2], [4, 3]])

    t = np.linspace(0, 1, 5)
    many = xarray.Dataset({"u": (("series", "t"), np.outer(np.arange(3), t))}, coords={"t": t})
    left, right = draw(many.isel(series=slice(0, 2)), many).axes
    assert (len(left.lines), len(right.lines)) == (3, 2)  # the data first


def test_show_tells_conditions_ranges_and_source(capsys):
    assert main(["show", "heat_disk"]) == 0
    text = capsys.readouterr().out
    assert "region Disk, its boundary: rim" in text
    assert "rim: u + u_n = " in text
    assert main(["show", "heat"]) == 0
    text = capsys.readouterr().out
    assert "x lower: u = 0" in text
    assert "@book{fourier1822theorie," in text
    known = facts(burgers_family(nu=(0.05, 0.2)))
    assert known["parameters"] == ["nu drawn evenly from [0.05, 0.2]"]
    assert known["data"] == ["1000 functions to learn from, 100 to test on"]
    assert "mean of p = 0" in facts(get("lid_driven_cavity"))["conditions"]


def test_show_writes_a_picture(tmp_path, capsys):
    path = tmp_path / "new" / "heat.png"
    assert main(["show", "heat", "--picture", str(path)]) == 0
    assert f"Picture: {path}" in capsys.readouterr().out
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_show_draws_the_best_solution_where_there_is_no_reference(tmp_path, capsys):
    path = tmp_path / "problem.toml"
    path.write_text(
        'title = "Fading"\n[equation]\nunknowns = ["u"]\ncoordinates = ["t", "x"]\n'
        'expressions = ["u_t = u_xx"]\n[domain]\nt = [0.0, 0.1]\nx = [0.0, 1.0]\n'
        '[initial]\nu = "x*(1 - x)"\n[boundary]\n'
        'x = { lower = { u = "0" }, upper = { u = "0" } }\n'
    )
    picture = tmp_path / "fading.svg"
    assert main(["show", str(path), "--picture", str(picture)]) == 0
    assert "u: FiniteDifferences" in picture.read_text()
    capsys.readouterr()


def test_pictures_that_cannot_be(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for name, path, part in (
        ("heat", tmp_path / "heat.doc", "names no format of pictures; end it in one of .png"),
        ("heat", tmp_path / "heat", "names no format"),
        ("heat", tmp_path / "file" / "heat.png", "cannot write"),
        ("Spectral", tmp_path / "a.png", "is a method"),
        ("nothing", tmp_path / "a.png", "unknown problem"),
    ):
        assert main(["show", name, "--picture", str(path)]) == 2
        error = capsys.readouterr().err
        assert part in error
        assert error.count("\n") == 1
    assert [p.name for p in pathlib.Path(tmp_path).iterdir()] == ["file"]
