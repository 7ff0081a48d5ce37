# SPDX-License-Identifier: Apache-2.0
"""What all connectors have in common."""

import abc
from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any
from typing import TypeVar

from nova import exception

from compute_hyperv import errors

_T = TypeVar('_T')

#: ``connection_info['data']`` of Cinder.
Data = Mapping[str, Any]


def reader(parse: Callable[[Any, Data], _T]) -> Callable[[Any, Data], _T]:
    """Decorator: what *parse* cannot read of Cinder's data is no defect.

    It raises VolumeAttachFailed then, which names what is wrong.
    """
    @functools.wraps(parse)
    def checked(cls: Any, data: Data) -> _T:
        try:
            return parse(cls, data or {})
        except (KeyError, TypeError, ValueError) as exc:
            raise exception.VolumeAttachFailed(
                volume_id=(data or {}).get('volume_id'),
                reason=f"Cinder's connection data is wrong or incomplete: "
                       f'{type(exc).__name__}: {exc}') from exc
    return checked


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ConnectorCaps:
    """What a protocol can do; callers ask this, never a name."""

    #: Its volumes are disks of the host, passed through; else files.
    physical: bool
    online_extend: bool
    #: A volume may be attached on several hosts at a time.
    multiattach: bool
    #: The nodes of a failover cluster can take over its volumes.
    clusterable: bool
    #: Limits of a volume's I/O rate can be set on the host.
    qos: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """A connected volume: *path* of the disk or file on this host."""

    path: str
    #: Windows' number of the disk at the moment; None for a file.
    number: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """How patiently a host looks for a disk that was just connected."""

    attempts: int = 10
    interval_s: float = 5.0


class Connector(abc.ABC):
    """Makes volumes of one protocol appear on this host.

    All methods take Cinder's ``connection_info['data']`` and can be
    repeated: connecting what is connected and disconnecting what is not are
    fine.
    """

    caps: ConnectorCaps

    @abc.abstractmethod
    def connect(self, data: Data) -> Disk:
        """Make a volume appear.

        :raises DiskNotFound: it does not; nothing new is left on the host.
        :raises HyperVError: the storage or Windows refuses.
        """

    @abc.abstractmethod
    def disconnect(self, data: Data) -> None:
        """Let go of a volume; what others use stays connected."""

    @abc.abstractmethod
    def extend(self, data: Data) -> int:
        """See the new size of a connected volume.

        :returns: that size, bytes.
        :raises DiskNotFound: it is not connected.
        :raises NotSupportedByHost: impossible while it is attached.
        """


def one_disk(found: set[Disk], what: str) -> Disk:
    """The only disk found.

    :raises DiskOperationFailed: there are several. Each would be a path to
        the same data, and writing through two of them destroys it.
    """
    if len(found) == 1:
        return next(iter(found))
    numbers = ', '.join(sorted(disk.path for disk in found))
    raise errors.DiskOperationFailed(
        reason=f'Windows shows {what} as several disks ({numbers}): set up '
               'Multipath I/O to claim the disks of this storage, and '
               '[hyperv] use_multipath_io')
