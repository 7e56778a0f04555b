"""Comparison of methods: records, cases, curves, verdicts and the report."""

from continua.compare.analysis import Summary, breakeven, curve, matched, summarise, verdict
from continua.compare.comparison import Comparison, compare
from continua.compare.record import Record, read_records, records_of, write_records
from continua.compare.score import main_metric, reference_for, score

__all__ = [
    "Comparison",
    "Record",
    "Summary",
    "breakeven",
    "compare",
    "curve",
    "main_metric",
    "matched",
    "read_records",
    "records_of",
    "reference_for",
    "score",
    "summarise",
    "verdict",
    "write_records",
]
