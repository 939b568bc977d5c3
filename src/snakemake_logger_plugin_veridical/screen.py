"""Lines for a terminal, of which the last may be replaced, or plain lines where there is none."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TextIO


class Screen:
    """Where progress is shown.

    Arguments:
        stream: The terminal, or a file or pipe, which gets plain lines and no control characters.
        plain: Whether a terminal, too, gets plain lines, as it does with `NO_COLOR` and `TERM=dumb`.
    """

    def __init__(self, stream: TextIO, plain: bool = False) -> None:
        self.stream = stream
        plain = plain or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self.live = stream.isatty() and not plain
        self._shown = False

    def say(self, text: str) -> None:
        """Writes lines that stay."""
        self._write(("\r\033[K" if self._shown else "") + _printable(text) + "\n")
        self._shown = False

    def show(self, line: str) -> None:
        """Writes a line that the next one replaces, cut at the width of the terminal."""
        self._write(f"\r{_printable(line)[: self._width() - 1]}\033[K")
        self._shown = True

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except OSError:
            return 80

    def _write(self, text: str) -> None:
        encoding = self.stream.encoding or "utf-8"
        with suppress(OSError):  # nobody reads any more, which is no reason to end a study
            self.stream.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
            self.stream.flush()


def _printable(text: str) -> str:
    """Other control characters than line ends and tabs as escapes."""
    kept = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return "".join(kept)
