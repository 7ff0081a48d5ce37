# SPDX-License-Identifier: Apache-2.0
"""Field lessons that belong to no single module, and which have a test."""

import pathlib
import runpy
import unittest

from nova.objects import base as nova_base
from oslo_serialization import jsonutils

from compute_hyperv import errors
from compute_hyperv.sim import jobs
from tests import factories
from tests.unit import opscase

ROOT = pathlib.Path(__file__).resolve().parents[2]

#: Lessons that no test names yet: shielded VMs (45, 46), passed-through
#: devices (55), failover clusters (130 to 147), and single ones; 152 is
#: placement's, 167 needs a real Windows.
WITHOUT_TEST = frozenset((45, 46, 55, 65, *range(130, 148), 152, 153,
                          167, 171))
#: The others up to the last one.
TESTED = [number for number in range(1, 175) if number not in WITHOUT_TEST]


class CoverageTest(unittest.TestCase):

    def test_each_lesson_that_applies_has_a_test(self):
        lessons = runpy.run_path(str(ROOT / 'tools' / 'lessons'))
        named = {lesson for lesson, _test, _text in lessons['found']()}
        self.assertEqual([], [
            f'L{number:03}' for number in TESTED
            if f'L{number:03}' not in named])

    def test_statement_stands_without_the_names(self):
        lessons = runpy.run_path(str(ROOT / 'tools' / 'lessons'))
        for text, statement in (
                ('L031: the ISO is deleted.', 'the ISO is deleted.'),
                ('B4, L001: rollback.', 'rollback.'),
                ('L018, L025: it grows.', 'it grows.')):
            self.assertEqual(statement, lessons['_statement'](text))


class RightsTest(opscase.OpsTestCase):

    def test_account_without_rights_is_told_so_at_once(self):
        """L003: an authorization error, before disks are created."""
        store = self.host.v2
        store.delete(store.find_one('Msvm_VirtualSystemManagementService'))
        with self.assertRaises(errors.HypervisorPermissionDenied):
            self.ops.vms.spawn(None, self.instance, factories.image_meta(),
                               [], None, [], factories.block_device_info())
        self.assertEqual([], self.paths.list_dir(self.paths.instances_dir))


class QueriesTest(opscase.OpsTestCase):

    def test_state_of_one_vm_is_asked_by_its_name(self):
        """L161: lookups are keyed, they cost the same among many VMs."""
        self.define()
        before = self._count_info()
        for number in range(20):
            self.define(factories.instance(id=1000 + number))
        self.assertEqual(before, self._count_info())

    def _count_info(self):
        with self.fabric.recorder.recording() as calls:
            self.ops.vms.info(self.instance)
        return len(calls)


class MigrateDataTest(opscase.OpsTestCase):

    HOST = {'extra': {'live_migration': True}}

    def test_data_of_a_live_migration_travels(self):
        """L083: over RPC, with whether the instance path is shared."""
        node = {'cpu_info': jsonutils.dumps({'vendor': 'GenuineIntel'})}
        self.instance.image_ref = ''
        data = self.ops.live.checks.check_target(
            None, self.instance, node, node, None, None)
        serializer = nova_base.NovaObjectSerializer()
        text = jsonutils.dumps(serializer.serialize_entity(None, data))
        there = serializer.deserialize_entity(None, jsonutils.loads(text))
        self.assertIs(False, there.is_shared_instance_path)
        self.assertEqual('HV1', there.migration.dest_node)


class JobCodesTest(opscase.OpsTestCase):

    def test_code_of_a_failed_job_is_told_as_it_is(self):
        """L159: codes above 255 are not cut, whatever their type."""
        self.define()
        for _attempt in range(20):      # os-win tries again
            self.host.jobs.fail_next(jobs.START, 'No memory.', 32788)
        with self.assertRaisesRegex(errors.HyperVError, '32788'):
            self.ops.power.start(self.instance)
