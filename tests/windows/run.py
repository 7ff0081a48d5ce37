#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All Windows tests, from Linux: ``tools/test windows``.

Makes the Windows Python (tools/wine-python) and runs in it: the unit tests,
os-win's functional tests, the way of plain nova-compute in both concurrency
modes; then the end-to-end test of the service. ``run.py [NAME ...]`` runs a
part. Ends with ``N passed, N failed, N skipped``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import os
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import wine as wines  # noqa: E402

_HERE = pathlib.Path(__file__).resolve().parent
_TOTALS = re.compile(r'^(\d+) passed, (\d+) failed, (\d+) skipped$', re.M)
_PARTS = 2          # of the unit tests, at the same time
_TIMEOUT_S = 1200
#: One version of Windows: Linux tests them all (tools/test os-win). Left out
#: is a test that makes a symbolic link, which Wine cannot tell from a file.
_OS_WIN = ('--windows', '2022', '--skip', 'test_attach_detach')


def commands(wine: wines.Wine) -> dict[str, list[list[str]]]:
    """Name of each part -> command lines that run at the same time."""
    def script(path: pathlib.Path, *words: str) -> list[str]:
        return wine.command('run', wines.windows_path(path), *words)

    units = [script(_HERE / 'units.py', '--part', f'{number}/{_PARTS}')
             for number in range(1, _PARTS + 1)]
    os_win = wines.CHECKOUT_DIR / 'tools' / 'os-win-functional'
    return {
        'modes': [script(_HERE / 'modes.py', mode) for mode in '10'],
        'units': units,
        'os-win': [script(os_win, *_OS_WIN)],
        'endtoend': [[sys.executable, str(_HERE / 'endtoend.py')]]}


def run_part(name: str, lines: Sequence[Sequence[str]],
             log_dir: pathlib.Path, wine: wines.Wine
             ) -> tuple[int, int, int]:
    """Run a part's commands together; passed, failed, skipped.

    A part of which a command ended badly without a result has met the end
    of Wine's server, which happens; it is run once more, and that is said.
    """
    began = time.monotonic()
    ended = run_together(name, lines, log_dir)
    if any(code and not _TOTALS.search(plain(path)) for path, code in ended):
        print(f'{name}: no result (did Wine end?); once more', flush=True)
        wine.call('stop')
        ended = run_together(name, lines, log_dir)
    totals = [0, 0, 0]
    for path, code in ended:
        found = counts(plain(path), code)
        totals = [one + other for one, other in zip(totals, found)]
        if code or found[1]:
            print(f'--- {path} (exit code {code}), its end:')
            print('\n'.join(plain(path).splitlines()[-80:]))
    print(f'{name}: {totals[0]} passed, {totals[1]} failed, {totals[2]} '
          f'skipped in {time.monotonic() - began:.0f} s', flush=True)
    return totals[0], totals[1], totals[2]


def run_together(name: str, lines: Sequence[Sequence[str]],
                 log_dir: pathlib.Path) -> list[tuple[pathlib.Path, int]]:
    """Run commands at the same time; log and exit code of each."""
    began = time.monotonic()
    running = []
    for number, line in enumerate(lines):
        path = log_dir / f'windows-{name}-{number}.log'
        with open(path, 'wb') as log:
            running.append((path, subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT)))
    ended = []
    for path, process in running:
        try:
            code = process.wait(timeout=max(
                1.0, _TIMEOUT_S + began - time.monotonic()))
        except subprocess.TimeoutExpired:
            code = end(process)
        ended.append((path, code))
    return ended


def plain(path: pathlib.Path) -> str:
    """A log, with this machine's ends of lines."""
    return path.read_text(errors='replace').replace('\r', '')


def end(process: subprocess.Popen[bytes]) -> int:
    """End a part that takes too long; the cloud goes down in order."""
    process.terminate()
    try:
        return process.wait(timeout=60) or 1
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait() or 1


def counts(text: str, code: int) -> tuple[int, int, int]:
    """What a log says, or one check that passed or failed."""
    found = _TOTALS.findall(text)
    passed, failed, skipped = map(int, found[-1]) if found else (
        0 if code else 1, 0, 0)
    # A runner that ended badly without counting a failure has failed too.
    return passed, failed or int(bool(code)), skipped


def main() -> int:
    """Run the parts; gives the exit code."""
    wine = wines.Wine()
    parts = commands(wine)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--log-dir', type=pathlib.Path,
                        default=pathlib.Path.cwd())
    parser.add_argument('parts', nargs='*', metavar='NAME',
                        help=', '.join(parts))
    args = parser.parse_args()
    subprocess.run(wine.command('setup'), check=True,
                   env={**os.environ, 'PYTHON': sys.executable})
    wine.become_plain()
    passed = failed = skipped = 0
    for name in args.parts or parts:
        found = run_part(name, parts[name], args.log_dir, wine)
        passed += found[0]
        failed += found[1]
        skipped += found[2]
    wine.call('stop')
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
