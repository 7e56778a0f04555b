"""Figures as files and as text that a page can carry."""

import base64
import io
import pathlib
from typing import Any


def save_figure(figure: Any, path: pathlib.Path) -> None:
    """Write a figure; the folder is made where it is missing.

    **Arguments:**

    - `figure`: of matplotlib.
    - `path`: its ending names the format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def data_uri(figure: Any) -> str:
    """A figure as a PNG in a `data:` address, for a page that needs no other file.

    **Arguments:**

    - `figure`: of matplotlib.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
