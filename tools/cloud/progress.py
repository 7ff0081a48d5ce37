# SPDX-License-Identifier: Apache-2.0
"""Progress for people: one line per finished step, with its time.

On a terminal a last line shows what is running and for how long; elsewhere
(a CI log) only finished lines are printed.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import shutil
import sys
import threading
import time
from typing import TextIO

from cloud import errors

_COLOURS = {'ok': '32', 'FAIL': '31', 'stop': '33', 'title': '1', 'dim': '2'}


class Step:
    """A running step.

    :ivar note: becomes the right-hand part of its line.
    :ivar hidden: print no line, unless it fails.
    :ivar detail: how far it is, for the live line.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.note = self.detail = ''
        self.hidden = False
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started


class Progress:
    """Prints steps; safe to use from several threads."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._lock = threading.Lock()
        self._running: list[Step] = []
        self._live = self._out.isatty()
        self._colour = self._live and 'NO_COLOR' not in os.environ
        self._stop = threading.Event()
        self.started = time.monotonic()
        if self._live:
            threading.Thread(target=self._tick, name='progress',
                             daemon=True).start()

    def close(self) -> None:
        """Stop the live line."""
        self._stop.set()
        with self._lock:
            self._wipe()

    def paint(self, text: str, colour: str) -> str:
        """*text* in a colour, if the terminal shows colours."""
        if not self._colour:
            return text
        return f'\033[{_COLOURS[colour]}m{text}\033[0m'

    def title(self, text: str) -> None:
        """A heading with an empty line before it."""
        self.say('')
        self.say(self.paint(text, 'title'))

    def say(self, text: str = '') -> None:
        """Print lines between the steps."""
        with self._lock:
            self._wipe()
            print(text, file=self._out, flush=True)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time a block; prints its line when it ends, also by an error."""
        step = Step(title)
        with self._lock:
            self._running.append(step)
        verdict = 'FAIL'
        try:
            yield step
            verdict = 'ok'
        except (errors.Interrupted, KeyboardInterrupt):
            verdict = 'stop'
            raise
        finally:
            with self._lock:
                self._running.remove(step)
            if verdict != 'ok' or not step.hidden:
                self.line(verdict, step.seconds, title, step.note)

    def line(self, verdict: str, seconds: float | None, title: str,
             note: str = '') -> None:
        """One aligned line: verdict, seconds, what, remark."""
        spent = '' if seconds is None else f'{seconds:6.1f} s'
        mark = self.paint(f'{verdict:>4}', verdict)
        remark = self.paint(note, 'dim')
        self.say(f'{mark} {spent:>8}  {title:<33} {remark}'.rstrip())

    def _tick(self) -> None:
        while not self._stop.wait(0.5):
            with self._lock:
                if self._running and not self._stop.is_set():
                    self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns
        now = ', '.join(f'{step.title} {step.detail} {step.seconds:.0f} s'
                        .replace('  ', ' ') for step in self._running)
        self._out.write(f'\r\033[K ... {now}'[:width + 3])
        self._out.flush()

    def _wipe(self) -> None:
        if self._live:
            self._out.write('\r\033[K')
