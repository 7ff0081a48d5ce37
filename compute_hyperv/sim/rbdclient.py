# SPDX-License-Identifier: Apache-2.0
"""Ceph's RBD images on a host: what rbd.exe and rbd-wnbd.exe do there.

An image is a logical unit of the array by the name ``pool/image``.
Source: "RBD on Windows" of Ceph's documentation (doc/rbd/rbd-windows):
mappings are persistent by default and made again at boot; disks are
reported as SAS, so the SAN policy keeps them offline.
"""

from __future__ import annotations

import errno
import itertools
import json
import typing

from . import hostluns
from .ports import op

if typing.TYPE_CHECKING:
    from .host import Host

_DEFAULT_POOL = 'rbd'
#: Options that come with a value.
_WITH_VALUE = frozenset((
    '--id', '--name', '-n', '--user', '-c', '--conf', '-m', '--mon_host',
    '--mon-host', '--cluster', '-k', '--keyring', '--keyfile', '--format',
    '-o', '--options', '-p', '--pool', '--image', '-t', '--device-type',
    '--namespace'))
_HARD, _SHORT_LIVED = 'hard-disconnect', 'non-persistent'


class Failed(Exception):
    """The command fails with this errno."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Rbd:
    """The mapped images of one host.

    :ivar mapped: image -> its number, in the order of mapping.
    :ivar passing: images whose mapping a boot does not repeat.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._numbers = itertools.count(1000)
        self.mapped: typing.Dict[str, int] = {}
        self.passing: typing.Set[str] = set()
        host.luns.add_source(self)

    def map(self, image: str, persistent: bool = True) -> None:
        """Make a disk of an image.

        :raises Failed: ENOENT no such image, EEXIST it is mapped.
        """
        with self._host.fabric.lock:
            if image not in self._host.fabric.san.luns:
                raise Failed(errno.ENOENT, 'error opening image %s' % image)
            if image in self.mapped:
                raise Failed(errno.EEXIST, '%s is already mapped' % image)
            self.mapped[image] = next(self._numbers)
            if not persistent:
                self.passing.add(image)
            self._host.luns.arrive(
                path for path in self.paths() if path.via == _link(image))

    def unmap(self, image: str, hard: bool = False) -> None:
        """Take the disk of an image away.

        :raises Failed: ENOENT not mapped, EBUSY in use, and not *hard*.
        """
        with self._host.fabric.lock:
            if image not in self.mapped:
                raise Failed(errno.ENOENT, '%s is not mapped' % image)
            if not hard and self._host.luns.in_use(_link(image)):
                raise Failed(errno.EBUSY, 'the disk of %s is in use' % image)
            del self.mapped[image]
            self.passing.discard(image)
            self._host.luns.drop_dead()

    def show(self, image: str) -> typing.Dict[str, typing.Any]:
        """What ``rbd-wnbd show`` tells of a mapping.

        :raises Failed: ENOENT it is not mapped.
        """
        if image not in self.mapped:
            raise Failed(errno.ENOENT, '%s is not mapped' % image)
        pool, _slash, name = image.rpartition('/')
        disk = next((one for one in self._host.luns.disks() if any(
            path.via == _link(image) for path in one.paths)), None)
        return {'id': self.mapped[image], 'device': image, 'pool': pool,
                'namespace': '', 'image': name, 'snap': '',
                'disk_number': -1 if disk is None else disk.number,
                'status': 'inactive' if disk is None else 'active'}

    def paths(self) -> typing.List[hostluns.Path]:
        """The images that are mapped, and still there."""
        luns = self._host.fabric.san.luns
        return [hostluns.Path(hostluns.RBD, _link(image), 0, luns[image])
                for image in self.mapped if image in luns]

    def links(self) -> typing.Set[str]:
        """Each mapping is a link of its own."""
        return {_link(image) for image in self.mapped}

    def links_changed(self) -> None:
        """Ports of the array are not on the way."""

    def power_cut(self) -> None:
        """The host went down."""
        for image in self.passing:
            self.mapped.pop(image, None)
        self.passing.clear()

    def problems(self) -> typing.List[str]:
        """The mappings that nobody took back."""
        return ['RBD image %s is mapped' % image for image in self.mapped]


def _link(image: str) -> str:
    return 'rbd ' + image


def _label(args: typing.Dict[str, typing.Any]) -> str:
    return ' '.join([args['program'], *args['argv']])


@op('program.run', kind='program', label=_label)
def run(host: Host, program: str, argv: typing.List[str]
        ) -> typing.Dict[str, typing.Any]:
    """Run rbd or rbd-wnbd: its exit code and what it writes."""
    try:
        out = _command(host.rbd, program, argv)
    except Failed as exc:
        return {'code': exc.code, 'out': '',
                'err': '%s: %s\n' % (program, exc)}
    return {'code': 0, 'out': out, 'err': ''}


def _command(rbd: Rbd, program: str, argv: typing.List[str]) -> str:
    words, options = _parse(argv)
    if program == 'rbd':
        if words[:1] != ['device']:
            raise Failed(errno.EINVAL, 'not simulated: %s' % argv)
        words = words[1:]
    act, *rest = words or ['']
    if act == 'list':
        return json.dumps([rbd.show(image) for image in rbd.mapped])
    if len(rest) != 1:
        raise Failed(errno.EINVAL, 'one image was expected')
    pool = next(iter(options.get('-p', options.get('--pool', ()))),
                _DEFAULT_POOL)
    image = rest[0] if '/' in rest[0] else '%s/%s' % (pool, rest[0])
    extra = options.get('-o', []) + options.get('--options', [])
    if act == 'map':
        rbd.map(image, persistent=_SHORT_LIVED not in extra)
    elif act == 'unmap':
        rbd.unmap(image, hard=_HARD in extra)
    elif act == 'show':
        return json.dumps(rbd.show(image))
    else:
        raise Failed(errno.EINVAL, 'not simulated: %s' % argv)
    return ''


def _parse(argv: typing.List[str]) -> typing.Tuple[
        typing.List[str], typing.Dict[str, typing.List[str]]]:
    """Words, and the values of options by name."""
    words: typing.List[str] = []
    options: typing.Dict[str, typing.List[str]] = {}
    given = iter(argv)
    for word in given:
        name, equals, value = word.partition('=')
        if not word.startswith('-'):
            words.append(word)
        elif word.startswith('-o') and len(word) > 2:
            options.setdefault('-o', []).append(word[2:])
        elif name in _WITH_VALUE and not equals:
            options.setdefault(name, []).append(next(given, ''))
        else:
            options.setdefault(name, []).append(value)
    return words, options
