# SPDX-License-Identifier: Apache-2.0
"""From the fuzzer's bytes to image files that are almost right.

Random bytes never get past a checksum. So an input is read as a list of
edits to a sound file, at places where structures are, and the checksums are
made right again (most of the time).
"""

import dataclasses
import os
import shutil
import subprocess
import tempfile

from compute_hyperv.sim import disks
from compute_hyperv.vhd import structures
from compute_hyperv.vhd import vhdxformat

KIB, MIB = 1 << 10, 1 << 20
SIZE_BYTES = 3 * MIB

_INTERESTING = (0, 1, 2, 3, 4, 6, 7, 511, 512, 513, 4096, MIB, MIB + 1,
                3 * MIB, 4 * MIB, 1 << 31, 1 << 32, 1 << 40, 1 << 63)
_VHD_PLACES = ((0, 86), (512, 64), (512 + 64, 24), (512 + 576, 48),
               (1536, 16))
_VHDX_PLACES = (
    (0, 8), (64 * KIB, 80), (128 * KIB, 80), (192 * KIB, 120),
    (256 * KIB, 120), (2 * MIB, 12), (2 * MIB + 32, 8 * 32),
    (2 * MIB + 64 * KIB, 40), (2 * MIB + 68 * KIB, 64), (3 * MIB, 40))


@dataclasses.dataclass(frozen=True)
class Seed:
    """A sound file and where its structures are (negative: from the end)."""

    name: str
    data: bytes
    places: tuple[tuple[int, int], ...]


class _Bytes:
    """The fuzzer's bytes, read from the front; zeros when they run out."""

    def __init__(self, data):
        self._data = data
        self._at = 0

    def __bool__(self):
        return self._at < len(self._data)

    def take(self, count):
        piece = self._data[self._at:self._at + count]
        self._at += count
        return piece.ljust(count, b'\0')

    def number(self, below):
        """A number in ``range(below)``."""
        length = (max(1, below - 1).bit_length() + 7) // 8
        return int.from_bytes(self.take(length), 'little') % below


def seeds():
    """Sound files of every format that the inspector knows."""
    with tempfile.TemporaryDirectory() as folder:
        found = [_disk(folder, fmt, kind) for fmt, kind in (
            ('vhdx', 'dynamic'), ('vhd', 'dynamic'), ('vhd', 'fixed'))]
        found += [_child(folder, fmt) for fmt in ('vhdx', 'vhd')]
        if shutil.which('qemu-img'):
            found += [_qemu(folder, *args) for args in (
                ('vhdx', ((0, 8),) + _VHDX_PLACES), ('qcow2', ((0, 144),)),
                ('vmdk', ((0, 80), (512, 300))))]
    return tuple(found)


def _read(path):
    with open(path, 'rb') as file:
        return file.read()


def _places(fmt, kind='dynamic'):
    if fmt == 'vhdx':
        return _VHDX_PLACES
    tail = ((-512, 86),)
    return tail if kind == 'fixed' else tail + _VHD_PLACES


def _disk(folder, fmt, kind):
    name = f'{kind}.{fmt}'
    path = os.path.join(folder, name)
    disks.create(path, fmt=fmt, kind=kind, size_bytes=SIZE_BYTES,
                 win_path=f'C:\\{name}', resolve=str,
                 block_bytes=MIB if fmt == 'vhdx' else None)
    if kind == 'dynamic':
        with disks.open_disk(path, writable=True, resolve=str) as disk:
            disk.write(0, b'A' * MIB)
    return Seed(name, _read(path), _places(fmt, kind))


def _child(folder, fmt):
    path = os.path.join(folder, f'child.{fmt}')
    disks.create(path, fmt=fmt, kind='differencing',
                 parent=f'C:\\dynamic.{fmt}', win_path=f'C:\\child.{fmt}',
                 resolve=lambda _: os.path.join(folder, f'dynamic.{fmt}'))
    return Seed(f'child.{fmt}', _read(path), _places(fmt))


def _qemu(folder, fmt, places):
    path = os.path.join(folder, f'qemu.{fmt}')
    subprocess.run(('qemu-img', 'create', '-q', '-f', fmt, path,
                    str(SIZE_BYTES)), check=True)
    return Seed(f'qemu.{fmt}', _read(path), places)


def build(data, sound):
    """The image file that an input stands for.

    :param data: the fuzzer's bytes.
    :param sound: what seeds() gave.
    """
    source = _Bytes(data)
    seed = sound[source.number(len(sound))]
    image = bytearray(seed.data)
    # An input that has run out reads as zeros: nothing unusual.
    seal, twin = source.number(8) != 7, source.number(4) != 3
    end = source.number(8)
    while source:
        _edit(image, seed, source)
    if twin:
        _make_twins(image, seed)
    if seal:
        _seal(image, seed)
    if end == 7:
        del image[source.number(len(image)):]
    elif end == 6:
        image += source.take(600)
    return bytes(image)


def _edit(image, seed, source):
    start, length = seed.places[source.number(len(seed.places))]
    start += len(image) if start < 0 else 0
    width = (1, 2, 4, 8)[source.number(4)]
    at = start + source.number(max(1, length // width)) * width
    order = 'little' if seed.name.endswith('x') else 'big'
    old = int.from_bytes(image[at:at + width], order)
    new = (
        lambda: int.from_bytes(source.take(width), order),
        lambda: _INTERESTING[source.number(len(_INTERESTING))],
        lambda: old + source.number(256) - 128,
        lambda: old ^ (1 << source.number(8 * width)),
    )[source.number(4)]()
    image[at:at + width] = (new % (1 << 8 * width)).to_bytes(width, order)


def _make_twins(image, seed):
    """Let the second copy of a structure follow the first."""
    if seed.name.endswith('.vhdx'):
        one, two = vhdxformat.REGION_OFFSETS
        image[two:two + 64 * KIB] = image[one:one + 64 * KIB]
    elif seed.name.endswith('.vhd') and 'fixed' not in seed.name:
        image[:512] = image[-512:]


def _seal(image, seed):
    if seed.name.endswith('.vhdx'):
        blocks = [(at, 4 * KIB) for at in vhdxformat.HEADER_OFFSETS]
        blocks += [(at, 64 * KIB) for at in vhdxformat.REGION_OFFSETS]
        for at, length in blocks:
            image[at:at + length] = structures.sealed_crc(
                bytes(image[at:at + length]))
    elif seed.name.endswith('.vhd'):
        image[-512:] = structures.sealed_sum(bytes(image[-512:]), 64)
        if 'fixed' not in seed.name:
            image[:512] = structures.sealed_sum(bytes(image[:512]), 64)
            image[512:1536] = structures.sealed_sum(bytes(image[512:1536]),
                                                    36)
