# SPDX-License-Identifier: Apache-2.0
"""MariaDB and RabbitMQ, of Debian's packages but under our own folder.

Not SQLite: two services that read and then write get "database is locked"
at once, whatever the timeout. Not a broker in memory: nothing but RabbitMQ
works between processes in oslo.messaging 18.
"""

from __future__ import annotations

import os
import shutil
import socket

from cloud import errors
from cloud import layout as layouts
from cloud import processes

DATABASES = ('keystone', 'placement', 'glance', 'nova_api', 'nova',
             'nova_cell0', 'neutron', 'cinder')
_SBIN = os.pathsep.join([os.environ.get('PATH', ''), '/usr/sbin', '/sbin'])
_RABBITMQ = '/usr/lib/rabbitmq/bin/rabbitmq-server'


def start_mariadb(layout: layouts.Layout, settings: layouts.Settings,
                  procs: processes.Processes) -> str:
    """Start the database server with the eight databases.

    :returns: its port, for the person.
    """
    data_dir = layout.data_dir / 'mariadb'
    port = settings.port('mariadb')
    if not (data_dir / 'mysql').is_dir():
        _create_mariadb(layout)
    # Executed at every start, so it has to bear repetition.
    grants = layout.etc_dir / 'mariadb.sql'
    grants.write_text(''.join(
        f'CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4;\n'
        for name in DATABASES) + (
        f"CREATE OR REPLACE USER demo@'127.0.0.1' IDENTIFIED BY "
        f"'{settings.service_password}';\n"
        f"GRANT ALL ON *.* TO demo@'127.0.0.1';\n"))
    refuse_taken_port(procs, 'mariadb', port)
    # The socket's path is relative to the data folder: absolute ones may
    # be longer than the 107 bytes that a socket's name can have.
    procs.start('mariadb', [
        _program('mariadbd'), '--no-defaults', *_as_root(),
        f'--datadir={data_dir}', '--bind-address=127.0.0.1',
        f'--port={port}', '--socket=mariadb.sock',
        f'--pid-file={data_dir}/mariadb.pid', f'--init-file={grants}',
        '--skip-name-resolve', '--max-connections=400',
        # A demo may lose its last second in a power cut.
        '--innodb-flush-log-at-trx-commit=0', '--sync-binlog=0',
        '--skip-log-bin', '--innodb-doublewrite=0',
        '--performance-schema=OFF'])
    procs.wait('mariadb', lambda: greets(port), 180,
               'MariaDB answers on its port')
    return f'port {port}'


def database_url(settings: layouts.Settings, name: str) -> str:
    """The SQLAlchemy URL of a database."""
    return (f'mysql+pymysql://demo:{settings.service_password}@127.0.0.1:'
            f'{settings.port("mariadb")}/{name}?charset=utf8mb4')


def start_rabbitmq(layout: layouts.Layout, settings: layouts.Settings,
                   procs: processes.Processes) -> str:
    """Start the message broker.

    :returns: its port, for the person.
    """
    folder = layout.data_dir / 'rabbitmq'
    folder.mkdir(parents=True, exist_ok=True)
    port = settings.port('rabbitmq')
    config = layout.etc_dir / 'rabbitmq.conf'
    config.write_text(
        f'listeners.tcp.default = 127.0.0.1:{port}\n'
        f'default_user = demo\n'
        f'default_pass = {settings.service_password}\n'
        'disk_free_limit.absolute = 50MB\n'
        'vm_memory_high_watermark.absolute = 1GiB\n'
        'log.file = false\nlog.console = true\nlog.console.level = warning\n')
    plugins = layout.etc_dir / 'rabbitmq-plugins'
    plugins.write_text('[].\n')
    refuse_taken_port(procs, 'rabbitmq', port)
    # The wrapper in sbin would change to the user rabbitmq.
    procs.start('rabbitmq', [_RABBITMQ], {
        'HOME': str(folder),
        'RABBITMQ_NODENAME': f'demo{settings.first_port}@localhost',
        'RABBITMQ_MNESIA_BASE': str(folder),
        'RABBITMQ_LOG_BASE': str(layout.log_dir),
        'RABBITMQ_CONFIG_FILE': str(config),
        'RABBITMQ_ENABLED_PLUGINS_FILE': str(plugins),
        'RABBITMQ_DIST_PORT': str(settings.port('rabbitmq-dist')),
        'ERL_EPMD_PORT': str(settings.port('epmd')),
        'ERL_EPMD_ADDRESS': '127.0.0.1',
        'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
            '+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none '
            '-kernel inet_dist_use_interface {127,0,0,1}'})
    procs.wait('rabbitmq', lambda: greets(port, b'AMQP\0\0\x09\x01'), 180,
               'RabbitMQ answers on its port')
    return f'port {port}'


def transport_url(settings: layouts.Settings) -> str:
    """The URL of the message bus."""
    return (f'rabbit://demo:{settings.service_password}@127.0.0.1:'
            f'{settings.port("rabbitmq")}/')


def refuse_taken_port(procs: processes.Processes, name: str,
                      port: int) -> None:
    """Say so if another program has the port that a service needs."""
    if procs.find(name) is None and not layouts.is_free(port):
        raise errors.DemoError(
            f'Port {port} of 127.0.0.1, needed by {name}, is used by '
            f'another program. End that, or "{procs.layout.command("clean")}"'
            f', and "up" looks for free ones.')


def greets(port: int, hello: bytes = b'') -> bool:
    """Whether a server says something on a port of 127.0.0.1."""
    try:
        with socket.create_connection(('127.0.0.1', port), 2) as peer:
            peer.sendall(hello)
            return bool(peer.recv(1))
    except OSError:
        return False


def _create_mariadb(layout: layouts.Layout) -> None:
    # Built under another name: an interrupted start leaves no half of it.
    half = layout.data_dir / 'mariadb.new'
    shutil.rmtree(half, ignore_errors=True)
    processes.run(layout, [
        _program('mariadb-install-db'), '--no-defaults', *_as_root(),
        f'--datadir={half}', '--skip-test-db',
        '--auth-root-authentication-method=normal'], 'mariadb-install', 120)
    half.replace(layout.data_dir / 'mariadb')


def _as_root() -> list[str]:
    return ['--user=root'] if os.geteuid() == 0 else []


def _program(name: str) -> str:
    found = shutil.which(name, path=_SBIN)
    if found is None:
        raise errors.DemoError(f'{name} is not installed.')
    return found
