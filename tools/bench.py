# SPDX-License-Identifier: Apache-2.0
"""What the driver's operations cost: calls to the host, and CPU time.

The real driver and the real os-win run over the simulated host. Calls are
counted where they leave os-win. The CPU time is that of the calling thread
without what it spends in the simulator or in Nova's database.
"""

import argparse
import collections
import contextlib
import dataclasses
import logging
import os
import pathlib
import statistics
import sys
import time
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import tests  # noqa: E402,F401  (Nova's concurrency mode and os-win)

from nova import context as nova_context  # noqa: E402
from nova import exception  # noqa: E402
from nova import objects  # noqa: E402

from compute_hyperv.sim import ports  # noqa: E402
from tests import factories  # noqa: E402
from tests.functional import base  # noqa: E402
from tests.functional import exports  # noqa: E402
from tools import benchmoves  # noqa: E402

GENERATIONS = {1: 'hyperv-gen1', 2: 'hyperv-gen2'}

#: Columns: title and the recorder's kinds that count for it.
COLUMNS = (('queries', ('query',)), ('methods', ('method',)),
           ('gets', ('get', 'ref')), ('DLL', ('dll',)), ('files', ('file',)))


@dataclasses.dataclass
class Cost:
    """What one operation took."""

    calls: collections.Counter      #: by the recorder's kind
    cpu_s: float


class Stopwatch:
    """CPU time of this thread, less what marked functions take."""

    def __init__(self):
        self._excluded_s = 0.0
        self._depth = 0

    def excluding(self, function):
        """*function*, its time not counted."""
        def wrapped(*args, **kwargs):
            self._depth += 1
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self._excluded_s += time.thread_time() - began
        return wrapped

    @contextlib.contextmanager
    def running(self):
        """Yields a function that gives the seconds since the block began."""
        began, excluded = time.thread_time(), self._excluded_s
        yield lambda: (time.thread_time() - began
                       - (self._excluded_s - excluded))


