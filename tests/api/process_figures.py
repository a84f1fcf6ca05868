"""What the kernel knows of a process: its memory, and how much it has written."""

from __future__ import annotations

from pathlib import Path

_FORGET_THE_PEAK = "5"  # proc(5), clear_refs


def forget_peak(pid: int) -> int:
    """Count the peak of a process's memory from now on; give what it has now, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text(_FORGET_THE_PEAK)
    return peak_bytes(pid)


def peak_bytes(pid: int) -> int:
    """Give the most resident memory it has had since `forget_peak`."""
    return _figure(pid, "status", "VmHWM") * 1024


def written_bytes(pid: int) -> int:
    """Give what it has written so far: to files, pipes and logs, sockets left out.

    Written to a socket with write(2), which uvloop does, it counts, too.
    """
    return _figure(pid, "io", "wchar")


def _figure(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines()
    (found,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(found.split()[1])
