# SPDX-License-Identifier: Apache-2.0
"""What is said of a description of hosts that makes no sense."""

import glob
import os
import re
import tempfile
import unittest

import ddt

from compute_hyperv.sim import fabric
from compute_hyperv.sim import host

_SOURCES = os.path.join(os.path.dirname(host.__file__), '**', '*.py')
_LOOKED_FOR = re.compile(r"extra\.get\(\s*'(\w+)'")


@ddt.ddt
class DescriptionTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def read(self, text):
        path = os.path.join(self.folder, 'fabric.yaml')
        with open(path, 'w', encoding='utf-8') as stream:
            stream.write(text)
        found = fabric.Fabric.from_yaml(path)
        self.addCleanup(found.close)
        return found

    @ddt.data(
        ('', 'list of hosts is missing'),
        ('hosts: []', 'list of hosts is missing'),
        ('hosts: [A]\nclok: real', 'clok is unknown; did you mean clock'),
        ('hosts: [A]\nscale: fast', "scale is no number: 'fast'"),
        ('hosts: [A]\nshares: [vms]', 'shares is no mapping'),
        ('hosts: [A]\nshares: {vms: 3}', 'vms is no share'),
        ('hosts: [A, 7]', 'a host is no mapping: 7'),
        ('hosts: [A, a]', 'A is there twice|a is there twice'),
        ('hosts: [{windows: 2022}]', 'no name'),
        ('hosts: [{name: A/../B}]', 'no computer can have'),
        ('hosts: [{name: A, cpu: 4}]', 'host A: cpu .* did you mean cpus'),
        ('hosts: [{name: A, cpus: 0}]', 'cpus is 0, .* at least 1'),
        ('hosts: [{name: A, cpus: 1.5}]', 'cpus is no whole number'),
        ('hosts: [{name: A, volumes: {CD: 9}}]', 'CD is no letter'),
        ('hosts: [{name: A, volumes: {C: big}}]', 'C is no number'),
        ('hosts: [{name: A, switches: demo}]', 'switches is no list'),
        ('hosts: [{name: A, switches: [{names: x}]}]', 'did you mean name'),
        ('hosts: [{name: A, switches: [{nic: x}]}]', 'switch has no name'),
        ('hosts: [{name: A, features: [dn]}]', 'did you mean dns'),
        ('hosts: [{name: A, quirks: {bla: 1}}]', 'bla is unknown; there'),
        ('hosts: [{name: A, extra: {live_migrtion: true}}]',
         'did you mean live_migration'))
    @ddt.unpack
    def test_refused(self, text, message):
        with self.assertRaisesRegex(ValueError, message):
            self.read(text)

    def test_accepted(self):
        found = self.read(
            'hosts: [A, {name: 7, windows: 2016, volumes: {c: 0.5},'
            ' switches: [x, {name: y, kind: private}]}]\n'
            'shares: {\'\\\\SRV\\vms\': 1}')
        self.assertEqual(['A', '7'], list(found.hosts))

    def test_further_facts_are_those_that_providers_look_for(self):
        looked_for = set()
        for path in glob.glob(_SOURCES, recursive=True):
            with open(path, encoding='utf-8') as stream:
                looked_for.update(_LOOKED_FOR.findall(stream.read()))
        self.assertEqual(host.EXTRA, looked_for)
