# SPDX-License-Identifier: Apache-2.0
"""What the cloud needs from Debian and from the Python package registry."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from cloud import errors
from cloud import layout as layouts
from cloud import processes

_HERE = pathlib.Path(__file__).resolve().parent
_RABBITMQ = '/usr/lib/rabbitmq/bin/rabbitmq-server'
#: Debian package -> a file or program that shows that it is installed
_DEBIAN = {
    'rabbitmq-server': _RABBITMQ,
    'mariadb-server-core': 'mariadb-install-db',
    'mariadb-client-core': 'my_print_defaults',
    'qemu-utils': 'qemu-img',
    'genisoimage': 'genisoimage',
}
_SBIN = os.pathsep.join([os.environ.get('PATH', ''), '/usr/sbin', '/sbin'])
_APT_TIMEOUT_S = 900
_PIP_TIMEOUT_S = 1800
_COMPILE_TIMEOUT_S = 600

# Debian starts a server when it is installed; ours run under the demo's own
# ports and folder only, so policy-rc.d refuses the start (its documented
# use) and the broker's unit is not left enabled.
_INSTALL = '''
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\\nexit 101\\n' > $policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
get() {
    apt-get install -y --no-install-recommends \\
        -o DPkg::Lock::Timeout=120 "$@"
}
get "$@" || { apt-get update && get "$@"; }
for package in "$@"; do
    if [ "$package" = rabbitmq-server ] && command -v systemctl; then
        systemctl disable rabbitmq-server || true
    fi
done
'''


# pip would compile one file after the other, and a third of them are tests.
# What cannot be compiled, such as a template, is nobody's module.
_COMPILE = '''
import compileall, re, sys
compileall.compile_dir(sys.argv[1], quiet=2, workers=0,
                       rx=re.compile("/site-packages/(.*/)?tests/"))
'''


def missing() -> list[str]:
    """The Debian packages that are not there yet."""
    return [package for package, sign in _DEBIAN.items()
            if not (os.path.exists(sign) or shutil.which(sign, path=_SBIN))]


def ask_for_root() -> None:
    """Let sudo ask for its password now, not in the middle of the work.

    :raises DemoError: packages are missing, and we may not install them.
    """
    wanted = ' '.join(missing())
    if not wanted or os.geteuid() == 0:
        return
    if not shutil.which('sudo') or subprocess.call(['sudo', '-v']):
        raise errors.DemoError(
            f'Debian packages are missing. As root, run:\n'
            f'  apt-get install --no-install-recommends {wanted}')


def install_debian(layout: layouts.Layout) -> str:
    """Install the missing Debian packages.

    :returns: what was done, for the person.
    """
    wanted = missing()
    if not wanted:
        return 'all there'
    if not shutil.which('apt-get'):
        raise errors.DemoError(
            f'This is not Debian: install the equivalents of '
            f'{", ".join(wanted)} yourself.')
    sudo = [] if os.geteuid() == 0 else ['sudo', '-n']
    processes.run(layout, [*sudo, 'sh', '-c', _INSTALL, 'sh', *wanted],
                  'apt', _APT_TIMEOUT_S)
    return ', '.join(wanted)


def install_python(layout: layouts.Layout) -> str:
    """Make the venv, or bring it up to date with the checkout.

    :returns: what was done, for the person.
    """
    stamp = layout.venv_dir / 'installed-for'
    wish = _fingerprint()
    if stamp.is_file() and stamp.read_text() == wish:
        return 'up to date'
    # The person's own pip configuration and cache stay in use.
    env = {'HOME': os.environ.get('HOME', str(layout.base_dir)),
           'PIP_DISABLE_PIP_VERSION_CHECK': '1'}
    python = layout.program('python')
    works = os.path.exists(python) and not subprocess.call(
        [python, '-c', 'import pip'], stderr=subprocess.DEVNULL)
    if not works:
        processes.run(layout, [sys.executable, '-m', 'venv', '--clear',
                               str(layout.venv_dir)], 'venv', 120, env)
    processes.run(
        layout, [python, '-m', 'pip', 'install', '--use-pep517',
                 '--no-compile', '-c', str(_HERE / 'constraints.txt'),
                 '-r', str(_HERE / 'requirements.txt'),
                 '-e', f'{layouts.CHECKOUT_DIR}[sim]'],
        'pip', _PIP_TIMEOUT_S, env)
    compile_python(layout)
    stamp.write_text(wish)
    count = len(list(layout.venv_dir.glob('lib/*/site-packages/*.dist-info')))
    return f'{count} packages'


def compile_python(layout: layouts.Layout) -> None:
    """Compile the venv's packages with all processors, but not their tests."""
    processes.run(
        layout, [layout.program('python'), '-c', _COMPILE,
                 str(layout.venv_dir / 'lib')], 'compile', _COMPILE_TIMEOUT_S)


def remove(base_dir: pathlib.Path) -> None:
    """Remove the venv of a folder, and the folder if that empties it."""
    shutil.rmtree(base_dir / 'venv', ignore_errors=True)
    if base_dir.is_dir():
        for lock in base_dir.glob('*.lock'):
            lock.unlink()
        if not any(base_dir.iterdir()):
            base_dir.rmdir()


def versions(layout: layouts.Layout) -> dict[str, str]:
    """Project -> version of what the venv holds."""
    found = {}
    for info in layout.venv_dir.glob('lib/*/site-packages/*.dist-info'):
        name, _, version = info.name.removesuffix('.dist-info').partition('-')
        found[name.lower()] = version
    return found


def _fingerprint() -> str:
    """Changes when another set of packages is wanted."""
    digest = hashlib.sha256(sys.version.encode())
    checkout = layouts.CHECKOUT_DIR
    digest.update(str(checkout).encode())
    for path in (_HERE / 'requirements.txt', _HERE / 'constraints.txt',
                 checkout / 'requirements.txt', checkout / 'setup.cfg'):
        digest.update(path.read_bytes())
    return digest.hexdigest()
