"""What every benchmark prints and writes: a table, targets with their verdict, and JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).parent / "results"
_PACKAGES: Final = ("maloca", "openvino-genai", "openvino", "torch", "sentence-transformers")
_FLAGS: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")


class Report:
    """Rows of measures, and targets that were met or not."""

    def __init__(self, name: str, title: str, columns: Sequence[str]) -> None:
        """Start a report.

        Args:
            name: The JSON file's name.
            title: The table's title.
            columns: Headings of the values; the first column is the measure's name.
        """
        self._name = name
        self._title = title
        self._columns = list(columns)
        self._rows: list[dict[str, Any]] = []
        self._targets: list[dict[str, Any]] = []

    def row(self, measure: str, *values: float | None, unit: str) -> None:
        """Add one value per column; None where a column has no such measure."""
        cells = dict(zip(self._columns, values, strict=True))
        self._rows.append({"measure": measure, "unit": unit} | cells)

    def target(self, measure: str, value: float, *, at_most: float, unit: str) -> None:
        """Add a target that a value must not exceed."""
        self._targets.append(
            {
                "measure": measure,
                "value": value,
                "target": f"<= {at_most:g}",
                "unit": unit,
                "met": value <= at_most,
            }
        )

    def at_least(self, measure: str, value: float, bound: float, *, unit: str) -> None:
        """Add a target that a value must reach."""
        self._targets.append(
            {
                "measure": measure,
                "value": value,
                "target": f">= {bound:g}",
                "unit": unit,
                "met": value >= bound,
            }
        )

    def finish(self) -> Path:
        """Print the tables, write the JSON, and return its path."""
        console = Console()
        facts = machine()
        console.print(f"{facts['cpu']}, {facts['cores']} cores, {' '.join(facts['flags'])}")
        table = Table(title=self._title)
        table.add_column("measure")
        for column in [*self._columns, "unit"]:
            table.add_column(column, justify="right")
        for row in self._rows:
            values = [_shown(row[column]) for column in self._columns]
            table.add_row(row["measure"], *values, row["unit"])
        console.print(table)
        for target in self._targets:
            verdict = "[green]pass[/]" if target["met"] else "[red]falls short[/]"
            console.print(
                f"{verdict}  {target['measure']}: {target['value']:.4g} {target['unit']} "
                f"(target {target['target']})"
            )
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self._name}.json"
        content = {"machine": facts, "rows": self._rows, "targets": self._targets}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        console.print(f"written to bench/results/{path.name}")
        return path


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def machine() -> dict[str, Any]:
    """Return what a reader needs to compare numbers."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = facts.get("flags", "").split()
    return {
        "cpu": facts.get("model name", platform.processor() or platform.machine()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
