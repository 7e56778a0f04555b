"""Trees on disk: what goes in comes out, and nothing in a file is ever run."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.cost import Cost
from continua.core.errors import InputError, suggest
from continua.core.precision import precision
from continua.core.results import Result, ResultCode
from continua.core.serialise import load_tree, save_tree
from continua.nets import MLP


def through_a_file(tree: Any, folder) -> Any:
    save_tree(folder / "tree", tree)
    return load_tree(folder / "tree")


@pytest.mark.parametrize(
    "tree",
    [
        None,
        True,
        7,
        'text with "quotes" and ünïcode',
        0.1 + 0.2,
        float("inf"),
        float("-inf"),
        -0.0,
        (1, [2, "3"], {"a": (4.0,), 5: None}),
        Cost(training=1.25, evaluations=10**12),
        Result(ResultCode.diverged, "here", "there"),
    ],
)
def test_values_come_back(tree, tmp_path):
    back = through_a_file(tree, tmp_path)
    assert back == tree
    assert type(back) is type(tree)
    assert repr(back) == repr(tree)


def test_nan_comes_back(tmp_path):
    assert np.isnan(through_a_file(float("nan"), tmp_path))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int64", "bool", "uint32"])
def test_arrays_come_back_bitwise(dtype, tmp_path, key):
    bits = np.asarray(jax.random.normal(key, (3, 0, 2)) if dtype == "bool" else np.arange(6.0))
    array = bits.astype(dtype)
    back = through_a_file({"numpy": array, "jax": jnp.asarray(array)}, tmp_path)
    for value in back.values():
        assert value.dtype == array.dtype
        np.testing.assert_array_equal(value, array)
    assert isinstance(back["numpy"], np.ndarray)
    assert isinstance(back["jax"], jax.Array)


def test_double_precision_survives_a_single_precision_run(tmp_path):
    array = jnp.asarray([1 + 1e-15])
    save_tree(tmp_path / "tree", array)
    with precision("float32"):
        back = load_tree(tmp_path / "tree")
    assert back.dtype == jnp.float64
    assert float(back[0]) == 1 + 1e-15


def test_a_network_comes_back(tmp_path, key):
    net = MLP(2, 1, width=5, activation=jax.nn.gelu, key=key)
    back = through_a_file(net, tmp_path)
    assert eqx.tree_equal(net, back)
    assert back.activation is jax.nn.gelu
    x = jnp.asarray([0.3, -0.2])
    np.testing.assert_array_equal(back(x), net(x))


def test_a_function_of_the_package_comes_back(tmp_path):
    assert through_a_file({"f": suggest, "g": jnp.tanh}, tmp_path) == {"f": suggest, "g": jnp.tanh}


@dataclasses.dataclass(frozen=True)
class _Stranger:
    value: int = 1


@pytest.mark.parametrize("tree", [lambda x: x, np.linalg.norm, _Stranger(), {1, 2}, object()])
def test_what_a_file_cannot_hold(tree, tmp_path):
    with pytest.raises(TypeError, match="cannot hold"):
        save_tree(tmp_path / "tree", {"inside": [tree]})
    assert not (tmp_path / "tree.json").exists()


def write(folder, structure: Any) -> None:
    save_tree(folder / "tree", None)
    (folder / "tree.json").write_text(json.dumps(structure))


_CALLABLES: tuple[tuple[str, Callable[[str], dict]], ...] = (
    ("class", lambda path: {"class": path, "fields": {}}),
    ("function", lambda path: {"function": path}),
)


@pytest.mark.parametrize("node", [n for _, n in _CALLABLES], ids=[k for k, _ in _CALLABLES])
@pytest.mark.parametrize(
    "path",
    [
        "os:system",
        "subprocess:Popen",
        "builtins:eval",
        "continuax.evil:run",
        "continua.core.serialise:importlib.import_module",
        "continua.core.serialise:pathlib.Path",
        "continua.core.serialise:np.fromfile",
        "continua.core.serialise:json.decoder.JSONDecoder",
        "jax.numpy:__loader__",
        "",
    ],
)
def test_paths_out_of_the_package_are_refused(node, path, tmp_path):
    write(tmp_path, node(path))
    with pytest.raises(InputError, match="damaged"):
        load_tree(tmp_path / "tree")


def test_a_function_is_not_made_into_an_object(tmp_path):
    write(tmp_path, {"class": "continua.core.errors:suggest", "fields": {}})
    with pytest.raises(InputError, match="not a class of this package"):
        load_tree(tmp_path / "tree")


def test_pickled_arrays_are_refused(tmp_path):
    save_tree(tmp_path / "tree", np.arange(3))
    np.savez(tmp_path / "tree.npz", **{"0": np.asarray([object()], dtype=object)})
    with pytest.raises(InputError, match="damaged"):
        load_tree(tmp_path / "tree")


@pytest.mark.parametrize("suffix", ["json", "npz"])
@pytest.mark.parametrize("damage", ["cut", "noise", "gone"])
def test_damaged_files(suffix, damage, tmp_path):
    save_tree(tmp_path / "tree", {"a": np.arange(100.0), "b": Cost()})
    file = tmp_path / f"tree.{suffix}"
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"\xff\x00" * 50)
    match = "missing" if damage == "gone" else "damaged"
    with pytest.raises(InputError, match=match):
        load_tree(tmp_path / "tree")
