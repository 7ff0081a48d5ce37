# SPDX-License-Identifier: Apache-2.0
"""Moves of volumes between backends that were cut off.

Cinder asks Nova for them and waits for its answer, and Nova has no state of
its own for them: what tells is the event that Nova has begun and not ended.

==========================  ============================================
The guest has               What is done
==========================  ============================================
the old volume (Hyper-V's   the new one is let go of, its file is empty
copy is cancelled)          again; Cinder hears that it failed
the new one                 the old one is let go of, Cinder hears that it
                            is done, Nova notes where the volume is
==========================  ============================================
"""

from collections.abc import Iterator
from collections.abc import Mapping
import copy
import dataclasses
from typing import Any

from nova import exception
from nova import objects
from nova.volume import cinder as nova_cinder
from oslo_log import log as logging
from oslo_serialization import jsonutils
from oslo_utils import timeutils

from compute_hyperv import heldvolumes
from compute_hyperv import hostnotes
from compute_hyperv import interruptedbooks
from compute_hyperv import volumeswap

LOG = logging.getLogger(__name__)

#: As Nova names the action, and the event of nova-compute.
_ACTION = 'swap_volume'
_EVENT = 'compute_swap_volume'
#: Of Cinder's API; Nova itself needs it for attachments.
_MICROVERSION = '3.44'
#: Cinder's status of a migration, of the new volume.
_TARGET = 'target:'
_Note = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Move:
    """What Nova, Cinder and the host have of one move.

    :ivar mapping: Nova's of the volume.
    :ivar new_id: of the volume that it moves to.
    :ivar attachment_id: Cinder's for that; None if it is gone.
    :ivar note: of ``VolumeSwap.swap``, if it had come that far.
    """

    mapping: Any
    new_id: str
    attachment_id: str | None
    note: _Note | None


