# SPDX-License-Identifier: Apache-2.0
"""Volumes that are virtual disks on an SMB share."""

import dataclasses
import ntpath
import re

from nova import exception
from oslo_log import log as logging

from compute_hyperv.connectors import base
from compute_hyperv import errors
from compute_hyperv import locks
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

_UNMOUNT_ATTEMPTS = 2
_USER = re.compile(r'(?:^|[\s,])user(?:name)?=([^\s,]+)')
_PASSWORD = re.compile(r'(?:^|[\s,])pass(?:word)?=([^\s,]+)')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    r"""What of Cinder's connection data matters here.

    :ivar share: ``\\server\share``.
    :ivar below: folder below the share, may be empty.
    :ivar username: None for the account of the service.
    """

    share: str
    below: str
    file_name: str
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)

    @classmethod
    @base.reader
    def parse(cls, data: base.Data) -> 'Connection':
        """Read os-brick's keys ``export``, ``name`` and ``options``.

        :raises VolumeAttachFailed: the data names no file on a share.
        """
        parts = re.split(r'[\\/]+', (data.get('export') or '').strip('\\/'))
        if len(parts) < 2 or not data.get('name'):
            raise exception.VolumeAttachFailed(
                volume_id=data.get('volume_id'),
                reason='Cinder names no file on an SMB share')
        options = data.get('options') or ''
        user, password = _USER.search(options), _PASSWORD.search(options)
        if user is None or user[1].lower() == 'guest':
            user = password = None
        return cls(share='\\\\' + '\\'.join(parts[:2]),
                   below='\\'.join(parts[2:]), file_name=data['name'],
                   username=user and user[1],
                   password=password and password[1])

    def path_in(self, directory: str) -> str:
        """Path of the file, with that for the share."""
        return ntpath.join(directory, self.below, self.file_name)


class SMBFSConnector(base.Connector):
    """Mounts shares; a share of this very host is used by its local path.

    Windows does not let a VM use a file of its own host over the network.
    """

    caps = base.ConnectorCaps(physical=False, online_extend=False,
                              multiattach=False, clusterable=True, qos=True)

    def __init__(self, *, win: oswin.Win, locks: locks.Locks) -> None:
        self._win = win
        self._locks = locks

    def connect(self, data: base.Data) -> base.Disk:
        """See :class:`base.Connector`."""
        wanted = Connection.parse(data)
        with self._locks.held(locks.share(wanted.share)):
            directory = self._local_dir(wanted)
            if directory is None:
                directory = wanted.share
                self._mount(wanted)
            path = wanted.path_in(directory)
            if not self._win.files.exists(path):
                raise exception.DiskNotFound(location=path)
        return base.Disk(path=path)

    def disconnect(self, data: base.Data) -> None:
        """See :class:`base.Connector`.

        Windows keeps a share mounted of which a file is in use.
        """
        wanted = Connection.parse(data)
        with self._locks.held(locks.share(wanted.share)):
            if self._local_dir(wanted) is None:
                self._unmount(wanted.share)

    def _unmount(self, share: str) -> None:
        smb = self._win.smb()
        for _attempt in range(_UNMOUNT_ATTEMPTS):
            # It does not tell whether Windows did it, or why not.
            smb.unmount_smb_share(share)
            if not smb.check_smb_mapping(share):
                return

    def extend(self, data: base.Data) -> int:
        """See :class:`base.Connector`."""
        raise errors.NotSupportedByHost(
            reason='volumes on SMB shares cannot grow while they are '
                   'attached')

    def _local_dir(self, wanted: Connection) -> str | None:
        """The folder that is the share, if this host serves it."""
        smb = self._win.smb()
        if not smb.is_local_share(wanted.share):
            return None
        path: str | None = smb.get_smb_share_path(
            wanted.share.rpartition('\\')[2])
        return path

    def _mount(self, wanted: Connection) -> None:
        smb = self._win.smb()
        if smb.check_smb_mapping(wanted.share,
                                 remove_unavailable_mapping=True):
            return
        smb.mount_smb_share(wanted.share, username=wanted.username,
                            password=wanted.password)
