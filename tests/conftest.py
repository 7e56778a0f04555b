"""What every test runs under: double precision and strict type promotion."""

import os
import pathlib

# Most of the suite's time is compilation. The older emitters of XLA's compiler for CPUs, in
# one piece and without LLVM's dearest passes, take a third of the time for the same programs,
# which then run more slowly by less than that. `CONTINUA_TEST_COMPILER=default` tests under
# the compiler as users have it. Processes that tests start inherit all of this.
_QUICK = (
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_llvm_disable_expensive_passes=true",
)
if os.environ.get("CONTINUA_TEST_COMPILER", "quick") == "quick":
    os.environ["XLA_FLAGS"] = " ".join([*_QUICK, os.environ.get("XLA_FLAGS", "")]).strip()
# Compiled programs are kept between runs, and between the processes of one.
_CACHE = pathlib.Path(os.environ.get("CONTINUA_TEST_CACHE", ".cache/jax")).resolve()
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_CACHE)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# One commit, one outcome. `pytest --hypothesis-profile=default` looks for new cases.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture
def key():
    """A key for what is random in a test."""
    return jax.random.key(0)
