# SPDX-License-Identifier: Apache-2.0
"""The directories of instances: whose they are, and their end.

A directory has the name of the instance, and such names come again: in a
database made anew, in another cloud on the same host or share. What somebody
else left there is never built over, and not deleted either. Nova asks for a
deletion after each build that failed, also after one that was refused, and
later, when this service may be another one: the instance carries a mark.
"""

from typing import Any

from nova.compute import task_states
from nova import exception
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import hostnotes
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module

LOG = logging.getLogger(__name__)

#: In the system metadata: the host on which its directory is another's. Nova
#: saves it with the failure of the build or move.
REFUSED_KEY = 'hyperv_refused_by'


class InstanceFiles:
    """Makes and deletes the directories of instances."""

    def __init__(self, win: oswin.Win, paths: paths_module.Paths) -> None:
        self._win = win
        self._paths = paths
        self._notes = hostnotes.HostNotes(paths, win.name)
        #: Instances that were refused, for their directory is another's. A
        #: deletion that waited meanwhile does not have the mark.
        self._refused: set[str] = set()

    def claim(self, instance: Any, but: str | None = None) -> None:
        """Refuse to build over what is there, and to delete it later.

        What has a VM of the instance is its own, and may be deleted.

        :param but: as for :meth:`refuse_existing`.
        :raises InstanceExists: a VM or a disk of that name.
        """
        self._forgive(instance)
        try:
            self.refuse_existing(instance, but)
        except exception.InstanceExists:
            self._refused.add(instance.uuid)
            instance.system_metadata[REFUSED_KEY] = self._win.name
            self.recognize(instance)
            raise

    def recognize(self, instance: Any) -> None:
        """Take the directory for the instance's own if its VM is here."""
        if (self._is_refused(instance) and
                self._win.find_owner(instance.name) == instance.uuid):
            self._forgive(instance)

    def forget_release(self, instance: Any) -> None:
        """Drop the note of a volume that a VM of earlier lent.

        The one that came here, made anew or from elsewhere, has all of them.
        """
        self._notes.remove(instance.name, hostnotes.RELEASED)

    def refuse_existing(self, instance: Any, but: str | None = None) -> None:
        """Refuse to build over what is there.

        :param but: path of a system disk that may be there.
        :raises InstanceExists: a VM or a disk of that name.
        """
        if (self._win.find_owner(instance.name) is not None or
                self._paths.find_root(instance.name) != but):
            raise exception.InstanceExists(name=instance.name)

    def make(self, instance_dir: str, undo: operation.Rollback) -> None:
        """Make a directory unless it is there."""
        if self._paths.make_dir(instance_dir):
            undo.on_failure(self._paths.delete_tree, instance_dir)

    def delete(self, instance: Any) -> None:
        """Delete the directory and those of work under way.

        Idempotent. While an instance that is not to be deleted has a VM of
        that name, or was there first, nothing is deleted.
        """
        self._delete(instance, self._paths.instance_dir(instance.name),
                     self._paths.revert_dir(instance.name),
                     self._paths.export_dir(instance.name))

    def delete_home(self, instance: Any) -> None:
        """As :meth:`delete`, of its own directory only."""
        self._delete(instance, self._paths.instance_dir(instance.name))

    def _delete(self, instance: Any, *directories: str) -> None:
        if self._is_another_s(instance):
            LOG.warning("%s belongs to something else and stays.",
                        directories[0], instance=instance)
            return
        for path in directories:
            self._paths.delete_tree(path)

    def delete_after_destroy(self, instance: Any) -> None:
        """As :meth:`delete`, but for what a resize may come back to."""
        if instance.task_state == task_states.RESIZE_REVERTING:
            # This host may also be the one that the instance goes back to.
            self._paths.delete_tree(self._paths.instance_dir(instance.name))
            return
        self.delete(instance)

    def try_to_delete(self, instance: Any) -> bool:
        """As :meth:`delete`; whether it worked.

        Nova asks for one instance after the other, for some times; an error
        would keep it from the next one, and from counting.
        """
        try:
            self.delete(instance)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            LOG.warning("Its files are not deleted yet: %s",
                        errors.text_of(exc), instance=instance)
            return False
        return True

    def _is_another_s(self, instance: Any) -> bool:
        owner = self._win.find_owner(instance.name)
        return (self._is_refused(instance)
                or owner not in (None, instance.uuid))

    def _is_refused(self, instance: Any) -> bool:
        host = instance.system_metadata.get(REFUSED_KEY, '')
        return (instance.uuid in self._refused
                or host.lower() == self._win.name.lower())

    def _forgive(self, instance: Any) -> None:
        self._refused.discard(instance.uuid)
        instance.system_metadata.pop(REFUSED_KEY, None)
