# SPDX-License-Identifier: Apache-2.0
"""What Windows does with disks that it sees for the first time.

A disk can be passed to a VM only while Windows itself keeps it offline.
"""

from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

_OFFLINE = {2: 'OfflineShared', 3: 'OfflineAll'}
_OTHERS = {0: 'Unknown', 1: 'OnlineAll', 4: 'OfflineInternal'}


class SanPolicy:
    """The SAN policy of a host."""

    def __init__(self, win: oswin.Win) -> None:
        self._win = win

    def check(self) -> None:
        """Warn of a host on which no disk can be passed through."""
        try:
            self.require()
        except errors.OS_WIN_ERRORS as exc:
            LOG.warning("The SAN policy is unknown: %s", errors.text_of(exc))
        except errors.DiskOperationFailed as exc:
            LOG.warning("%s", exc)

    def require(self) -> None:
        """Refuse a host on which no disk can be passed through.

        :raises DiskOperationFailed: it names the policy.
        """
        policy = self._win.disk.get_new_disk_policy()
        if policy not in _OFFLINE:
            raise errors.DiskOperationFailed(
                reason=f"the SAN policy of this host is "
                       f"{_OTHERS.get(policy, policy)}; disks can be "
                       f"passed to VMs only under OfflineShared or "
                       f"OfflineAll (Set-StorageSetting -NewDiskPolicy)")
