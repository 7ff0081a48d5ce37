# SPDX-License-Identifier: Apache-2.0
"""Whether two hosts see the same directory of an instance.

Nova keeps an instance's disks when it forgets the instance on a host whose
storage is shared with the one where it is now. The host that asks puts a
file with a new name into the directory, the other one opens that very name:
unlike a listing of the directory, this is no matter of what an SMB client
keeps in its caches.
"""

from typing import Any

from oslo_log import log as logging
from oslo_utils import uuidutils

from compute_hyperv import operation
from compute_hyperv import paths as paths_module

LOG = logging.getLogger(__name__)

_PREFIX = 'probe-'
_ATTEMPTS = 3
_DELAY_S = 0.2


class SharedStorage:
    """Nova's three checks, and the one of an evacuation."""

    def __init__(self, paths: paths_module.Paths) -> None:
        self._paths = paths

    def instance_on_disk(self, instance: Any) -> bool:
        """Whether this host reaches a system disk of the instance."""
        return self._paths.find_root(instance.name) is not None

    def leave_probe(self, instance: Any) -> dict[str, str] | None:
        """Put a file where another host may see it.

        :returns: what :meth:`sees_probe` and :meth:`remove_probe` take, or
            None if the instance has nothing here that could be shared.
        """
        if not self._paths.is_dir(self._paths.instance_dir(instance.name)):
            return None
        probe = {'instance': instance.name,
                 'name': _PREFIX + uuidutils.generate_uuid()}
        try:
            with self._paths.open(self._path(probe), 'wb') as stream:
                stream.write(probe['name'].encode())
        except BaseException:
            self.remove_probe(probe)
            raise
        return probe

    def sees_probe(self, probe: dict[str, str]) -> bool:
        """Whether a file that another host left is here.

        :raises OSError: it cannot be told; Nova keeps the disks then.
        """
        return (self._paths.read_bytes(self._path(probe))
                == probe['name'].encode())

    def remove_probe(self, probe: dict[str, str]) -> None:
        """Remove the file; a missing one is fine.

        One that stays does no harm, but an error here would keep
        nova-compute from starting.
        """
        try:
            # Finding it asks the host, too.
            operation.retry(lambda: self._paths.remove(self._path(probe)),
                            on=(OSError,), attempts=_ATTEMPTS,
                            delay_s=_DELAY_S)
        except OSError as exc:
            LOG.warning("%s of %s cannot be deleted now; it goes with the "
                        "instance: %s", probe['name'], probe['instance'], exc)

    def _path(self, probe: dict[str, str]) -> str:
        # The other host may have another instances_path.
        directory = self._paths.instance_dir(probe['instance'])
        return directory + '\\' + probe['name']
