# SPDX-License-Identifier: Apache-2.0
"""Run the console examples of the documentation against a cloud."""

from __future__ import annotations

from collections.abc import Iterator
import doctest
import functools
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from cloud import client as clients
from cloud import doctext
from cloud import errors
from cloud import layout as layouts
from cloud import processes
from cloud import warm

PAGES_DIR = layouts.CHECKOUT_DIR / 'doc' / 'source'
_TIMEOUT_S = 180
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_CHECKER = doctest.OutputChecker()
_HERE = pathlib.Path(__file__).resolve().parent
#: States of volumes and images in which something is under way.
_BUSY = frozenset((
    'creating', 'downloading', 'attaching', 'detaching', 'extending',
    'uploading', 'deleting', 'reserved', 'backing-up', 'saving', 'queued',
    'importing', 'retyping'))
#: A guest reaches the metadata service through Neutron; nothing runs in a
#: simulated one, so its curl is run here, with what Neutron would add.
_CURL = '''#!/bin/sh
for word; do url=$word; done
case $url in http://169.254.169.254/*) ;; *) exit 7 ;; esac
exec {python} -I {fetch} "{base}${{url#http://169.254.169.254}}"
'''
_OPENSTACK = '''#!/bin/sh
exec {python} -I {warm} run "$@"
'''


class Runner:
    """Runs pages in one cloud, one after the other."""

    def __init__(self, layout: layouts.Layout, settings: layouts.Settings,
                 client: clients.Client) -> None:
        self._layout = layout
        self._client = client
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix='examples-'))
        self._before = {kind: {one['id'] for one in self._all(kind)}
                        for kind in ('servers', 'volumes', 'images')}
        python = shlex.quote(sys.executable)
        for name, text in (
                ('bin/openstack', _OPENSTACK.format(
                    python=python, warm=shlex.quote(warm.__file__))),
                ('guest/curl', _CURL.format(
                    python=python, fetch=shlex.quote(str(_HERE / 'fetch.py')),
                    base=settings.url('metadata')))):
            path = self._folder / name
            path.parent.mkdir()
            path.write_text(text)
            path.chmod(0o700)

    def run(self, page: pathlib.Path) -> int:
        """Run the commands of a page.

        :returns: how many there were.
        :raises DemoError: one fails, or prints something else.
        """
        count = 0
        for example in doctext.examples(page):
            if example.language == doctext.CONSOLE:
                for command in doctext.commands(example):
                    self._check(command)
                    count += 1
        return count

    def close(self) -> None:
        """Delete what the examples made."""
        for kind, words in (('servers', ['server', 'delete']),
                            ('volumes', ['volume', 'delete']),
                            ('images', ['image', 'delete'])):
            if self._made(kind):
                self._client.run(*words, *self._made(kind))
            processes.until(functools.partial(self._has_none, kind),
                            _TIMEOUT_S,
                            f'the {kind} of the examples are deleted')
        shutil.rmtree(self._folder)

    def _made(self, kind: str) -> list[str]:
        return [one['id'] for one in self._all(kind)
                if one['id'] not in self._before[kind]]

    def _has_none(self, kind: str) -> bool:
        return not self._made(kind)

    def _check(self, command: doctext.Command) -> None:
        where = f'{command.path.name}, line {command.line}'
        log = processes.open_log(self._layout, 'examples', [
            f'# {where}\n$ {command.text}'])
        with log, tempfile.TemporaryFile() as answer:
            code = self._execute(command, answer, log)
            answer.seek(0)
            raw = answer.read()
            log.write(raw)
        shown = raw.decode('utf-8', 'replace')
        log_path = pathlib.Path(log.name)
        if code:
            raise errors.DemoError(f'{where}: "{command.text}" failed with '
                                   f'code {code}.', log_path)
        if command.expected and not _CHECKER.check_output(
                command.expected + '\n', shown, _FLAGS):
            raise errors.DemoError(
                f'{where}: "{command.text}" should print\n'
                f'{command.expected}\nbut prints\n{shown}', log_path)
        self._settle(where)

    def _execute(self, command: doctext.Command, answer: Any,
                 log: Any) -> int:
        fd = self._client.openstack.socket().fileno()
        env = processes.environment(self._layout, {
            **self._client.openstack.env, warm.VARIABLE: str(fd),
            'HYPERV_SIM_SOCKET': f'{self._layout.fabric_dir}/socket'})
        tools = 'bin'
        if command.guest:
            tools = 'guest'
            env['METADATA_HEADERS'] = '\n'.join(
                f'{name}: {value}' for name, value in
                self._client.metadata_headers(command.guest).items())
        env['PATH'] = f'{self._folder / tools}:{env["PATH"]}'
        try:
            return subprocess.run(
                ['bash', '-eu', '-o', 'pipefail', '-c', command.text],
                stdin=subprocess.DEVNULL, stdout=answer, stderr=log, env=env,
                cwd=self._folder, pass_fds=[fd], timeout=_TIMEOUT_S,
                check=False).returncode
        except subprocess.TimeoutExpired:
            return 124

    def _settle(self, where: str) -> None:
        """Wait until nothing is under way: readers take longer to type."""
        def quiet() -> bool:
            servers = self._all('servers')
            for server in servers:
                if server['status'] == 'ERROR':
                    raise errors.DemoError(
                        f'{where}: {server["name"]} is in ERROR: '
                        f'{server.get("fault", {}).get("message")}')
            moves = self._client.api.get('nova', '/os-migrations')
            return not (
                any(one['OS-EXT-STS:task_state'] for one in servers) or
                any(one['status'] in clients.MOVING
                    for one in moves['migrations']) or
                any(one['status'] == 'available' and one['id'] in
                    self._client.attached() for one in self._all('volumes'))
                or
                any(one['status'] in _BUSY for kind in ('volumes', 'images')
                    for one in self._all(kind)))

        processes.until(quiet, _TIMEOUT_S, f'{where}: all is quiet again')

    def _all(self, kind: str) -> list[dict[str, Any]]:
        api = self._client.api
        service, path = {
            'servers': ('nova', '/servers/detail?all_tenants=1'),
            'volumes': ('cinder', f'/{api.login()[1]}/volumes/detail'),
            'images': ('glance', '/images')}[kind]
        found: list[dict[str, Any]] = api.get(service, path)[kind]
        return found


def pages() -> Iterator[pathlib.Path]:
    """Those with console examples, in the order of the table of contents."""
    for page in doctext.pages(PAGES_DIR):
        if page.exists() and any(
                example.language == doctext.CONSOLE
                for example in doctext.examples(page)):
            yield page
