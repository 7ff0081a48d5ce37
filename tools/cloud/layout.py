# SPDX-License-Identifier: Apache-2.0
"""Where everything lies, and the choices that a cloud keeps for its life."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import secrets
import shlex
import socket
import zlib

from cloud import errors

CHECKOUT_DIR = pathlib.Path(__file__).resolve().parents[2]
#: where a cloud is without "--dir"
DEFAULT_DIR = CHECKOUT_DIR / '.demo'

#: offset of every service from the cloud's first port
PORTS = {'keystone': 0, 'placement': 1, 'glance': 2, 'neutron': 3, 'nova': 4,
         'cinder': 5, 'mariadb': 6, 'rabbitmq': 7, 'rabbitmq-dist': 8,
         'epmd': 9, 'serialproxy': 10, 'metadata': 11}
#: the simulated consoles of one node, from this offset on, per node
CONSOLE_PORTS = 20
CONSOLE_PORTS_PER_NODE = 20
PORT_SPAN = 60
FIRST_PORT = 23300
LAST_PORT = 32000
NODES = ('HV1', 'HV2')


@dataclasses.dataclass(frozen=True)
class Layout:
    """The folders of one cloud. Everything is below ``base_dir``.

    :ivar base_dir: the user's folder; holds the venv and the clouds.
    :ivar name: which cloud of that folder: ``cloud``, or ``check`` for
        the one that ``tools/demo check`` makes and removes.
    """

    base_dir: pathlib.Path
    name: str = 'cloud'

    @property
    def root_dir(self) -> pathlib.Path:
        """This cloud's own folder."""
        return self.base_dir / self.name

    @property
    def venv_dir(self) -> pathlib.Path:
        """The Python environment, shared by the clouds of a folder."""
        return self.base_dir / 'venv'

    @property
    def etc_dir(self) -> pathlib.Path:
        """Configuration files."""
        return self.root_dir / 'etc'

    @property
    def log_dir(self) -> pathlib.Path:
        """One log per process."""
        return self.root_dir / 'log'

    @property
    def run_dir(self) -> pathlib.Path:
        """Records of the running processes."""
        return self.root_dir / 'run'

    @property
    def data_dir(self) -> pathlib.Path:
        """Databases, images, volumes, the nodes' state."""
        return self.root_dir / 'data'

    @property
    def fabric_dir(self) -> pathlib.Path:
        """The simulated hosts: their description, disks and socket."""
        return self.root_dir / 'fabric'

    @property
    def openrc_path(self) -> pathlib.Path:
        """Credentials to source in a shell."""
        return self.root_dir / 'openrc'

    def command(self, words: str) -> str:
        """What a person types for this cloud: ``tools/demo`` and *words*."""
        if self.base_dir == DEFAULT_DIR:
            return f'tools/demo {words}'
        return f'tools/demo {words} --dir {shlex.quote(str(self.base_dir))}'

    def program(self, name: str) -> str:
        """The path of a program of the venv."""
        return str(self.venv_dir / 'bin' / name)

    def make_dirs(self) -> None:
        """Create the folders; what is inside is for their owner only."""
        for folder in (self.etc_dir, self.log_dir, self.run_dir,
                       self.data_dir, self.fabric_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self.root_dir.chmod(0o700)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a cloud keeps from its first start to its end.

    :ivar first_port: base of the port numbers, see ``PORTS``.
    :ivar admin_password: of the user ``admin``.
    :ivar service_password: of the services, the database and the bus.
    :ivar fixed_key_hex: 32 bytes for the key managers.
    """

    first_port: int
    admin_password: str
    service_password: str
    fixed_key_hex: str

    def port(self, service: str) -> int:
        """The TCP port of a service on 127.0.0.1."""
        return self.first_port + PORTS[service]

    def url(self, service: str, path: str = '') -> str:
        """The base URL of an API."""
        return f'http://127.0.0.1:{self.port(service)}{path}'

    def console_ports(self, node: str) -> tuple[int, int]:
        """First and last port of a node's serial consoles."""
        first = (self.first_port + CONSOLE_PORTS +
                 CONSOLE_PORTS_PER_NODE * NODES.index(node))
        return first, first + CONSOLE_PORTS_PER_NODE - 1


def load_settings(layout: Layout) -> Settings | None:
    """The settings of a cloud that was started before, else ``None``."""
    path = layout.root_dir / 'cloud.json'
    try:
        return Settings(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as exc:
        raise errors.DemoError(
            f'{path} cannot be read ({exc}); "{layout.command("clean")}" '
            f'starts anew.') from exc


def settle(layout: Layout, first_port: int | None = None) -> Settings:
    """Load the settings, or choose and keep them at the first start."""
    known = load_settings(layout)
    if known is not None:
        if first_port not in (None, known.first_port):
            raise errors.DemoError(
                f'This cloud uses the ports from {known.first_port} on; '
                f'"{layout.command("clean")}" first, then choose others.')
        return known
    if first_port is not None:
        refuse_ports(first_port)
    chosen = Settings(
        first_port=first_port or free_ports(layout.root_dir),
        admin_password=secrets.token_hex(8),
        service_password=secrets.token_hex(16),
        fixed_key_hex=secrets.token_hex(32))
    path = layout.root_dir / 'cloud.json'
    path.touch(0o600)
    path.write_text(json.dumps(dataclasses.asdict(chosen), indent=1))
    return chosen


def refuse_ports(first_port: int) -> None:
    """Refuse a range of ports of which some cannot be used.

    :raises DemoError: with the first of them.
    """
    last = first_port + PORT_SPAN - 1
    if first_port < 1024 or last > 65535:
        raise errors.DemoError(
            f'The ports {first_port} to {last} cannot be used: "--port" may '
            f'be 1024 to {65536 - PORT_SPAN}.')
    for port in range(first_port, last + 1):
        if not is_free(port):
            raise errors.DemoError(
                f'Another program uses port {port}: the cloud needs all from '
                f'{first_port} to {last}. Without "--port" a free range is '
                f'looked for.')


def free_ports(root_dir: pathlib.Path) -> int:
    """The first base whose ports are all free now."""
    # Different users and clouds start looking at different places, so that
    # they rarely choose the same while the other one starts, or is down.
    slots = (LAST_PORT - FIRST_PORT) // PORT_SPAN
    begin = zlib.crc32(str(root_dir).encode()) + os.getuid()
    for turn in range(slots):
        base = FIRST_PORT + (begin + turn) % slots * PORT_SPAN
        if all(is_free(base + offset) for offset in range(PORT_SPAN)):
            return base
    raise errors.DemoError('No free range of ports on 127.0.0.1.')


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True
