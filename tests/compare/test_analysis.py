"""What records say, on records whose answer is known by hand."""

import json
import math

import pytest

import continua as ct
from continua.compare import score
from continua.compare.analysis import (
    breakeven,
    curve,
    matched,
    seconds_text,
    summarise,
    verdict,
    within_time,
)
from continua.compare.record import Record, read_records, write_records
from continua.core.errors import InputError

METRIC = "relative_l2"


def row(method, value, kind, run, total, **more):
    return Record(
        "p", method, more.pop("seed", 0), more.pop("metric", METRIC), value, kind=kind,
        seconds_run=run, seconds_total=total, **more,
    )  # fmt: skip


LADDER = [
    row("Spectral", 1e-1, "classical", 0.001, 0.1, setting="rung 1"),
    row("Spectral", 1e-2, "classical", 0.010, 0.2, setting="rung 2"),
    row("Spectral", 5e-2, "classical", 0.020, 0.2, setting="rung 3"),  # dominated
    row("Spectral", 1e-6, "classical", 0.100, 1.0, setting="rung 4"),
    row("Spectral", 1e-6, "classical", 0.100, 1.0),
]
TRIVIAL = [row("Mean", 1.0, "trivial", 0.0, 0.0)]


def operator(error, run, total, seed=0):
    return row("FNO", error, "learned", run, total, amortised=True, seed=seed)


def test_the_front_leaves_out_what_is_dearer_and_worse():
    assert [r.value for r in curve(LADDER, METRIC)] == [1e-1, 1e-2, 1e-6]


def test_the_matched_solve_is_the_cheapest_of_at_least_this_accuracy():
    assert matched(LADDER, METRIC, 2e-2).seconds_run == 0.010
    assert matched(LADDER, METRIC, 1e-7) is None


def test_equal_time_counts_everything():
    assert within_time(LADDER, METRIC, 0.5).value == 1e-2
    assert within_time(LADDER, METRIC, 0.01) is None


def test_breakeven_is_the_first_count_at_which_the_learned_method_is_cheaper():
    records = [*LADDER, operator(1e-2, 0.002, 100.002)]
    (fno,) = [s for s in summarise(records, METRIC) if s.method == "FNO"]
    n = fno.breakeven
    assert n == math.ceil(100.0 / (0.010 - 0.002))
    upfront, ours, theirs = 100.0, 0.002, 0.010
    assert upfront + n * ours <= n * theirs < upfront + (n - 1) * ours + theirs


def test_a_method_that_is_slower_for_each_solve_never_pays():
    records = [*LADDER, operator(1e-2, 0.5, 10.0)]
    (fno,) = [s for s in summarise(records, METRIC) if s.method == "FNO"]
    assert math.isinf(fno.breakeven)


def test_a_method_that_is_trained_anew_counts_its_training_every_time():
    pinn = row("PINN", 1e-2, "learned", 1e-5, 60.0)
    (summary,) = [s for s in summarise([*LADDER, pinn], METRIC) if s.method == "PINN"]
    assert math.isinf(summary.breakeven)
    assert breakeven(summary, None) == 0.0


def test_seeds_are_summarised_and_failures_counted():
    records = [
        *LADDER,
        *(operator(e, 0.1, 5.0, seed=i) for i, e in enumerate((1e-3, 3e-3, 2e-3))),
        Record("p", "FNO", 3, "failure", math.nan, kind="learned", message="out of memory"),
    ]
    (fno,) = [s for s in summarise(records, METRIC) if s.method == "FNO"]
    assert (fno.error.median, fno.error.low, fno.error.high) == (2e-3, 1e-3, 3e-3)
    assert (fno.seeds, fno.failures) == (4, 1)
    assert any("out of memory" in s for s in verdict(summarise(records, METRIC), METRIC))


def test_the_verdict_names_the_best_and_what_the_learned_one_is_worth():
    records = [*LADDER, *TRIVIAL, operator(1e-2, 0.002, 100.002)]
    first, *others = verdict(summarise(records, METRIC), METRIC)
    assert first.startswith("Use Spectral")
    assert any("paid for itself after 12500 solves" in s for s in others)


def test_the_verdict_prefers_the_classical_method_within_the_spread():
    records = [
        row("ParameterFit", 2.0, "classical", 0.5, 1.0),
        *(row("NeuralODE", e, "learned", 0.1, 60.0, seed=i) for i, e in enumerate((1.5, 1.8, 2.5))),
    ]
    assert verdict(summarise(records, METRIC), METRIC)[0].startswith("Use ParameterFit")


def test_the_verdict_admits_that_nothing_beats_a_trivial_prediction():
    records = [*TRIVIAL, row("PINN", 1.2, "learned", 1e-3, 60.0)]
    assert "none of these" in verdict(summarise(records, METRIC), METRIC)[0]


def test_records_survive_the_file(tmp_path):
    records = [*LADDER, Record("p", "X", 0, "failure", math.nan, message='a "quoted" text')]
    write_records(tmp_path / "records.jsonl", records)
    for line in (tmp_path / "records.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    again = read_records(tmp_path / "records.jsonl")
    assert again[:-1] == records[:-1]
    assert math.isnan(again[-1].value)


def test_damaged_and_missing_records_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no records.jsonl"):
        read_records(tmp_path / "records.jsonl")
    (tmp_path / "records.jsonl").write_text('{"problem": 1')
    with pytest.raises(InputError, match="damaged records"):
        read_records(tmp_path / "records.jsonl")


@pytest.mark.parametrize(
    ("seconds", "text"), [(2e-6, "2 us"), (0.02, "20 ms"), (61.5, "61.5 s"), (600.0, "10 min")]
)
def test_times_have_a_unit_that_suits_them(seconds, text):
    assert seconds_text(seconds) == text


def test_what_has_no_time_has_no_last_one():
    problem = ct.problems.poisson()
    errors = score(ct.solve(problem), problem, problem.reference)
    assert "relative_l2_final" not in errors
    problem = ct.problems.heat()
    assert "relative_l2_final" in score(ct.solve(problem), problem, problem.reference)
