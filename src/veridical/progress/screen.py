"""Lines for a terminal, of which the last may be replaced, or plain lines where there is none."""

from __future__ import annotations

import os
import shutil
from typing import TextIO

from veridical.job import printable


class Screen:
    """Where progress is shown.

    Arguments:
        stream: The terminal, or a file or pipe, which gets plain lines and no control characters.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = False

    def say(self, text: str) -> None:
        """Writes lines that stay."""
        self.clear()
        self._write(printable(text) + "\n")

    def show(self, line: str) -> None:
        """Writes a line that the next one replaces; on a terminal only."""
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r{printable(line)[:width]}\033[K")
            self._shown = True

    def clear(self) -> None:
        """Removes the line that is to be replaced."""
        if self._shown:
            self._write("\r\033[K")
            self._shown = False

    def _write(self, text: str) -> None:
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
        self.stream.flush()
