# SPDX-License-Identifier: Apache-2.0
r"""The directories that instances lie in: one, or one on several volumes.

With ``instances_path`` on a cluster shared volume, the folder of that name on
every other cluster shared volume is another one, if it exists there::

    C:\ClusterStorage\Volume1\Instances     instances_path, image cache, locks
    C:\ClusterStorage\Volume2\Instances     used too
    C:\ClusterStorage\Volume3               not used: no such folder

An instance lies wholly in one of them. Which one is seen from its directory,
so that all nodes of a cluster agree and an instance that somebody moved to
another volume is found.
"""

from collections.abc import Iterator
import itertools
import ntpath

from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import osfiles

LOG = logging.getLogger(__name__)

_MOUNTS = 'clusterstorage'
_NOT_FOUND = (2, 3)

#: Longest path of the classic Windows file functions, with the final NUL.
MAX_PATH = 260
#: Longest things below an instances path. Besides an instance's name, it is
#: Hyper-V's folder, a GUID and its extension; besides the cache's, the id of
#: an image that is being fetched, and the hexadecimal digits of its maker.
_OF_INSTANCE = len(r'\_revert\Virtual Machines\.vmcx') + 36
_OF_CACHE = len(r'\\..part.qcow2') + 36 + 32


def check_length(directory: str, longest_name: int,
                 cache_dir_name: str) -> int:
    """See that files below ``instances_path`` have room for their names.

    :param longest_name: characters that the name of an instance may have.
    :returns: how long a directory of instances may be.
    :raises BadOption: it is longer.
    """
    room = MAX_PATH - max(_OF_INSTANCE + longest_name,
                          _OF_CACHE + len(cache_dir_name))
    if len(directory) >= room:
        raise errors.BadOption(
            option='instances_path',
            reason=f'{directory} is {len(directory)} characters long; with '
                   f'instance_name_template (names of up to {longest_name} '
                   'characters) and [image_cache] subdirectory_name it has '
                   f'to be shorter than {room}')
    return room - 1


class InstanceRoots:
    """Finds the directory that an instance is in.

    :param files: the host's files.
    :param primary: ``instances_path``; what is of no instance is only here.
    :param max_length: longest path that leaves room for Hyper-V's files.
    """

    def __init__(self, files: osfiles.Files, primary: str,
                 max_length: int) -> None:
        self._files = files
        self.primary = primary
        self._max_length = max_length
        #: Instances that have no directory yet, by the name of the VM.
        self._chosen: dict[str, str] = {}
        drive, rest = ntpath.splitdrive(primary)
        parts = rest.split('\\')
        self._is_shared = (not drive.startswith('\\') and len(parts) > 3
                           and parts[1].lower() == _MOUNTS)
        if self._is_shared:
            self._mounts = f'{drive}\\{parts[1]}'
            self._volume, self._below = parts[2], '\\'.join(parts[3:])

    def all(self, *, readable: bool = False) -> list[str]:
        """Every directory that instances may lie in, ``primary`` first.

        :param readable: leave out what cannot be read just now.
        :raises OSError: nobody can tell whether one is there.
        """
        return [self.primary, *(
            path for path in self._others()
            if self._is_there(path, if_unknown=False if readable else None))]

    def _others(self) -> Iterator[str]:
        """Where there may be other ones."""
        if not self._is_shared or not self._is_there(self._mounts):
            return
        for name in sorted(self._files.list_dir(self._mounts)):
            path = ntpath.join(self._mounts, name, self._below)
            if (name.lower() != self._volume.lower()
                    and len(path) <= self._max_length):
                yield path

    def of(self, vm_name: str) -> str:
        """The directory that an instance is in, or will be.

        :raises OSError: it may be on a volume that cannot be read.
        """
        if not self._is_shared:
            return self.primary
        unread: OSError | None = None
        for root in itertools.chain([self.primary], self._others()):
            try:
                if any(self._is_there(ntpath.join(root, name))
                       for name in (vm_name, f'{vm_name}_revert')):
                    return root
            except OSError as exc:
                unread = exc
        if unread is not None:
            raise unread
        return self._chosen.get(vm_name, self.primary)

    def choose(self, vm_name: str) -> None:
        """Let a new instance lie where the most space is free.

        One that has a directory stays there.
        """
        self._chosen.pop(vm_name, None)
        roots = self.all(readable=True)
        if len(roots) > 1:
            self._chosen[vm_name] = max(roots, key=self._free_bytes)
            LOG.debug("%s has the most free space.", self._chosen[vm_name])

    def _free_bytes(self, root: str) -> int:
        try:
            return self._files.disk_usage(root)[1]
        except OSError as exc:
            LOG.warning("The free space of %s is not known: %s", root, exc)
            return -1

    def _is_there(self, path: str, *,
                  if_unknown: bool | None = None) -> bool:
        try:
            self._files.mtime(path)
        except OSError as exc:
            if (isinstance(exc, (FileNotFoundError, NotADirectoryError))
                    or getattr(exc, 'winerror', None) in _NOT_FOUND):
                return False
            if if_unknown is None:
                raise
            LOG.warning("%s cannot be read: %s", path, exc)
            return if_unknown
        return True
