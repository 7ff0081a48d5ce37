# SPDX-License-Identifier: Apache-2.0
"""The examples in etc/ must be right."""

import contextlib
import io
import os
import tempfile
import unittest

from nova import conf as nova_conf
from oslo_config import cfg
from oslo_config import generator

from compute_hyperv import conf
from compute_hyperv.sim import fabric
from tests.unit import source

ETC = source.ROOT / 'etc'


class FabricExampleTest(unittest.TestCase):

    def test_example_describes_hosts_that_can_be_made(self):
        with tempfile.TemporaryDirectory() as folder:
            hosts = fabric.Fabric.from_yaml(
                str(ETC / 'fabric.yaml'), os.path.join(folder, 'fabric'))
            self.addCleanup(hosts.close)
            self.assertEqual(['HV1', 'HV2'], list(hosts.hosts))
            self.assertEqual(['C', 'D'],
                             hosts.host('HV1').storage.volumes())
            self.assertEqual('2019', hosts.host('HV2').spec.windows)


class SampleConfigTest(unittest.TestCase):

    def _sample(self):
        options = cfg.ConfigOpts()
        generator.register_cli_opts(options)
        config_file = str(ETC / 'compute-hyperv-config-generator.conf')
        with tempfile.TemporaryDirectory() as folder:
            output = os.path.join(folder, 'sample')
            with contextlib.redirect_stderr(io.StringIO()):
                options(['--config-file', config_file,
                         '--output-file', output])
                generator.generate(options)
            with open(output, encoding='utf-8') as sample:
                return sample.read()

    def test_sample_has_every_option_with_its_help(self):
        sample = self._sample()
        for group, options in conf.list_opts():
            self.assertIn(f'[{group.name}]', sample)
            for option in options:
                self.assertIn(f'#{option.dest} =', sample)

    def test_every_option_is_explained_in_sentences(self):
        self.assertEqual([], [
            option.dest for _, options in conf.list_opts()
            for option in options
            if not (option.help or '').rstrip().endswith('.')
            or len(option.help) < 30])


class EffectTest(unittest.TestCase):

    def test_option_that_nothing_reads_says_so(self):
        wiring = ''.join(
            path.read_text(encoding='utf-8') for path
            in (source.ROOT / source.PACKAGE).glob('*wiring.py'))
        unread = {f'{group.name}.{option.dest}'
                  for group, options in conf.list_opts()
                  for option in options
                  if f'CONF.{group.name}.{option.dest}' not in wiring}
        honest = {f'{group.name}.{option.dest}'
                  for group, options in conf.list_opts()
                  for option in options
                  if option.help.startswith('Has no effect in this release')}
        self.assertEqual(unread, honest)


class NovaExampleTest(unittest.TestCase):

    def test_example_names_options_that_exist(self):
        sections = {}
        cfg.ConfigParser(str(ETC / 'nova-compute.conf.example'),
                         sections).parse()
        known = nova_conf.CONF
        unknown = [
            f'[{group}] {name}' for group, options in sections.items()
            for name in options
            if name not in (known if group == 'DEFAULT' else known[group])]
        self.assertEqual([], unknown)


if __name__ == '__main__':
    unittest.main()
