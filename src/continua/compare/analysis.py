"""What records say: curves, matched solves, breakeven counts, and a verdict in words."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from continua.compare.record import Record


@dataclasses.dataclass(frozen=True)
class Spread:
    """A number over seeds: its median and its range."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return number_text(self.median)
        return f"{number_text(self.median)} [{number_text(self.low)}, {number_text(self.high)}]"


@dataclasses.dataclass(frozen=True)
class Summary:
    """One method on one problem, over its seeds.

    **Arguments:**

    - `problem`, `method`, `kind`, `metric`: what.
    - `error`: the main metric; `None` where every seed failed.
    - `seconds_total`, `seconds_run`: to the first solution, and of one more.
    - `seeds`, `failures`: how many were run, and how many gave nothing.
    - `matched`: the cheapest classical record of at most this error, or `None`.
    - `equal_time`: the best classical record within this method's total time, or `None`.
    - `breakeven`: solves until the learned method has paid for itself; infinite where
      it never does, `nan` for methods that are not learned or cannot be compared.
    - `message`: of the failures.
    """

    problem: str
    method: str
    kind: str
    metric: str
    error: Spread | None
    seconds_total: Spread | None
    seconds_run: Spread | None
    seeds: int
    failures: int
    amortised: bool = False
    matched: Record | None = None
    equal_time: Record | None = None
    breakeven: float = float("nan")
    message: str = ""


def spread(values: Sequence[float]) -> Spread:
    """Median and range of some numbers."""
    return Spread(statistics.median(values), min(values), max(values))


_CASE = ("problem", "method", "setting", "precision")


def medians(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] = ()
) -> tuple[tuple[str, ...], list[tuple[tuple[str, ...], str, Spread, int]]]:
    """What many runs come to: each number as its median and range over the seeds.

    **Arguments:**

    - `rows`: records as dictionaries.
    - `metrics`: those that are wanted, all but recovered parameters by default.

    **Returns:** the columns by which cases differ (the method always among them), and in
    the order of the records the case, the metric, its spread and the number of seeds.
    """
    told = tuple(c for c in _CASE if c == "method" or len({r[c] for r in rows}) > 1)
    found: dict[tuple[tuple[str, ...], str], list[float]] = {}
    for r in rows:
        metric = str(r["metric"])
        recovered = metric.startswith(("parameter ", "deviation "))
        if metric in metrics or not (metrics or recovered):
            case = tuple(str(r[c]) for c in told)
            found.setdefault((case, metric), []).append(float(r["value"]))
    return told, [(case, metric, spread(v), len(v)) for (case, metric), v in found.items()]


def main_rows(records: Sequence[Record], metric: str) -> list[Record]:
    """The records of the main metric, and the failures."""
    return [r for r in records if r.metric in (metric, "failure")]


def curve(records: Sequence[Record], metric: str, method: str | None = None) -> list[Record]:
    """Classical records that lie on the work-precision front: each dearer one is better.

    **Arguments:**

    - `records`, `metric`: of one problem.
    - `method`: of one method, or of all together.
    """
    rows = [
        r
        for r in records
        if r.metric == metric
        and r.kind == "classical"
        and math.isfinite(r.value)
        and method in (None, r.method)
    ]
    front: list[Record] = []
    for row in sorted(rows, key=lambda r: (r.seconds_run, r.value)):
        if not front or row.value < front[-1].value:
            front.append(row)
    return front


def matched(records: Sequence[Record], metric: str, error: float) -> Record | None:
    """The cheapest classical solve with at most this error.

    **Arguments:**

    - `records`: of one problem, with the curves of its classical methods.
    - `metric`, `error`: the name of the error, and the most that it may be.
    """
    good = [r for r in curve(records, metric) if r.value <= error]
    return min(good, key=lambda r: r.seconds_run, default=None)


def within_time(records: Sequence[Record], metric: str, seconds: float) -> Record | None:
    """The most accurate classical solve whose total time (compiling and choosing of
    resolution included) is at most `seconds`."""
    good = [r for r in curve(records, metric) if r.seconds_total <= seconds]
    return min(good, key=lambda r: r.value, default=None)


def breakeven(learned: Summary, classical: Record | None) -> float:
    """Solves until a learned method has paid for itself.

    `n (t_classical - t_learned) >= upfront`, the classical solve being the cheapest one
    of the same error. A method that must be trained anew for each problem pays for
    itself at once or never.

    **Arguments:**

    - `learned`: its summary.
    - `classical`: the matched solve; `None` gives 0, as nothing else reaches the error.
    """
    if learned.seconds_total is None or learned.seconds_run is None:
        return float("nan")
    if classical is None:
        return 0.0
    total, run = learned.seconds_total.median, learned.seconds_run.median
    if not learned.amortised:
        return 1.0 if total < classical.seconds_run else float("inf")
    gain = classical.seconds_run - run
    return float(math.ceil((total - run) / gain)) if gain > 0 else float("inf")


