# SPDX-License-Identifier: Apache-2.0
import inspect
import unittest

import ddt
from nova import exception

from compute_hyperv import errors

os_win_exc = errors.os_win_exc


def windows_error(code):
    error = OSError(13, 'in use')
    error.winerror = code
    return error


@ddt.ddt
class ToNovaTest(unittest.TestCase):

    @ddt.data(
        (os_win_exc.HyperVVMNotFoundException(vm_name='vm'),
         exception.InstanceNotFound),
        (os_win_exc.DiskNotFound('disk 3'), exception.DiskNotFound),
        (os_win_exc.HyperVvNicNotFound(vnic_name='n'),
         exception.DeviceNotFound),
        (os_win_exc.HyperVPortNotFoundException(port_name='p'),
         exception.DeviceNotFound),
        (os_win_exc.PciDeviceNotFound(vendor_id='1', product_id='2'),
         exception.DeviceNotFound),
        (os_win_exc.HyperVAuthorizationException(),
         errors.HypervisorPermissionDenied),
        (os_win_exc.VHDResizeException(vhd_path='p', reason='r'),
         errors.HyperVError),
        (os_win_exc.VHDException('bad disk'), errors.DiskOperationFailed),
        (os_win_exc.VHDWin32APIException(
            error_code=1, func_name='f', error_message='m'),
         errors.DiskOperationFailed),
        (os_win_exc.Win32IOException(
            error_code=1, func_name='f', error_message='m'),
         errors.DiskOperationFailed),
        (os_win_exc.ClusterException('c'), errors.ClusterOperationFailed),
        (os_win_exc.ClusterGroupMigrationFailed('c'),
         errors.ClusterOperationFailed),
        (os_win_exc.UnsupportedOperation(reason='old'),
         errors.NotSupportedByHost),
        (os_win_exc.WMIJobFailed(
            error_code=32768, job_state=10, error_summ_desc='s',
            error_desc='d'), errors.HyperVError),
        (os_win_exc.JobTerminateFailed(), errors.HyperVError),
        (os_win_exc.x_wmi('provider failure'), errors.HyperVError),
        (os_win_exc.x_wmi_timed_out('late'), errors.HyperVError),
        (windows_error(32), errors.DiskOperationFailed),
        # As open() and write() of Python raise them on Windows.
        (PermissionError(13, 'denied', 'C:\\a.vhdx'),
         errors.DiskOperationFailed),
        (OSError(28, 'No space left'), errors.DiskOperationFailed),
    )
    @ddt.unpack
    def test_nearest_class_wins(self, raised, expected):
        """L160, L174: a typed not-found, and nothing of os-win's."""
        self.assertTrue(errors.is_foreign(raised))
        self.assertIs(expected, type(errors.to_nova(raised)))

    @ddt.data(exception.InstanceNotFound(instance_id='x'), ValueError('x'),
              NotImplementedError(), ConnectionRefusedError(111, 'rabbit'),
              windows_error(10061))
    def test_nova_s_own_and_network_errors_are_not_ours(self, raised):
        self.assertFalse(errors.is_foreign(raised))

    def test_message_keeps_the_job_s_texts(self):
        """L158: state, code and all texts of a failed job."""
        job = os_win_exc.WMIJobFailed(error_code=32773, job_state=10,
                                      error_summ_desc='summary',
                                      error_desc='detail')
        text = str(errors.to_nova(job))
        for part in ('32773', '10', 'summary', 'detail'):
            self.assertIn(part, text)

    @ddt.data('Gerät nicht bereit', '设备未就绪', '100 % voll', '%(what)s')
    def test_any_text_survives(self, text):
        """L158, L162: no format error, no encoding error."""
        self.assertIn(text, str(errors.to_nova(os_win_exc.x_wmi(text))))
        self.assertIn(text, str(errors.to_nova(
            os_win_exc.HyperVException(text))))

    def test_error_without_text_names_its_class(self):
        self.assertIn('x_wmi', str(errors.to_nova(os_win_exc.x_wmi())))


class Instance:
    uuid = 'c0ffee00-0000-4000-8000-000000000001'


@errors.boundary
class Subject:

    def work(self, context, instance, *, failure=None):
        """Work."""
        if failure is not None:
            raise failure
        return instance

    def _inner(self):
        raise os_win_exc.x_wmi('inner')

    @staticmethod
    def plain(failure):
        raise failure


class Child(Subject):

    def other(self):
        raise os_win_exc.x_wmi('not wrapped')


@ddt.ddt
class BoundaryTest(unittest.TestCase):

    def test_result_passes(self):
        self.assertEqual('vm', Subject().work(None, 'vm'))

    def test_missing_vm_is_the_instance_s_uuid(self):
        with self.assertRaises(exception.InstanceNotFound) as caught:
            Subject().work(None, Instance(), failure=(
                os_win_exc.HyperVVMNotFoundException(vm_name='instance-1')))
        self.assertIn(Instance.uuid, str(caught.exception))
        self.assertIsInstance(caught.exception.__cause__,
                              os_win_exc.HyperVVMNotFoundException)

    @ddt.data(NotImplementedError(), ValueError(),
              exception.InstanceNotFound(instance_id='1'))
    def test_other_errors_pass_unchanged(self, failure):
        with self.assertRaises(type(failure)) as caught:
            Subject().work(None, None, failure=failure)
        self.assertIs(failure, caught.exception)

    def test_signature_and_name_are_kept(self):
        """L172: Nova compares signatures."""
        self.assertEqual(
            ['self', 'context', 'instance', 'failure'],
            list(inspect.signature(Subject.work).parameters))
        self.assertEqual(('work', 'Work.'),
                         (Subject.work.__name__, Subject.work.__doc__))

    def test_only_own_public_plain_methods_are_wrapped(self):
        with self.assertRaises(os_win_exc.x_wmi):
            Subject()._inner()
        with self.assertRaises(os_win_exc.x_wmi):
            Subject.plain(os_win_exc.x_wmi('static'))
        with self.assertRaises(os_win_exc.x_wmi):
            Child().other()
