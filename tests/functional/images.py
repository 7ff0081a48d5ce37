# SPDX-License-Identifier: Apache-2.0
"""Disk images with real bytes, made by the tools that users have."""

import atexit
import functools
import os
import random
import shutil
import subprocess
import tempfile

MIB = 1 << 20

#: qemu-img's name and options of what Glance calls by another name.
_QEMU = {
    'raw': ('raw', ()),
    'qcow2': ('qcow2', ()),
    'vmdk': ('vmdk', ('-o', 'subformat=monolithicSparse')),
    # Without force_size the size is rounded up to whole cylinders.
    'vhd': ('vpc', ('-o', 'subformat=dynamic,force_size=on')),
    'vhd-fixed': ('vpc', ('-o', 'subformat=fixed,force_size=on')),
    'vhdx': ('vhdx', ('-o', 'subformat=dynamic')),
    'vhdx-fixed': ('vhdx', ('-o', 'subformat=fixed')),
}


#: One folder per test process, made before tests move the temporary folder:
#: images are made once.
_FOLDER = tempfile.mkdtemp(prefix='hyperv-images-')
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


def _write_content(path, size_bytes, seed):
    """A sparse raw disk: data in its first 16 MiB, and a boot signature."""
    generator = random.Random(seed)
    with open(path, 'wb') as raw:
        raw.truncate(size_bytes)
        for offset in range(0, min(size_bytes, 16 * MIB), 3 * MIB):
            raw.seek(offset)
            raw.write(generator.randbytes(
                65536 + 512 * generator.randrange(64)))
        raw.seek(510)
        raw.write(b'\x55\xaa')


@functools.cache
def disk_image(kind='vhdx', size_bytes=16 * MIB, seed=1):
    """The path of a disk image file; the same for the same arguments.

    :param kind: a key of ``_QEMU``: Glance's disk_format, or that with
        '-fixed'.
    """
    driver, options = _QEMU[kind]
    raw_path = os.path.join(_FOLDER, f'{size_bytes}-{seed}.content')
    if not os.path.exists(raw_path):
        _write_content(raw_path, size_bytes, seed)
    path = os.path.join(_FOLDER, f'{size_bytes}-{seed}.{kind}')
    subprocess.run(
        ['qemu-img', 'convert', '-f', 'raw', '-O', driver, *options,
         raw_path, path], check=True, capture_output=True)
    return path


@functools.cache
def iso_image(seed=1):
    """The path of a real ISO 9660 image that boots its one file."""
    source = tempfile.mkdtemp(dir=_FOLDER)
    with open(os.path.join(source, 'install.img'), 'wb') as content_file:
        content_file.write(random.Random(seed).randbytes(MIB))
    path = os.path.join(_FOLDER, f'{seed}.iso')
    subprocess.run(['genisoimage', '-quiet', '-J', '-r', '-V', 'install',
                    '-b', 'install.img', '-no-emul-boot',
                    '-o', path, source], check=True, capture_output=True)
    return path
