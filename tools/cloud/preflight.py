# SPDX-License-Identifier: Apache-2.0
"""Is this machine large enough? Better asked before than found out after."""

from __future__ import annotations

import os
import pathlib
import shutil

from cloud import errors
from cloud import layout as layouts

_DISK_GIB = 2.5         # 0.7 for the venv, the rest for logs and databases
_MEMORY_GIB = 3.0       # the cloud takes 2.5 when it is idle
_GIB = 2 ** 30


def check_disk(layout: layouts.Layout) -> None:
    """Refuse a file system that would be full before the cloud is up.

    :raises DemoError: with what is there and what is needed.
    """
    if layout.venv_dir.exists():
        return
    free_gib = shutil.disk_usage(layout.base_dir).free / _GIB
    if free_gib < _DISK_GIB:
        raise errors.DemoError(
            f'{layout.base_dir} has {free_gib:.1f} GiB free; the cloud needs '
            f'{_DISK_GIB} GiB. "--dir FOLDER" takes another place.')


def check_shared_memory(folder: str = '/dev/shm') -> None:
    """Refuse a machine on which processes cannot share a lock.

    Nova's and Cinder's services end at once without it, as in a plain chroot.

    :raises DemoError: with what to do.
    """
    if not os.access(folder, os.W_OK):
        raise errors.DemoError(
            f'{folder} cannot be written, which OpenStack needs. As root, '
            f'run:\n  mkdir -p {folder} && mount -t tmpfs -o mode=1777 tmpfs '
            f'{folder}')


def memory_warning(meminfo_path: str = '/proc/meminfo') -> str:
    """What to tell about the machine's memory, empty if it is enough."""
    for line in pathlib.Path(meminfo_path).read_text().splitlines():
        name, _, value = line.partition(':')
        if name == 'MemAvailable':
            free_gib = int(value.split()[0]) * 1024 / _GIB
            if free_gib < _MEMORY_GIB:
                return (f'Only {free_gib:.1f} GiB of memory are free; the '
                        f'cloud wants {_MEMORY_GIB:.0f} GiB and may be slow.')
    return ''
