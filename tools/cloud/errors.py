# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while the cloud is built, told to a person."""

from __future__ import annotations

import pathlib

_TAIL_BYTES = 16384


class DemoError(Exception):
    """A step failed; the message says what to do.

    :param message: one or two sentences for the person at the terminal.
    :param log_path: the log whose end explains the failure.
    """

    def __init__(self, message: str,
                 log_path: pathlib.Path | None = None) -> None:
        super().__init__(message)
        self.log_path = log_path


class Interrupted(DemoError):
    """Somebody wants the program to end; what went on was ended."""


def tail(path: pathlib.Path, lines: int = 20) -> list[str]:
    """The last lines of a log, none if it does not exist."""
    try:
        with open(path, 'rb') as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            text = log.read().decode('utf-8', 'replace')
    except FileNotFoundError:
        return []
    return [line.rstrip() for line in text.splitlines()[-lines:]]
