# SPDX-License-Identifier: Apache-2.0
"""What a storage backend has to know of this host to let it in."""

import platform
from typing import Any

from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)


class HostPorts:
    """Names and addresses of this host on the storage networks.

    :param host: Nova's name of the host, to which Cinder compares.
    :param storage_ip: ``[DEFAULT] my_block_storage_ip``.
    :param multipath: ``[hyperv] use_multipath_io``.
    """

    def __init__(self, *, win: oswin.Win, host: str, storage_ip: str,
                 multipath: bool) -> None:
        self._win = win
        self._host = host
        self._storage_ip = storage_ip
        self._multipath = multipath

    def properties(self) -> dict[str, Any]:
        """The connector of Cinder's attachments, with os-brick's keys.

        :raises BadOption: multipath is wanted and Windows lacks it.
        """
        found = {'platform': platform.machine(), 'os_type': 'win32',
                 'ip': self._storage_ip, 'host': self._host,
                 'multipath': self._multipath,
                 'initiator': self._win.iscsi().get_iscsi_initiator()}
        if self._multipath:
            self._require_mpio()
        return found | self._fibre_channel()

    def _require_mpio(self) -> None:
        host = self._win.host
        if not host.check_server_feature(host.FEATURE_MPIO):
            raise errors.BadOption(
                option='[hyperv] use_multipath_io',
                reason='the Windows feature Multipath I/O is not installed')

    def _fibre_channel(self) -> dict[str, list[str]]:
        """World wide names, if the host has adapters."""
        try:
            fc = self._win.fc()
            fc.refresh_hba_configuration()
            ports = fc.get_fc_hba_ports()
        except (*errors.OS_WIN_ERRORS, OSError) as exc:
            LOG.debug("No Fibre Channel: %s", errors.text_of(exc))
            return {}
        if not ports:
            return {}
        return {'wwpns': [port['port_name'] for port in ports],
                'wwnns': sorted({port['node_name'] for port in ports})}
