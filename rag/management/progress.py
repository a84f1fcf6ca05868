"""How far a command is: a bar where somebody looks, lines of text elsewhere."""

from __future__ import annotations

from django.core.management.base import OutputWrapper

WIDTH = 30
CLEARED = "\r\x1b[2K"  # to the line's beginning, and nothing behind it


class Progress:
    """Writes lines, and below them a bar where the stream is a terminal."""

    def __init__(self, stream: OutputWrapper) -> None:
        """`stream` is what is written to."""
        self._stream = stream
        self._is_shown = stream.isatty()
        self._bar = ""

    def line(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        cleared = CLEARED if self._bar else ""
        self._write(f"{cleared}{text}\n{self._bar}")

    def note(self, text: str) -> None:
        """Write a line where there is no bar that says as much."""
        if not self._is_shown:
            self.line(text)

    def show(self, share: float, text: str) -> None:
        """Draw the bar; `share` is from 0 to 1. Nothing where nobody looks."""
        if not self._is_shown:
            return
        full = int(share * WIDTH)
        bar = f"[{'#' * full}{'.' * (WIDTH - full)}] {int(share * 100):3}% {text}"
        if bar != self._bar:
            self._bar = bar
            self._write(f"{CLEARED}{bar}")

    def end(self) -> None:
        """Take the bar away; may be called again."""
        if self._bar:
            self._bar = ""
            self._write(CLEARED)

    def _write(self, text: str) -> None:
        # Neither in the colour of an error nor with a line's end of Django's.
        self._stream.write(text, str, "")
        self._stream.flush()