class InterruptedSwaps:
    """Ends moves of volumes, one way or the other.

    :param cinder: Nova's ``nova.volume.cinder.API``.
    """

    def __init__(self, *, held: heldvolumes.HeldVolumes,
                 swap: volumeswap.VolumeSwap, notes: hostnotes.HostNotes,
                 cinder: Any) -> None:
        self._held = held
        self._swap = swap
        self._notes = notes
        self._cinder = cinder
        #: What has begun later is not interrupted.
        self._since = timeutils.utcnow(with_timezone=True)

    def take_up(self, context: Any, host: str, instance: Any,
                timeout_s: float | None = None) -> None:
        """End what a service that was killed had begun with an instance.

        :param host: Nova's name of this host.
        :param timeout_s: how long it may wait for others to end first.
        :raises NovaException: to be repeated.
        """
        for action in self._unfinished(context, host, instance):
            note = self._notes.read(instance.name, hostnotes.SWAP)
            if note is not None and note['request'] != action.request_id:
                note = None
            is_done = self._end(context, instance, note, timeout_s)
            _finish(context, instance, action, is_done)
            if note is not None:
                self._notes.remove(instance.name, hostnotes.SWAP)

    def _unfinished(self, context: Any, host: str,
                    instance: Any) -> Iterator[Any]:
        """Requests on which an earlier service of this host was at work."""
        for action in interruptedbooks.last_actions(context, instance.uuid):
            if action.action == _ACTION and any(
                    event.start_time < self._since for event in
                    interruptedbooks.unfinished(context, host, action)):
                yield action

    def _end(self, context: Any, instance: Any, note: _Note | None,
             timeout_s: float | None) -> bool:
        """Whether the volume has moved."""
        move = self._find(context, instance, note)
        if move is None:
            LOG.warning("nova-compute ended while a volume was to be moved; "
                        "it was not.", instance=instance)
            return False
        volume_id = move.mapping.volume_id
        with self._held.locked(instance, volume_id, timeout_s):
            connection = self._connection(context, move)
            has_moved = self._swap.has_moved(instance, volume_id, connection,
                                             note)
            LOG.warning("nova-compute ended while volume %s was moved: it "
                        "%s.", volume_id, 'has moved' if has_moved else
                        'stays where it was', instance=instance)
            if has_moved:
                self._complete(context, instance, move, connection)
            else:
                self._undo(context, move, connection)
            return has_moved

    def _find(self, context: Any, instance: Any,
              note: _Note | None) -> _Move | None:
        """What there is of it; None if nobody tells which volumes."""
        mappings = {
            mapping.volume_id: mapping for mapping in
            objects.BlockDeviceMappingList.get_by_instance_uuid(
                context, instance.uuid) if mapping.is_volume}
        unknown = self._unknown(context, instance, mappings)
        if note is not None and note['old'] in mappings:
            return _Move(
                mapping=mappings[note['old']], new_id=note['new'], note=note,
                attachment_id=unknown.get(note['new'],
                                          unknown.get(note['old'])))
        for new_id, attachment_id in unknown.items():
            old_id = self._migration(context, new_id).removeprefix(_TARGET)
            if old_id in mappings:
                return _Move(mapping=mappings[old_id], new_id=new_id,
                             attachment_id=attachment_id, note=None)
        return None

    def _unknown(self, context: Any, instance: Any,
                 mappings: Mapping[str, Any]) -> dict[str, str]:
        """Attachments that Nova's mappings do not have, by volume."""
        known = {mapping.attachment_id for mapping in mappings.values()}
        return {found.volume_id: found.id
                for found in _attachments(context, instance.uuid)
                if found.id not in known}

    def _migration(self, context: Any, volume_id: str) -> str:
        """Cinder's status of a volume's migration; '' without one."""
        try:
            found = self._cinder.get(context, volume_id)
        except exception.VolumeNotFound:
            return ''
        return str(found.get('migration_status') or '')

    def _undo(self, context: Any, move: _Move,
              connection: dict[str, Any]) -> None:
        if connection:
            self._swap.undo(connection, move.note)
        self._cinder.roll_detaching(context, move.mapping.volume_id)
        if move.attachment_id is not None:
            self._cinder.attachment_delete(context, move.attachment_id)
        self._tell(context, move, error=True)

    def _complete(self, context: Any, instance: Any, move: _Move,
                  connection: dict[str, Any]) -> None:
        """In the order of Nova; its own record is what comes last."""
        mapping = move.mapping
        volume_id = mapping.volume_id
        if move.attachment_id is None:
            return      # that record has it already
        self._swap.finish(instance, volume_id,
                          jsonutils.loads(mapping.connection_info))
        self._cinder.attachment_complete(context, move.attachment_id)
        try:
            self._cinder.attachment_delete(context, mapping.attachment_id)
        except exception.VolumeAttachmentNotFound:
            LOG.debug("Cinder has dropped the old attachment.")
        self._tell(context, move, error=False)
        connection |= {'serial': volume_id, 'volume_id': volume_id}
        connection['data']['volume_id'] = volume_id
        mapping.connection_info = jsonutils.dumps(connection)
        mapping.attachment_id = move.attachment_id
        mapping.volume_size = self._cinder.get(context, volume_id)['size']
        mapping.save()

    def _connection(self, context: Any, move: _Move) -> dict[str, Any]:
        """Of the new volume; empty if this host was not let in."""
        if move.attachment_id is None:
            return {}
        found: dict[str, Any] = self._cinder.attachment_get(
            context, move.attachment_id).get('connection_info') or {}
        if not found.get('driver_volume_type'):
            return {}
        return found | {'serial': move.new_id}

    def _tell(self, context: Any, move: _Move, *, error: bool) -> None:
        """Let Cinder end its part, unless it has."""
        volume_id = move.mapping.volume_id
        if self._migration(context, move.new_id) == _TARGET + volume_id:
            self._cinder.migrate_volume_completion(
                context, volume_id, move.new_id, error=error)


def _attachments(context: Any, uuid: str) -> Any:
    """Cinder's attachments of an instance, of whatever project.

    Nova's own call lists those of the project that asks, and at start that
    is the one of nova-compute's account.
    """
    client = nova_cinder.cinderclient(context, _MICROVERSION,
                                      skip_version_check=True)
    return client.attachments.list(
        search_opts={'instance_id': uuid, 'all_tenants': True})


def _finish(context: Any, instance: Any, action: Any,
            is_done: bool) -> None:
    """End what Nova had noted as begun."""
    asked = copy.copy(context)
    asked.request_id = action.request_id
    how = {} if is_done else {
        'exc_val': 'nova-compute ended in the middle', 'exc_tb': ''}
    objects.InstanceActionEvent.event_finish_with_failure(
        asked, instance.uuid, _EVENT, want_result=False, **how)
