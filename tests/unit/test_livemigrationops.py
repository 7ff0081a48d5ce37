# SPDX-License-Identifier: Apache-2.0
"""What the source of a live migration makes of its end."""

from types import SimpleNamespace

import ddt
from nova import exception

from compute_hyperv.sim import install
from tests import base
from tests import factories
from tests.unit import fakes

install.install()

from compute_hyperv import errors  # noqa: E402
from compute_hyperv import livemigrationops  # noqa: E402

BROKEN = errors.HyperVError(reason='broken')
GONE = exception.InstanceNotFound(instance_id='it')


class Record:
    """A migration record that nobody stores."""

    dest_node = 'HV2'

    def save(self):
        self.saved = True


def answer(outcomes):
    """A function that gives, or raises, one after the other; the last on."""
    outcomes = list(outcomes)

    def give(*args, **kwargs):
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
    return give


class Host:
    """Hyper-V on the source and, through it, on the target."""

    def __init__(self, moved, here, there, stopped=(True,)):
        self.targets = set()
        self.migrate = self.at(answer([moved]))
        self.find_owner = answer(here)
        self.has_arrived = self.at(answer(there))
        self.stop_jobs = answer(stopped)
        self.jobs = answer([['Moving (99 %)']])
        self.memory_bytes = answer([1 << 30])
        self.progress = answer([None])

    def at(self, give):
        """As *give*, and note which host is asked."""
        def noted(vm_name, target, **kwargs):
            self.targets.add(target)
            return give()
        return noted


class Console:
    def __init__(self):
        self.calls = []

    def start(self, vm_name, uuid):
        self.calls.append('start')

    def stop(self, vm_name):
        self.calls.append('stop')
        raise OSError(5, 'Access is denied', 'console.log')


@ddt.ddt
class OutcomeTest(base.TestCase):

    def setUp(self):
        super().setUp()
        self.instance = factories.instance(factories.flavor())
        self.instance.save = lambda: None
        self.clock, self.console = fakes.Clock(now=0.0), Console()
        self.told = []

    def ops(self, host):
        return livemigrationops.LiveMigrationOps(
            win=host, host=host, checks=None, paths=None, image_cache=None,
            vms=None, volumes=None, vifs=None, metrics=None,
            console=self.console, share='', use_cow=True, timeout_s=0,
            end_timeout_s=30, clock=self.clock)

    def migrate(self, ops):
        data = SimpleNamespace(is_shared_instance_path=True,
                               migration=Record())
        ops.migrate(
            None, self.instance, 'nova-of-hv2',
            lambda *args: self.tell('moved', args),
            lambda *args, migration_status, **kwargs: self.tell(
                migration_status, args), None, data)
        return data.migration

    def tell(self, what, args):
        """Nova knows the target by the name of its service."""
        self.assertEqual('nova-of-hv2', args[2])
        self.told.append(what)

    @ddt.data((None, ['uuid'], [False], 'moved'),
              (BROKEN, ['uuid'], [False], 'failed'),
              (BROKEN, [BROKEN, 'uuid'], [False], 'failed'),
              # Hyper-V complains after the switch.
              (BROKEN, [None], [True], 'moved'),
              (BROKEN, [BROKEN, None], [BROKEN, True], 'moved'),
              # Somebody deleted it meanwhile.
              (BROKEN, [None], [False], 'failed'))
    @ddt.unpack
    def test_nova_is_told_where_the_vm_is(self, moved, here, there, told):
        """L078, L079."""
        host = Host(moved, here, there)
        self.migrate(self.ops(host))
        self.assertEqual(([told], {'HV2'}), (self.told, host.targets))
        # A log that cannot be closed is no reason to say otherwise.
        self.assertEqual({'moved': 'stop', 'failed': 'start'}[told],
                         self.console.calls[0])

    @ddt.data(([BROKEN], [True]), ([None], [BROKEN]))
    @ddt.unpack
    def test_nobody_lets_go_of_a_vm_that_may_be_anywhere(self, here, there):
        self.assertRaises(errors.HyperVError, self.migrate,
                          self.ops(Host(BROKEN, here, there)))
        self.assertEqual([], self.told)

    def test_job_that_cannot_be_cancelled_is_waited_for(self):
        """It is in the switch: only afterwards it is known where the VM is."""
        host = Host(BROKEN, ['uuid'], [True],
                    stopped=[False, False, False, GONE])
        find_owner = host.find_owner
        host.find_owner = lambda name: (
            None if self.clock.now > 2 else find_owner(name))
        self.migrate(self.ops(host))
        self.assertEqual(['moved'], self.told)

    @ddt.data([False], [False, BROKEN, False, BROKEN, BROKEN, False])
    def test_job_that_does_not_end_leaves_all_open(self, stopped):
        """One limit for all of it; neither host lets go of anything."""
        host = Host(BROKEN, ['uuid'], [True], stopped=stopped)
        self.assert_refuses(
            errors.JobsStillRunning, 'Moving (99 %)', 'vm_operation_timeout',
            call=lambda: self.migrate(self.ops(host)))
        self.assertEqual([], self.told)
        self.assertLessEqual(self.clock.now, 34)

    def test_all_has_moved_in_the_end(self):
        record = self.migrate(self.ops(Host(None, [None], [True])))
        self.assertEqual((1 << 30, 1 << 30, None), (
            record.memory_total, record.memory_processed,
            record.memory_remaining))
        self.assertEqual((None, None, None), (
            record.disk_total, record.disk_processed, record.disk_remaining))

    def test_abort_of_one_that_has_not_begun(self):
        ops = self.ops(Host(None, ['uuid'], [False]))
        host_migrate = ops._host.migrate

        def never(*args, **kwargs):
            self.told.append('begun')
            host_migrate()
        ops._host.migrate = never
        watch = ops._watch

        def cancelled(*args):
            ops._watches[self.instance.uuid] = found = watch(*args)
            ops.abort(self.instance)
            return found
        ops._watch = cancelled
        self.migrate(ops)
        self.assertEqual(['cancelled'], self.told)

    def test_abort_of_none(self):
        ops = self.ops(Host(None, ['uuid'], [False]))
        self.assert_refuses(errors.HyperVError, 'no migration',
                            call=lambda: ops.abort(self.instance))

    def test_abort_of_one_that_nobody_follows(self):
        """Nova-compute was started anew meanwhile."""
        host = Host(None, ['uuid'], [False], stopped=[False])
        host.progress = answer([SimpleNamespace(percent=5, text='moving')])
        ops = self.ops(host)
        self.assertRaises(errors.WaitTimeout, ops.abort, self.instance)
        host.stop_jobs = answer([True])
        ops.abort(self.instance)
