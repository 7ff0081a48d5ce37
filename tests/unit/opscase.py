# SPDX-License-Identifier: Apache-2.0
"""Base of unit tests of what ``wiring`` builds, over a simulated host."""

import contextlib

from nova import conf as nova_conf
from nova.virt import configdrive  # noqa: F401  (registers its options)
from oslo_config import fixture as config_fixture

from tests import factories
from tests.unit import hostcase

from compute_hyperv import model  # noqa: I100
from compute_hyperv import wiring

CONF = nova_conf.CONF


class VirtApi:
    """Nova's side of the driver, where Neutron answers at once."""

    @contextlib.contextmanager
    def wait_for_instance_event(self, instance, events, timeout,
                                error_callback):
        yield


class OpsTestCase(hostcase.HostTestCase):
    """The driver's parts in ``self.ops``.

    ``OPTIONS`` are overridden options: {(group or None, name): value}.
    """

    OPTIONS = {}

    def setUp(self):
        super().setUp()
        conf = self.useFixture(config_fixture.Config(CONF)).conf
        options = {(None, 'instances_path'): self.INSTANCES_DIR,
                   ('hyperv', 'power_state_event_polling_interval'): 1,
                   ('hyperv', 'wait_soft_reboot_seconds'): 1} | self.OPTIONS
        for (group, name), value in options.items():
            conf.set_override(name, value, group)
        with self.fabric.on('HV1'):
            self.ops = wiring.build(VirtApi())
        self.addCleanup(self.ops.console.stop_all)
        self.addCleanup(self.ops.events.stop)
        self.instance = factories.instance(factories.flavor())

    def define(self, instance=None, generation=model.Generation.TWO):
        """Make the VM of an instance, as spawn does it, without disks."""
        instance = instance or self.instance
        plan = model.InstancePlan(
            vm_name=instance.name, uuid=instance.uuid,
            machine=model.MachineSpec(
                generation=generation, cpu=model.CpuSpec(count=1),
                memory=model.MemorySpec(maximum_mib=512),
                serial_ports=(model.SerialPortSpec(
                    number=1, interactive=True, logged=True),)))
        layout = self.paths.layout(instance.name)
        self.paths.make_dir(layout.instance_dir)
        with self.undo() as undo:
            self.ops.vms._define(instance, plan, layout, undo)
        return self.vm(instance)

    def vm(self, instance=None):
        """The simulated VM of an instance."""
        return self.host.vms.named((instance or self.instance).name)

    @property
    def vm_names(self):
        return sorted(vm.name for vm in self.host.vms)
