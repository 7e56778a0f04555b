"""`continua generate`: a folder with the data, found again, gone on with, never half of it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from continua.cli import main
from continua.problems import load

ROOT = pathlib.Path(__file__).parents[2]
FAMILY = """
title = "Heat on a ring"
[equation]
unknowns = ["u"]
coordinates = ["t", "x"]
expressions = ["u_t = k*u_xx"]
[parameters]
k = 0.1
[domain]
t = [0.0, 0.5]
x = [0.0, 1.0]
[initial]
u = "sin(2*pi*x)"
[boundary]
x = "periodic"
[family]
num_points = 16
distribution = { kind = "gaussian", num_waves = 5 }
[family.parameters]
k = [0.01, 0.1]
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ring.toml"
    path.write_text(FAMILY)
    return path


def run(capsys, *words):
    code = main(["generate", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_file_becomes_a_folder_and_is_found_again(path, tmp_path, capsys):
    words = (path, "--samples", "6", "--out", tmp_path / "data", "--seed", "3")
    code, text, error = run(capsys, *words)
    assert (code, error) == (0, "")  # no bar off a terminal
    (folder,) = (tmp_path / "data").iterdir()
    assert folder.name.startswith("ring_family-")
    assert str(folder) in text.replace("\n", "")
    assert "6 samples" in text
    assert "samples a second" in text
    assert "estimated error" in text
    problem = load(folder)
    assert (problem.num_train, problem.seed, problem.inputs) == (5, 3, ("u", "k"))
    inputs, outputs = (np.asarray(a) for a in problem.data().train)
    decay = np.exp(-0.5 * inputs[:, 1, :1] * (2 * np.pi * np.arange(9)) ** 2)
    exact = np.fft.irfft(np.fft.rfft(inputs[:, 0]) * decay, 16)
    np.testing.assert_allclose(outputs[:, 0], exact, atol=1e-12)
    code, text, _ = run(capsys, *words)
    assert "nothing was solved anew" in text
    code, text, _ = run(capsys, *words, "--json")
    told = json.loads(text)
    assert (told["computed"], told["num_samples"]) == (0, 6)
    assert told["bytes"] == (folder / "data.h5").stat().st_size
    assert told["estimated_error"] < 1e-12
    assert told["samples_per_second"] > 0
    code, text, _ = run(capsys, *words, "--precision", "float32", "--batch", "2", "--json")
    assert json.loads(text)["estimated_error"] < 1e-5
    assert len(list((tmp_path / "data").iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["burgers_famly", "--samples", "3"], "did you mean 'burgers_family'"),
        (["nowhere.toml", "--samples", "3"], "nowhere.toml"),
        (["heat", "--samples", "3"], "'x' is not periodic"),
        (["lorenz", "--samples", "3"], "1 or 2 space axes"),
        (["pelt_counts", "--samples", "3"], "has no initial states to draw"),
        (["burgers_family", "--samples", "0"], "num_samples: got 0"),
        (["burgers_family", "--samples", "3", "--batch", "0"], "batch: got 0"),
        (["burgers_family", "--samples", "3", "--seed", "-1"], "family.seed: got -1"),
    ],
)
def test_bad_input_is_one_line(words, part, tmp_path, capsys):
    code, text, error = run(capsys, *words, "--out", tmp_path / "data")
    assert (code, text) == (2, "")
    assert error.startswith("continua: ")
    assert error.count("\n") == 1, error
    assert part in error
    assert not (tmp_path / "data").exists()


def test_words_that_no_command_takes(capsys):
    for words in (["generate"], ["generate", "heat", "--smaples", "3"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2


def test_an_interrupted_command_says_how_to_go_on(path, tmp_path, capsys, monkeypatch):
    from continua.problems import dataset

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "resolution", stop)
    code, _, error = run(capsys, path, "--samples", "3", "--out", tmp_path / "data")
    assert code == 1
    assert error == "continua: interrupted; the same command goes on from there\n"
    assert not (tmp_path / "data").exists()


def start(*words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "JAX_PLATFORMS": "cpu"}
    program = "import sys; from continua.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", program, "generate", *map(str, words)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(path, tmp_path, capsys):
    words = (path, "--samples", "200", "--batch", "2", "--json")
    killed = tmp_path / "killed"
    process = start(*words, "--out", killed)
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None:
        if len(list(killed.glob("*/parts/*.npz"))) >= 5:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not list(killed.glob("*/data.h5"))
    told = []
    for folder in (killed, tmp_path / "whole"):
        code, text, error = run(capsys, *words, "--out", folder)
        assert code == 0, error
        told.append(json.loads(text))
    assert told[0]["computed"] <= 192
    assert told[1]["computed"] == 200
    files = [h5py.File(pathlib.Path(t["folder"]) / "data.h5") for t in told]
    for name in ("inputs", "outputs", "parameters", "times"):
        np.testing.assert_array_equal(*(np.asarray(f[name]) for f in files))
    for file in files:
        file.close()


def test_help_does_not_wait_for_jax():
    program = (
        "import sys\nfrom continua.cli import main\n"
        "try: main(['generate', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit(', '.join({'jax', 'scipy', 'sympy', 'h5py'} & set(sys.modules)) or 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert "--samples" in found.stdout
