# SPDX-License-Identifier: Apache-2.0
"""UpgradeSystemVersion: VM off, no downgrade (section 10 [D])."""

from __future__ import annotations

import functools
import typing

from .. import jobs
from .. import profiles
from .. import vmfiles
from . import engine
from . import virtualization
from . import virtualization_power as power
from . import virtualization_rules as rules
from ..vm import Vm

_SERVICE = 'Msvm_VirtualSystemManagementService'
_INVALID_STATE, _INCOMPATIBLE = 5, 6


@engine.method(virtualization.V2, _SERVICE, 'UpgradeSystemVersion')
def upgrade_system_version(call: engine.Call
                           ) -> dict[str, typing.Any] | int:
    """Give a VM a newer configuration version; there is no way back.

    :returns: a job; 5 the VM is not off, 6 an older version, or one that
        this host does not have
    """
    host = call.host
    vm = host.vms.of_system(call.args['ComputerSystem'])
    if vm is None:
        return host.quirks.invalid_parameter_code
    text = call.args['UpgradeSettingData']
    given = call.store.parse_text(text).props if text else {}
    version = given.get('Version') or host.profile.default_vm_version
    if not host.profile.supports(version) or (
            profiles.version_tuple(version) <
            profiles.version_tuple(vm.version)):
        return _INCOMPATIBLE
    if not vm.is_off or power.is_busy(vm):
        return _INVALID_STATE
    try:
        rules.need_settled(vm)
    except rules.Refused as exc:
        return exc.code
    return host.jobs.start(jobs.Task(
        work=functools.partial(_upgrade, vm, version),
        job_type=jobs.MODIFY, affected=(vm.system,),
        name='Upgrading Virtual Machine Version'))


def _upgrade(vm: Vm, version: str) -> None:
    """The files get the names that the version has.

    :raises JobFailure: it was started meanwhile
    """
    if not vm.is_off:
        raise jobs.JobFailure('%s is not off.' % vm.describe(),
                              jobs.INVALID_STATE)
    before = vmfiles.names(vm)
    vm.host.v2.update(vm.settings, Version=version)
    vm.host.vms.files.move(vm, before)
    vm.touch()
