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


@functools.cache
def _folder():
    """One folder per test process: images are made once."""
    path = tempfile.mkdtemp(prefix='hyperv-images-')
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def content(size_bytes=16 * MIB, seed=1):
    """What a guest reads from the disk: data in places, zeros between.

    :returns: bytes of length *size_bytes*; the same for the same arguments.
    """
    generator = random.Random(seed)
    disk = bytearray(size_bytes)
    for offset in range(0, size_bytes, 3 * MIB):
        length = min(65536 + 512 * generator.randrange(64),
                     size_bytes - offset)
        disk[offset:offset + length] = generator.randbytes(length)
    disk[510:512] = b'\x55\xaa'
    return bytes(disk)


@functools.cache
def disk_image(kind='vhdx', size_bytes=16 * MIB, seed=1):
    """The path of a disk image file with ``content(size_bytes, seed)``.

    :param kind: a key of ``_QEMU``: Glance's disk_format, or that with
        '-fixed'.
    """
    driver, options = _QEMU[kind]
    raw_path = os.path.join(_folder(), f'{size_bytes}-{seed}.raw')
    if not os.path.exists(raw_path):
        with open(raw_path, 'wb') as raw:
            raw.write(content(size_bytes, seed))
    path = os.path.join(_folder(), f'{size_bytes}-{seed}.{kind}')
    subprocess.run(
        ['qemu-img', 'convert', '-f', 'raw', '-O', driver, *options,
         raw_path, path], check=True, capture_output=True)
    return path


@functools.cache
def iso_image(seed=1):
    """The path of a real ISO 9660 image with one file on it."""
    source = tempfile.mkdtemp(dir=_folder())
    with open(os.path.join(source, 'install.img'), 'wb') as content_file:
        content_file.write(random.Random(seed).randbytes(MIB))
    path = os.path.join(_folder(), f'{seed}.iso')
    subprocess.run(['genisoimage', '-quiet', '-J', '-r', '-V', 'install',
                    '-o', path, source], check=True, capture_output=True)
    return path
