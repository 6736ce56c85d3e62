"""What a server has used: CPU seconds and memory of a process and all that it started."""

import os
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def tree(root):
    """Process ids: `root` and its descendants."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(entry.name)
            if fields is not None:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu(root):
    """Seconds of a core, user and system, of the tree; of ended children as far as they were waited for."""
    ticks = 0
    for pid in tree(root):
        fields = _stat(pid)
        if fields is not None:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICK


def by_thread(pid):
    """Seconds of a core by thread name, of the process alone; threads that have ended are missing."""
    used = {}
    for entry in Path(f"/proc/{pid}/task").iterdir():
        fields = _stat(f"{pid}/task/{entry.name}")
        if fields is not None:
            name = (entry / "comm").read_text().strip()
            used[name] = used.get(name, 0) + (int(fields[11]) + int(fields[12])) / TICK
    return used


@dataclass
class Memory:
    """KiB of the tree. `pss` divides what processes share; `rss` counts it once for each."""

    rss: int
    pss: int


def memory(root):
    rss = pss = 0
    for pid in tree(root):
        try:
            rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {row.split(":")[0]: int(row.split()[1]) for row in rows if row.endswith(" kB")}
        rss, pss = rss + sizes.get("Rss", 0), pss + sizes.get("Pss", 0)
    return Memory(rss, pss)


def _stat(pid):
    """Fields of /proc/PID/stat after the name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