def summarise(records: Sequence[Record], metric: str) -> list[Summary]:
    """One summary for each method of one problem, best error first.

    **Arguments:**

    - `records`: of one problem.
    - `metric`: the main one.
    """
    rows = main_rows(records, metric)
    summaries = []
    for method in dict.fromkeys(r.method for r in rows):
        mine = [r for r in rows if r.method == method]
        # Rungs of the ladder are points of the curve; the summary is of what was asked for.
        asked = [r for r in mine if not r.setting.startswith("rung")]
        good = [r for r in asked if r.metric == metric and math.isfinite(r.value)]
        failed = [r for r in asked if r not in good]
        summary = Summary(
            problem=rows[0].problem,
            method=method,
            kind=mine[0].kind,
            metric=metric,
            error=spread([r.value for r in good]) if good else None,
            seconds_total=spread([r.seconds_total for r in good]) if good else None,
            seconds_run=spread([r.seconds_run for r in good]) if good else None,
            seeds=len({r.seed for r in asked}),
            failures=len(failed),
            amortised=mine[0].amortised,
            message=failed[0].message if failed else "",
        )
        summaries.append(_compared(summary, rows, metric))
    worst = float("inf")
    return sorted(summaries, key=lambda s: s.error.median if s.error else worst)


def _compared(summary: Summary, rows: Sequence[Record], metric: str) -> Summary:
    if summary.kind != "learned" or summary.error is None or summary.seconds_total is None:
        return summary
    same_error = matched(rows, metric, summary.error.median)
    return dataclasses.replace(
        summary,
        matched=same_error,
        equal_time=within_time(rows, metric, summary.seconds_total.median),
        breakeven=breakeven(summary, same_error) if curve(rows, metric) else float("nan"),
    )


def number_text(value: float) -> str:
    """Three digits, with an exponent where the number is small or large."""
    return f"{value:.3g}" if value == 0 or 1e-2 <= abs(value) < 1e4 else f"{value:.1e}"


def seconds_text(seconds: float) -> str:
    """A time in a unit that suits it."""
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds / 60:.3g} min"


def verdict(summaries: Sequence[Summary], metric: str) -> list[str]:
    """In sentences: which method to use, and what the others are worth.

    **Arguments:**

    - `summaries`: of one problem, from `summarise`.
    - `metric`: the main one.
    """
    usable: list[Any] = [s for s in summaries if s.error is not None]
    if not usable:
        return ["No method gave a usable solution."]
    sentences = []
    trivial = [s for s in usable if s.kind == "trivial"]
    real = [s for s in usable if s.kind != "trivial"]
    floor = min((s.error.median for s in trivial), default=float("inf"))
    winners = [s for s in real if s.error.median < floor]
    if not winners:
        return [
            f"Use none of these methods: no one is better than the trivial prediction "
            f"({min(trivial, key=lambda s: s.error.median).method}, {number_text(floor)})."
        ]
    sentences.append(_recommendation(winners, metric))
    for summary in winners:
        if summary.kind == "learned":
            sentences.append(_on_learned(summary))
    for summary in real:
        if summary not in winners:
            sentences.append(
                f"{summary.method} ({summary.error}) is no better than the trivial "
                f"prediction ({number_text(floor)})."
            )
    for summary in summaries:
        if summary.failures:
            share = "every seed" if summary.error is None else f"{summary.failures} case(s)"
            sentences.append(f"{summary.method} failed in {share}: {summary.message}")
    return sentences


def _recommendation(winners: Sequence[Any], metric: str) -> str:
    best = winners[0]
    classical = [s for s in winners if s.kind == "classical"]
    # Within the spread of the best, the cheaper way is the better advice.
    if best.kind == "learned" and classical and best.error.high >= classical[0].error.median:
        tied = classical[0]
        return (
            f"Use {tied.method}: its error ({tied.error}) lies within the spread of "
            f"{best.method} ({best.error}), and it takes "
            f"{seconds_text(tied.seconds_total.median)} instead of "
            f"{seconds_text(best.seconds_total.median)}."
        )
    name = metric.replace("_", " ")
    return (
        f"Use {best.method}: {name} {best.error}, in "
        f"{seconds_text(best.seconds_run.median)} a solve "
        f"({seconds_text(best.seconds_total.median)} with everything before it)."
    )


def _on_learned(summary: Any) -> str:
    text = (
        f"{summary.method} reaches {summary.error} after "
        f"{seconds_text(summary.seconds_total.median)}"
    )
    same = summary.matched
    if math.isnan(summary.breakeven):
        return text + "."
    if same is None:
        return text + "; no classical solve here reaches that error."
    text += f"; {same.method} has this error in {seconds_text(same.seconds_run)} a solve"
    if summary.equal_time is not None:
        text += f", and in the same time reaches {number_text(summary.equal_time.value)}"
    if math.isinf(summary.breakeven):
        reason = (
            "a further solve costs more than the classical one"
            if summary.amortised
            else "it must be trained anew for each problem"
        )
        return f"{text}. It never pays for itself: {reason}."
    solves = "solve" if summary.breakeven <= 1 else "solves"
    return f"{text}. It has paid for itself after {summary.breakeven:.0f} {solves}."
