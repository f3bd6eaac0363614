"""Result files of benchmarks, from which the tables of the documentation are generated.

command     as it was typed
machine     see `machine`
date        year-month-day
rows        as in ``--format json``
"""

import json
import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from audiostride.files import replace_when_complete
from audiostride.tables import rounded


def save_result(file: Path, command: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of a benchmark, with the command, the machine and today's date, as JSON.

    Args:
        file: the file to write or replace. Its folder is created if it is missing.
        command: the command that made the rows.
        rows: the rows, see `audiostride.bench`.
    """
    result = {
        "command": command,
        "machine": machine(),
        "date": date.today().isoformat(),
        "rows": [rounded(row) for row in rows],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_complete(file) as new:
        new.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Return the models of "processor" and "gpu", numbers of "cores" and "threads", version of "torch"."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


def _processor() -> str:
    """Return the model of the processor as Linux names it, elsewhere its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return model[1] if model else platform.processor() or platform.machine()
