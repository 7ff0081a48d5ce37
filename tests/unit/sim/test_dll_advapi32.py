# SPDX-License-Identifier: Apache-2.0
"""Access control lists under os-win's real PathUtils.

Generic rights, inheritance and merging: Microsoft, "Generic Access
Rights", "ACE Inheritance Rules", SetEntriesInAcl; the output is icacls's.
"""

import ddt

from tests.unit.sim import onehost

ALL, EXECUTE, WRITE, READ = (
    0x10000000, 0x20000000, 0x40000000, 0x80000000)
GRANT, SET, DENY, REVOKE = 1, 2, 3, 4
OBJECTS, CONTAINERS = 1, 2
INHERITED = ['NT AUTHORITY\\SYSTEM:(I)(F)', 'BUILTIN\\Administrators:(I)(F)',
             'BUILTIN\\Users:(I)(RX)']


@ddt.ddt
class AclTest(onehost.OneHostCase):

    def setUp(self):
        super().setUp()
        self.path = self.win.get_pathutils()
        self.write('C:\\dir\\f')

    def lines(self, path):
        """What icacls shows, without what every file has."""
        text = self.host.port.call('program.icacls', arguments=[path])
        lines = [line.strip() for line in
                 text.removeprefix(path).split('\n\n')[0].splitlines()]
        return [line for line in lines if line not in INHERITED
                and not line.endswith(('(I)(OI)(CI)(F)', '(I)(OI)(CI)(RX)'))]

    def test_new_file_has_what_its_drive_gives(self):
        self.assertEqual([], self.lines('C:\\dir\\f'))
        text = self.host.port.call('program.icacls',
                                   arguments=['C:\\dir\\f'])
        self.assertIn('BUILTIN\\Administrators:(I)(F)', text)

    @ddt.data((ALL, 'Everyone:(F)'), (READ, 'Everyone:(R)'),
              (WRITE, 'Everyone:(W,Rc)'), (READ | EXECUTE, 'Everyone:(RX)'),
              (0x10000, 'Everyone:(DE)'),
              (0x1301BF, 'Everyone:(M)'))
    @ddt.unpack
    def test_rights_on_a_file(self, rights, line):
        self.path.add_acl_rule('C:\\dir\\f', 'Everyone', rights, GRANT)
        self.assertEqual([line], self.lines('C:\\dir\\f'))

    def test_folder_keeps_generic_rights_for_its_children(self):
        self.path.add_acl_rule('C:\\dir', 'Everyone', READ, GRANT,
                               OBJECTS | CONTAINERS)
        self.assertEqual(['Everyone:(R)', 'Everyone:(OI)(CI)(IO)(GR)'],
                         self.lines('C:\\dir'))
        self.assertEqual(['Everyone:(I)(R)'], self.lines('C:\\dir\\f'))
        self.write('C:\\dir\\new')
        self.assertEqual(['Everyone:(I)(R)'], self.lines('C:\\dir\\new'))

    @ddt.data((GRANT, ['Everyone:(R)', 'Everyone:(W,Rc)']),
              (SET, ['Everyone:(W,Rc)']), (REVOKE, []),
              (DENY, ['Everyone:(DENY)(W,Rc)', 'Everyone:(R)']))
    @ddt.unpack
    def test_second_entry(self, mode, lines):
        self.path.add_acl_rule('C:\\dir\\f', 'Everyone', READ, GRANT)
        self.path.add_acl_rule('C:\\dir\\f', 'EVERYONE', WRITE, mode)
        self.assertEqual([line.upper() for line in lines],
                         [line.upper() for line in self.lines('C:\\dir\\f')])

    def test_lists_are_copied(self):
        self.write('C:\\dir\\g')
        self.path.add_acl_rule('C:\\dir\\f', 'DOM\\user', ALL, GRANT)
        self.path.copy_acls('C:\\dir\\f', 'C:\\dir\\g')
        self.assertEqual(['DOM\\user:(F)'], self.lines('C:\\dir\\g'))

    def test_list_goes_with_the_file(self):
        self.path.add_acl_rule('C:\\dir\\f', 'Everyone', ALL, GRANT)
        self.files.rename('C:\\dir\\f', 'C:\\dir\\g')
        self.assertEqual(['Everyone:(F)'], self.lines('C:\\dir\\g'))
        self.files.remove('C:\\dir\\g')
        self.assertEqual({}, self.fabric.shares.acls)

    @ddt.data(('C:\\none', 'Everyone', 2), ('C:\\dir\\f', 'nobody', 1332))
    @ddt.unpack
    def test_refusal(self, path, trustee, code):
        exceptions = self.oswin_module('os_win.exceptions')
        with self.assertRaises(exceptions.Win32Exception) as caught:
            self.path.add_acl_rule(path, trustee, ALL, GRANT)
        self.assertEqual(code, caught.exception.error_code)

    def test_memory_is_given_back(self):
        self.path.add_acl_rule('C:\\dir\\f', 'Everyone', ALL, GRANT)
        library = self.oswin_module(
            'os_win.utils.winapi.libs.advapi32').lib_handle
        self.assertEqual({}, library._system._memory)
