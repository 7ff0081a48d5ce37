# SPDX-License-Identifier: Apache-2.0
"""Programs of the Windows machine that tools/wine-python makes."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess

CHECKOUT_DIR = pathlib.Path(__file__).resolve().parents[2]
TOOL = CHECKOUT_DIR / 'tools' / 'wine-python'
_HERE = pathlib.Path(__file__).resolve().parent


class Failed(Exception):
    """A program of Windows ended with an error."""


def windows_path(path: pathlib.Path) -> str:
    """What a path of this machine is called there."""
    return 'Z:' + str(path).replace('/', '\\')


class Wine:
    """The Windows machine of this checkout (or of WINE_PYTHON_DIR)."""

    def __init__(self) -> None:
        self.folder = pathlib.Path(subprocess.check_output(
            [str(TOOL), 'where'], text=True).strip())
        self.site_dir = self.folder / 'python' / 'site-packages'

    def command(self, *words: str) -> list[str]:
        """The command line of tools/wine-python."""
        return [str(TOOL), '--dir', str(self.folder), *words]

    def call(self, *words: str, timeout_s: float = 300) -> tuple[int, str]:
        """Run a command of tools/wine-python: exit code and output."""
        done = subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            timeout=timeout_s, errors='replace')
        return done.returncode, done.stdout.replace('\r', '')

    def run(self, *words: str, timeout_s: float = 300) -> str:
        """The output of a command.

        :raises Failed: it did not end with 0.
        """
        code, text = self.call(*words, timeout_s=timeout_s)
        if code:
            raise Failed(f'{" ".join(words)}: exit code {code}\n{text}')
        return text

    def become_a_host(self, address: str, name: str) -> None:
        """Make nova-compute there find a simulated host."""
        for path in (_HERE / 'this_machine.py',):
            (self.site_dir / path.name).write_bytes(path.read_bytes())
        (self.site_dir / 'this_machine.json').write_text(
            json.dumps({'socket': address, 'host': name}))

    def become_plain(self) -> None:
        """Undo :meth:`become_a_host`."""
        for name in ('this_machine.py', 'this_machine.json'):
            (self.site_dir / name).unlink(missing_ok=True)

    def service(self, *words: str, timeout_s: float = 300
                ) -> tuple[int, str]:
        """compute-hyperv-service: exit code and output."""
        return self.call('run', '-m', 'compute_hyperv.service.cli', *words,
                         timeout_s=timeout_s)

    def service_state(self, name: str) -> tuple[str, int]:
        """State and exit code that the service manager has of a service."""
        text = self.run('sh', 'sc.exe', 'query', name)
        state = re.search(r'STATE\s*:\s*\d+\s+(\w+)', text)
        code = re.search(r'WIN32_EXIT_CODE\s*:\s*(\d+)', text)
        if state is None or code is None:
            raise Failed(f'sc query says: {text}')
        return state[1], int(code[1])
