"""What a benchmark ran on, for the columns of its CSV."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re


def describe_machine() -> dict[str, str | int | float]:
    """Processor, cores, memory in GB, system, versions and date."""
    packages = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")}
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        **packages,
        "date": datetime.date.today().isoformat(),
    }


def processor() -> str:
    """As /proc/cpuinfo calls it, else as Python does."""
    file = pathlib.Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.*)$", file.read_text() if file.exists() else "", re.MULTILINE)
    return found.group(1) if found else platform.processor() or platform.machine()
