"""Trees on disk as JSON structure and an .npz of arrays: no pickles, no code run.

A tree is made of arrays, numbers, strings, `None`, tuples, lists, dictionaries,
enumerations and dataclasses of this package (equinox modules included) and named functions of
`jax.nn`, `jax.numpy` and this package.
"""

import dataclasses
import enum
import importlib
import json
import pathlib
import types
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.errors import InputError

_FUNCTION_MODULES = ("jax.nn", "jax.numpy")


def save_tree(stem: str | pathlib.Path, tree: Any) -> None:
    """Write `stem.json` and `stem.npz`.

    **Raises:** `TypeError` for a leaf that a file cannot hold (a closure, say).
    """
    arrays: list[np.ndarray] = []
    structure = _encode(tree, arrays, "tree")
    stem = pathlib.Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {str(i): array for i, array in enumerate(arrays)}
    np.savez(stem.with_suffix(".npz"), **named)
    stem.with_suffix(".json").write_text(json.dumps(structure, indent=1))


def load_tree(stem: str | pathlib.Path) -> Any:
    """Read back what `save_tree` wrote; only classes of this package are made.

    **Raises:** `InputError` where a file is missing or damaged.
    """
    stem = pathlib.Path(stem)
    try:
        structure = json.loads(stem.with_suffix(".json").read_text())
        with (
            stem.with_suffix(".npz").open("rb") as content,
            np.load(content, allow_pickle=False) as file,
        ):
            arrays = [file[str(i)] for i in range(len(file.files))]
        with jax.enable_x64(True):  # a float64 array must not be narrowed
            return _decode(structure, arrays)
    except FileNotFoundError as error:
        raise InputError(
            "file is missing",
            where=str(error.filename),
            fix="point to a folder that a finished run or `save` wrote",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"file is damaged ({type(error).__name__}: {error})",
            where=str(stem),
            fix="make it again from its run or problem",
        ) from error


def _encode(tree: Any, arrays: list[np.ndarray], where: str) -> Any:
    if isinstance(tree, enum.Enum):
        return {"enum": _path_of(type(tree), where), "value": tree.value}
    if tree is None or isinstance(tree, (bool, int, str)):
        return tree
    if isinstance(tree, float):
        return {"float": repr(tree)}
    if isinstance(tree, (np.ndarray, np.generic, jax.Array)):
        arrays.append(np.asarray(tree))
        return {"array": len(arrays) - 1, "jax": isinstance(tree, jax.Array)}
    if isinstance(tree, (tuple, list)):
        items = [_encode(x, arrays, f"{where}[{i}]") for i, x in enumerate(tree)]
        return {type(tree).__name__: items}
    if isinstance(tree, (dict, types.MappingProxyType)):
        return {"dict": [[k, _encode(v, arrays, f"{where}.{k}")] for k, v in tree.items()]}
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = {
            field.name: _encode(getattr(tree, field.name), arrays, f"{where}.{field.name}")
            for field in dataclasses.fields(tree)
        }
        return {"class": _path_of(type(tree), where), "fields": fields}
    if callable(tree):
        return {"function": _path_of(tree, where)}
    raise TypeError(f"{where}: a file cannot hold a {type(tree).__name__}")


def _path_of(thing: Any, where: str) -> str:
    for module in _FUNCTION_MODULES:
        name = getattr(thing, "__name__", "")
        if getattr(importlib.import_module(module), name, None) is thing:
            return f"{module}:{name}"
    module = getattr(thing, "__module__", "") or ""
    name = getattr(thing, "__qualname__", "")
    if module.split(".")[0] == "continua" and "<" not in name:
        return f"{module}:{name}"
    raise TypeError(f"{where}: a file cannot hold {thing!r}")


def _find(path: str) -> Any:
    module, _, name = path.partition(":")
    if module not in _FUNCTION_MODULES and module.split(".")[0] != "continua":
        raise ValueError(f"'{path}' does not belong to this package")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    # A path may not lead on through what a module of this package has imported.
    try:
        home = _path_of(found, path)
    except TypeError:
        home = ""
    if home != path:
        raise ValueError(f"'{path}' does not belong to this package")
    return found


def _decode(node: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(node, dict):
        return node
    if "float" in node:
        return float(node["float"])
    if "array" in node:
        array = arrays[node["array"]]
        return jnp.asarray(array) if node["jax"] else array
    if "tuple" in node:
        return tuple(_decode(item, arrays) for item in node["tuple"])
    if "list" in node:
        return [_decode(item, arrays) for item in node["list"]]
    if "dict" in node:
        return {key: _decode(value, arrays) for key, value in node["dict"]}
    if "enum" in node:
        kind = _find(node["enum"])
        if not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
            raise ValueError(f"'{node['enum']}' is not an enumeration of this package")
        return kind(node["value"])
    if "function" in node:
        return _find(node["function"])
    cls = _find(node["class"])
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ValueError(f"'{node['class']}' is not a class of this package")
    new = object.__new__(cls)
    for name, value in node["fields"].items():
        object.__setattr__(new, name, _decode(value, arrays))
    return new
