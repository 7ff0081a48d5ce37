# SPDX-License-Identifier: Apache-2.0
"""Names of VMs: Nova's, and those that somebody gave them.

Hyper-V's tools rename a VM with one click, also while it runs, and os-win
finds VMs by their names only. Nova's uuid in the notes tells whose it is.
"""

import ntpath
from typing import Any

from nova import objects
from nova.objects import fields
from oslo_log import log as logging

from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

#: Examples of what templates of names hold, as long as it usually gets.
_NUMBER = 0x7fffffff
_UUID = 'x' * 36
_TEXT = 'x' * 63        #: a label of DNS


def longest(template: str) -> int:
    """How many characters the names of ``instance_name_template`` have.

    Nova lets an instance's number in, or columns of its table by name.
    """
    try:
        return len(template % _NUMBER)
    except TypeError:
        pass
    try:
        return len(template % {name: _example(field) for name, field
                               in objects.Instance.fields.items()})
    except KeyError:
        return len(_UUID)               # so does Nova


def _example(field: Any) -> Any:
    if isinstance(field, fields.IntegerField):
        return _NUMBER
    return _UUID if isinstance(field, fields.UUIDField) else _TEXT


class VmNames:
    """Gives the VMs of instances their names back."""

    def __init__(self, win: oswin.Win) -> None:
        self._win = win

    def owner(self, vm_name: str, uuid: str) -> str | None:
        """As :meth:`oswin.Win.find_owner`, after :meth:`restore`."""
        found = self._win.find_owner(vm_name)
        return uuid if found is None and self.restore(vm_name, uuid) else found

    def restore(self, vm_name: str, uuid: str) -> bool:
        """Rename the VM of an instance back; whether there was one.

        Only one whose files lie in a directory of the instance's name: the
        notes of a copy that an administrator made tell the same uuid.

        :param vm_name: no VM has that name.
        """
        vm = self._win.vm
        for settings in vm._conn.Msvm_VirtualSystemSettingData(
                VirtualSystemType=vm._VIRTUAL_SYSTEM_TYPE_REALIZED):
            home = ntpath.basename(settings.ConfigurationDataRoot or '')
            if list(settings.Notes or ())[:1] == [uuid] and (
                    home.lower() == vm_name.lower()):
                LOG.warning("VM %s of instance %s was called %s. It gets its "
                            "name back; rename the instance in OpenStack "
                            "instead.", vm_name, uuid, settings.ElementName)
                settings.ElementName = vm_name
                vm._modify_virtual_system(settings)
                return True
        return False