class Bench(base.TestCase):
    """Not a test: Nova's database and services, the driver called directly."""

    HOSTS = tuple({'name': name, 'cpus': 64, 'memory_mib': 4 << 20,
                   'volumes': {'C': 1 << 20},
                   'extra': {'live_migration': True}}
                  for name in ('HV1', 'HV2'))
    vm_counts = (1, 100, 1000)

    def runTest(self):
        self.watch = Stopwatch()
        self._exclude()
        self.context = nova_context.get_admin_context()
        self.images = {
            generation: self.glance.add_disk('vhdx', hw_machine_type=machine)
            for generation, machine in GENERATIONS.items()}
        self.instances = []
        self._networks, self._known = {}, {}
        reports = self.computes['HV1'].manager.rt.reportclient
        self.provider_tree = reports.get_provider_tree_and_ensure_root(
            self.context, self._get_provider_uuid_by_host('HV1'))
        say('%-28s %6s' % ('operation', 'VMs'),
            *['%8s' % title for title, kinds in COLUMNS], ' CPU ms')
        self._spawn(self._instance(1))       # fills the image cache
        for count in self.vm_counts:
            while len(self.instances) < count:
                generation = 1 + len(self.instances) % 2
                self.instances.append(self._instance(generation))
                self._spawn(self.instances[-1])
            self._measure(count)

    def _exclude(self):
        for owner, name in (
                (ports.LocalPort, 'call'), (objects.Instance, 'save')):
            original = getattr(owner, name)
            setattr(owner, name, self.watch.excluding(original))
            self.addCleanup(setattr, owner, name, original)
        # These instances are in no database.
        original = objects.Instance.get_by_uuid
        objects.Instance.get_by_uuid = self.watch.excluding(self._found)
        self.addCleanup(setattr, objects.Instance, 'get_by_uuid', original)
        for owner in (objects.BlockDeviceMappingList,
                      objects.VirtualInterfaceList):
            original = owner.get_by_instance_uuid
            owner.get_by_instance_uuid = self.watch.excluding(original)
            self.addCleanup(setattr, owner, 'get_by_instance_uuid', original)

    def _found(self, context, uuid, expected_attrs=None, **kwargs):
        if expected_attrs == ['device_metadata']:   # the driver's question
            return self._known[uuid]
        raise exception.InstanceNotFound(instance_id=uuid)

    def _measure(self, count):
        runs = 5
        for generation in GENERATIONS:
            new = [self._instance(generation) for _ in range(runs)]
            self._row(f'spawn, generation {generation}', count, [
                lambda one=one: self._spawn(one) for one in new])
            self._row(f'destroy, generation {generation}', count, [
                lambda one=one: self._destroy(one) for one in new])
        some = self.instances[-runs:]
        for kind in ('SOFT', 'HARD'):
            self._row(f'reboot, {kind.lower()}', count, [
                lambda one=one: self.driver().reboot(
                    self.context, one, self.network(one), kind)
                for one in some])
        self._measure_volumes(count, some, runs)
        self._measure_moves(count, runs)
        self._row('get_info', count, [
            lambda one=one: self.driver().get_info(one) for one in some])
        self._row('resource update', count, [self._update_resources] * runs)
        self._row('power-state sync', count, [self._sync_power_states])

    def _measure_volumes(self, count, instances, runs):
        """Attach and detach a volume over iSCSI, each of its own target."""
        pairs = [(instances[number % len(instances)], self._volume())
                 for number in range(runs)]
        self._row('attach volume, iSCSI', count, [
            lambda one=one, info=info: self.driver().attach_volume(
                self.context, info, one, '/dev/sdb') for one, info in pairs])
        self._row('detach volume, iSCSI', count, [
            lambda one=one, info=info: self.driver().detach_volume(
                self.context, info, one, '/dev/sdb') for one, info in pairs])

    def _measure_moves(self, count, runs):
        """What leaves the host, or part of it; new instances go."""
        moves = benchmoves.Moves(self)
        for steps in (
                (('snapshot', moves.snapshot),),
                (('resize, to another host', moves.resize),
                 ('resize, confirm', moves.confirm)),
                (('live migration', moves.live_migrate),)):
            new = [self._instance(2) for _ in range(runs)]
            for one in new:
                self._spawn(one)
            for name, step in steps:
                self._row(name, count, [
                    lambda one=one, step=step: step(one) for one in new])
            for one in new:
                (self._destroy if one.host == 'HV1' else moves.destroy)(one)

    def _volume(self):
        volume_id = str(uuid.uuid4())
        storage = exports.ISCSI(self.fabric.san, volume_id, 1)
        storage.export(self.driver().get_volume_connector(None))
        return {'driver_volume_type': 'iscsi', 'serial': volume_id,
                'data': storage.data()}

    def _row(self, title, count, operations):
        costs = self._costs(operations)
        figures = [statistics.median(
            sum(cost.calls[kind] for kind in kinds) for cost in costs)
            for _, kinds in COLUMNS]
        cpu_s = statistics.median(cost.cpu_s for cost in costs)
        say('%-28s %6d' % (title, count),
            *['%8d' % figure for figure in figures],
            '%7.2f' % (1000 * cpu_s))

    def _costs(self, operations):
        operations[0]()     # the first one fills os-win's own caches
        return [self._cost(operation)
                for operation in operations[1:] or operations]

    def _cost(self, operation):
        with (self.fabric.recorder.recording() as calls,
              self.watch.running() as seconds):
            operation()
            cpu_s = seconds()
        return Cost(collections.Counter(call.kind for call in calls), cpu_s)

    # -- operations ----------------------------------------------------------

    def _instance(self, generation):
        instance = factories.instance(factories.flavor(disk_gib=1))
        instance.image_ref = self.images[generation]
        instance.system_metadata = {
            'image_hw_machine_type': GENERATIONS[generation],
            'image_disk_format': 'vhdx', 'image_container_format': 'bare',
            'image_min_disk': '0', 'image_min_ram': '0',
            'image_base_image_ref': instance.image_ref}
        instance._context = self.context
        instance.save = lambda *args, **kwargs: None
        self._known[instance.uuid] = instance
        self._networks[instance.uuid] = factories.network_info(
            factories.vif())
        return instance

    def network(self, instance):
        """The NICs of an instance."""
        return self._networks[instance.uuid]

    @staticmethod
    def image_meta(instance):
        """The image that an instance was made from."""
        return factories.image_meta(
            image_id=instance.image_ref, hw_machine_type=instance
            .system_metadata['image_hw_machine_type'])

    def _spawn(self, instance):
        self.driver().spawn(
            self.context, instance, self.image_meta(instance), [], None, {},
            network_info=self.network(instance),
            block_device_info=factories.block_device_info())

    def _destroy(self, instance):
        self.driver().destroy(self.context, instance, self.network(instance),
                              factories.block_device_info())

    def _update_resources(self):
        """What nova-compute asks of the driver every minute."""
        driver = self.driver()
        node, = driver.get_available_nodes()
        driver.get_available_resource(node)
        driver.update_provider_tree(self.provider_tree, node)

    def _sync_power_states(self):
        """What nova-compute asks of it every ten minutes."""
        self.driver().get_num_instances()
        for instance in self.instances:
            self.driver().get_info(instance, use_cache=False)


def say(*words):
    """To the terminal; Nova's fixtures capture sys.stdout."""
    print(*words, file=sys.__stdout__, flush=True)


def main():
    parser = argparse.ArgumentParser(prog='tools/bench')
    parser.add_argument('--vms', default='1,100,1000',
                        help='numbers of VMs (default: 1,100,1000)')
    arguments = parser.parse_args()
    os.environ['OS_TEST_TIMEOUT'] = '0'
    Bench.vm_counts = tuple(int(n) for n in arguments.vms.split(','))
    logging.disable(logging.WARNING)
    result = unittest.TestResult()
    with open(os.devnull, 'w') as nothing:
        with contextlib.redirect_stderr(nothing):
            unittest.TestSuite([Bench()]).run(result)
    for _, text in result.errors + result.failures:
        say(text)
    return 1 if result.errors or result.failures else 0


if __name__ == '__main__':
    sys.exit(main())
