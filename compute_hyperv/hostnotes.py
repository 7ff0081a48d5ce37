# SPDX-License-Identifier: Apache-2.0
"""What this service is about to do, noted beside an instance's files.

Some of what a killed nova-compute had begun cannot be told from what it left:
whether a paused VM had been running, which file was in an empty drive. It is
written down before, for the service that is started next.
"""

from collections.abc import Mapping
import contextlib
import json
import ntpath
from typing import Any

from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import operation
from compute_hyperv import paths as paths_module

LOG = logging.getLogger(__name__)

#: A volume was taken out of its drive, see ``heldvolumes``.
RELEASED = 'released.json'
#: Cinder asked for a change of its snapshots, see ``volumesnapshots``.
SNAPSHOT = 'volume-snapshot.json'
#: Cinder moves a volume, see ``volumeswap``.
SWAP = 'volume-swap.json'
#: In each note: who wrote it.
_HOST = 'host'
_ATTEMPTS = 3
_PAUSE_S = 0.2


def write_whole(paths: paths_module.Paths, path: str, content: bytes,
                is_new: bool = False) -> None:
    """Write a small file: it has its old content, or all of the new.

    :param is_new: there must not be such a file yet.
    :raises OSError: the old one.
    """
    partial = path + paths_module.PARTIAL_SUFFIX
    try:
        with paths.open(partial, 'wb') as stream:
            stream.write(content)
        (paths.rename if is_new else paths.replace)(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            paths.remove(partial)
        raise


class HostNotes:
    """Notes on instances, one of each kind.

    They lie beside the files, and go with them to other hosts. There nothing
    of what they tell has been begun.

    :param host_name: of this host; notes of others are not followed.
    """

    def __init__(self, paths: paths_module.Paths, host_name: str) -> None:
        self._paths = paths
        self._host_name = host_name

    def write(self, vm_name: str, kind: str, note: Mapping[str, Any]) -> None:
        """Write a note; an earlier one of that kind is replaced.

        :raises OSError: it could not be written.
        """
        path = self._path(vm_name, kind)
        self._paths.make_dir(ntpath.dirname(path))
        write_whole(self._paths, path, json.dumps(
            {**note, _HOST: self._host_name}).encode())

    def read(self, vm_name: str, kind: str) -> dict[str, Any] | None:
        """A note of this host; None without one that makes sense."""
        path = self._path(vm_name, kind)
        content = self._paths.read_bytes(path)
        if not content:
            return None
        try:
            found: dict[str, Any] = json.loads(content)
        except ValueError as exc:
            LOG.warning("%s is damaged and not followed: %s", path, exc)
            return None
        # Earlier versions of the driver did not tell.
        host_name = found.pop(_HOST, self._host_name)
        if host_name.lower() != self._host_name.lower():
            LOG.info("%s is of %s and not followed.", path, host_name)
            return None
        return found

    def remove(self, vm_name: str, kind: str) -> None:
        """What was noted is over; tolerates all trouble with the file."""
        path = self._path(vm_name, kind)
        try:
            operation.retry(self._paths.remove, path, on=(OSError,),
                            attempts=_ATTEMPTS, delay_s=_PAUSE_S)
        except OSError as exc:      # the outcome is another one's matter
            LOG.warning("Cannot delete %s; delete it before nova-compute is "
                        "started again: %s", path, errors.text_of(exc))

    def _path(self, vm_name: str, kind: str) -> str:
        return ntpath.join(self._paths.instance_dir(vm_name), kind)
