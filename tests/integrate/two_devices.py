"""Python with two devices, in a process of its own."""

import os
import subprocess
import sys

import jax


def failure(*arguments: str) -> str:
    """What it wrote last where it failed, else nothing.

    **Arguments:**

    - `arguments`: of Python, such as `-c` and a text.
    """
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = {
        **os.environ,
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.stderr[-2500:] or "failed" if done.returncode else ""
