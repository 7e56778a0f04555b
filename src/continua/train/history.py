"""The training curve: rows in memory and in `metrics.jsonl`."""

import json
import pathlib
from typing import Any


class Metrics:
    """Rows of a training curve, and their file where there is a run folder.

    Rows are flushed line by line; on resuming, rows after the checkpoint are dropped.

    **Arguments:**

    - `folder`: the run folder, or `None` to write nothing.
    """

    def __init__(self, folder: pathlib.Path | None):
        self.rows: list[dict[str, Any]] = []
        self.path = None if folder is None else folder / "metrics.jsonl"
        self._written = 0

    def add(self, **row: float | int) -> None:
        """Put a row at the end; earlier ones go to the file."""
        self.write()
        self.rows.append(row)

    def write(self) -> None:
        """Write the rows that are not in the file yet."""
        if self.path is None or self._written == len(self.rows):
            return
        with self.path.open("a") as file:
            for row in self.rows[self._written :]:
                file.write(json.dumps(row) + "\n")
        self._written = len(self.rows)

    def restart(self) -> None:
        """Begin an empty file."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("")

    def read(self, step: int) -> None:
        """Take back the rows up to a step, and cut the file there."""
        self.rows = []
        if self.path is None:
            return
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # a line that was being written when the run was killed
                break
            if row["step"] <= step:
                self.rows.append(row)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        temporary.replace(self.path)
        self._written = len(self.rows)
