# SPDX-License-Identifier: Apache-2.0
"""The records below a VM: how they are added, linked and removed.

Every kind of resource registers a :class:`Kind` here; the methods
Add/Modify/RemoveResourceSettings look it up by ResourceSubType, or by
class for settings that have none.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import typing

from . import engine
from . import virtualization_rules as rules
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

COMPONENT = 'Msvm_VirtualSystemSettingDataComponent'
Props = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Addition:
    """A resource that was checked and can be added."""

    cls: str
    instance_id: str
    props: Props


def _nothing(_vm: Vm, _record: engine.Record) -> None:
    """A kind without that step."""


def _no_change(_vm: Vm, _record: engine.Record, _changes: Props) -> None:
    """A kind whose running devices do not care."""


def _as_it_is(_vm: Vm, _record: engine.Record, changes: Props) -> Props:
    return changes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one kind of resource behaves.

    ``check_*`` raise Refused (a return code), JobFailure or WinError (a
    failed job) and change nothing; the others carry out.
    """

    #: (vm, properties given, additions of the same call) -> Addition
    check_add: Callable[[Vm, Props, list[Addition]], Addition] | None = None
    added: Callable[[Vm, engine.Record], None] = _nothing
    #: (vm, record, changes) -> changes as they are stored
    check_modify: Callable[[Vm, engine.Record, Props], Props] = _as_it_is
    #: After the record was changed; what it raises takes that back.
    modified: Callable[[Vm, engine.Record, Props], None] = _no_change
    check_remove: Callable[[Vm, engine.Record], None] | None = None
    removed: Callable[[Vm, engine.Record], None] = _nothing
    #: Changes of a running VM are the work of a job (section 3).
    storage: bool = False


KINDS: dict[str, Kind] = {}


def kind_of(cls_name: str, subtype: str | None) -> Kind:
    """The kind of a resource.

    :raises NotSimulated: Hyper-V has it, this simulation does not
    """
    found = KINDS.get(subtype or '') or KINDS.get(cls_name)
    if found is None:
        raise engine.NotSimulated('resource %s %s' % (cls_name, subtype))
    return found


def add_resource(vm: Vm, cls: str, instance_id: str, props: Props
                 ) -> engine.Record:
    """Add a resource and its link to the settings (section 1)."""
    store = vm.host.v2
    record = store.add(cls, **dict(props, InstanceID=instance_id))
    store.add(COMPONENT, GroupComponent=vm.settings, PartComponent=record)
    return record


def remove_record(host: Host, record: engine.Record) -> None:
    """Delete a record, every link to it, and what is below it."""
    prefix = record['InstanceID'] + '\\'
    for below in reversed(host.v2.under(record['InstanceID'])):
        if below['InstanceID'].lower().startswith(prefix.lower()):
            _delete(host, below)
    _delete(host, record)


def _delete(host: Host, record: engine.Record) -> None:
    for link in host.v2.referring(record):
        host.v2.delete(link)
    host.v2.delete(record)


def remove_tree(host: Host, prefix: str) -> None:
    """Delete every record below a settings InstanceID, links first."""
    for record in reversed(host.v2.under(prefix)):
        _delete(host, record)


def parent_of(vm: Vm, props: Props) -> engine.Record:
    """The resource that ``Parent`` names.

    :raises Refused: no such resource of this VM
    """
    record = vm.host.v2.by_path(props.get('Parent') or '')
    if record is None or vm.host.vms.of(record) != vm:
        raise rules.invalid(vm, 'Parent %s does not exist.' %
                            props.get('Parent'))
    return record


def same_slot(additions: Iterable[Addition], instance_id: str) -> bool:
    """Whether another resource of the same call takes that identity."""
    return any(one.instance_id.lower() == instance_id.lower()
               for one in additions)


# -- boot sources of generation 2 (section 7)
BOOT_SOURCE = 'Msvm_BootSourceSettingData'


def add_boot_source(vm: Vm, record: engine.Record, source_type: int,
                    description: str, device_path: str) -> None:
    """Give a bootable device its entry at the end of the boot order.

    :param source_type: 1 drive, 2 network, 3 file
    """
    if vm.generation != 2:
        return
    store = vm.host.v2
    source = add_resource(
        vm, BOOT_SOURCE, '%s\\%s' % (vm.instance_id, vm.host.new_guid()),
        dict(ElementName=description, BootSourceDescription=description,
             BootSourceType=source_type, FirmwareDevicePath=device_path,
             OtherLocation=''))
    store.add('Msvm_LogicalIdentity', SystemElement=record,
              SameElement=source)
    order = tuple(vm.settings['BootSourceOrder'] or ())
    store.update(vm.settings, BootSourceOrder=order + (source.path,))


def remove_boot_source(vm: Vm, record: engine.Record) -> None:
    """Take a device's entry out of the boot order."""
    store = vm.host.v2
    for link in store.find('Msvm_LogicalIdentity', SystemElement=record):
        source = store.by_path(link['SameElement'])
        store.delete(link)
        if source is None:
            continue
        order = tuple(vm.settings['BootSourceOrder'] or ())
        store.update(vm.settings, BootSourceOrder=tuple(
            path for path in order if path.lower() != source.path.lower()))
        remove_record(vm.host, source)
