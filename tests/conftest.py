"""What every test runs under: double precision and strict type promotion."""

import os
import pathlib

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Compiled programs are kept between runs: most of the suite's time is compilation.
_CACHE = pathlib.Path(os.environ.get("CONTINUA_TEST_CACHE", ".cache/jax"))
jax.config.update("jax_compilation_cache_dir", str(_CACHE.resolve()))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.fixture
def key():
    """A key for what is random in a test."""
    return jax.random.key(0)
