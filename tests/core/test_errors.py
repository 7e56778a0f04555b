"""Errors, results and precision: what a user reads."""

import jax
import jax.numpy as jnp
import pytest

from continua.core.errors import InputError, suggest
from continua.core.precision import current_precision, precision
from continua.core.results import Result, ResultCode


def test_error_is_one_line_with_place_cause_and_fix():
    error = InputError("got 3,\n   expected 2", where="file.toml: [domain]", fix="write\ntwo")
    assert str(error) == "file.toml: [domain]: got 3, expected 2; write two"
    assert (error.cause, error.where) == ("got 3,\n   expected 2", "file.toml: [domain]")


def test_error_without_place_or_fix():
    assert str(InputError("empty")) == "empty"


def test_error_takes_an_outer_place():
    inner = InputError("empty", where="[domain]", fix="fill it")
    assert str(inner.at("file.toml")) == "file.toml: [domain]: empty; fill it"
    assert str(InputError("empty").at("file.toml")) == "file.toml: empty"


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("PINM", ["PINN", "FNO"], "did you mean 'PINN'?"),
        ("zzz", ["b", "a"], "known: a, b"),
        ("zzz", [], "none are declared"),
    ],
)
def test_suggestions(name, known, text):
    assert suggest(name, known) == text


def test_result_text():
    assert str(Result()) == "success"
    failed = Result(ResultCode.diverged, "at step 12", "smaller steps")
    assert str(failed) == "diverged: at step 12 (try: smaller steps)"


@pytest.mark.parametrize("code", list(ResultCode))
def test_usable_results(code):
    assert Result(code).ok == (code in ("success", "budget_spent"))


def test_precision_holds_for_a_block_alone():
    before = dict(jax.config.values)
    for name in ("float32", "float64"):
        with precision(name):
            assert current_precision() == name
            assert jnp.ones(()).dtype == name
            assert jax.config.jax_default_matmul_precision == "highest"
    assert dict(jax.config.values) == before


def test_precision_is_given_back_after_an_error():
    with pytest.raises(ZeroDivisionError), precision("float32"):
        _ = 1 / 0
    assert current_precision() == "float64"


def test_unknown_precision():
    with (
        pytest.raises(InputError, match="unknown precision 'float46'; did you mean 'float64'"),
        precision("float46"),
    ):
        pass
