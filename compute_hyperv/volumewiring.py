# SPDX-License-Identifier: Apache-2.0
"""The part of the composition root that is about volumes."""

from collections.abc import Mapping
from typing import Any

from nova.volume import cinder

from compute_hyperv import conf
from compute_hyperv import connectors
from compute_hyperv.connectors import fibre_channel
from compute_hyperv.connectors import hostports
from compute_hyperv.connectors import iscsi
from compute_hyperv.connectors import rbd
from compute_hyperv.connectors import smbfs
from compute_hyperv import heldvolumes
from compute_hyperv import hostnotes
from compute_hyperv import locks
from compute_hyperv import oswin
from compute_hyperv import plan
from compute_hyperv.plan import volumes as plan_volumes
from compute_hyperv import volumeops
from compute_hyperv import volumesnapshots
from compute_hyperv import volumeswap
from compute_hyperv import volumeusage

CONF = conf.CONF

Connectors = Mapping[str, connectors.Connector]


def _search() -> connectors.Search:
    return connectors.Search(
        attempts=CONF.hyperv.mounted_disk_query_retry_count,
        interval_s=CONF.hyperv.mounted_disk_query_retry_interval)


def by_protocol(win: oswin.Win, host_locks: locks.Locks) -> Connectors:
    """What can be attached here, by Cinder's ``driver_volume_type``."""
    return {
        'iscsi': iscsi.ISCSIConnector(
            win=win, locks=host_locks, search=_search(),
            multipath=CONF.hyperv.use_multipath_io,
            initiators=CONF.hyperv.iscsi_initiator_list),
        'fibre_channel': fibre_channel.FibreChannelConnector(
            win=win, search=_search(),
            multipath=CONF.hyperv.use_multipath_io),
        'smbfs': smbfs.SMBFSConnector(win=win, locks=host_locks),
        'rbd': rbd.RBDConnector(
            win=win, search=_search(), rbd=CONF.hyperv.rbd_cmd,
            wnbd=CONF.hyperv.rbd_wnbd_cmd),
    }


def protocols(by_protocol: Connectors) -> plan_volumes.Protocols:
    def able(name: str) -> frozenset[str]:
        return frozenset(protocol for protocol, connector
                         in by_protocol.items()
                         if getattr(connector.caps, name))
    return plan_volumes.Protocols(
        known=frozenset(by_protocol), multiattach=able('multiattach'),
        qos=able('qos'))


def volumes(win: oswin.Win, planner: plan.Planner,
            by_protocol: Connectors) -> volumeops.VolumeOps:
    return volumeops.VolumeOps(
        win=win, planner=planner, by_protocol=by_protocol, search=_search(),
        retries=CONF.hyperv.volume_attach_retry_count,
        retry_interval_s=CONF.hyperv.volume_attach_retry_interval)


def _held_volumes(common: dict[str, Any], notes: hostnotes.HostNotes
                  ) -> heldvolumes.HeldVolumes:
    parts = {name: common[name] for name in ('win', 'power', 'locks')}
    return heldvolumes.HeldVolumes(
        notes=notes,
        retry_interval_s=CONF.hyperv.volume_attach_retry_interval, **parts)


def volume_parts(common: dict[str, Any]) -> dict[str, Any]:
    """What else the driver does with volumes."""
    parts = {name: common[name] for name in ('win', 'paths', 'disks')}
    notes = hostnotes.HostNotes(common['paths'], common['win'].name)
    parts['held'] = _held_volumes(common, notes)
    return {
        'held_volumes': parts['held'],
        'volume_snapshots': volumesnapshots.VolumeSnapshots(
            notes=notes, volume_api=cinder.API(),
            retry_interval_s=CONF.hyperv.volume_attach_retry_interval,
            **parts),
        'volume_swap': volumeswap.VolumeSwap(
            volumes=common['volumes'], notes=notes,
            copy_timeout_s=CONF.hyperv.snapshot_timeout,
            end_timeout_s=CONF.hyperv.vm_operation_timeout, **parts),
        'volume_usage': volumeusage.VolumeUsage(common['win'])}


def host_ports(win: oswin.Win) -> hostports.HostPorts:
    return hostports.HostPorts(
        win=win, host=CONF.host, storage_ip=CONF.my_block_storage_ip,
        multipath=CONF.hyperv.use_multipath_io)
