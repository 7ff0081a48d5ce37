# SPDX-License-Identifier: Apache-2.0
"""Everything about the package is in setup.cfg; this file runs pbr."""

import os
import subprocess
import sys

import setuptools

HERE = os.path.dirname(os.path.abspath(__file__))


def git_knows_us():
    """Whether git can tell a version: it is there and this is a checkout."""
    try:
        found = subprocess.run(
            ['git', '-C', HERE, 'rev-parse', '--show-toplevel'],
            capture_output=True, text=True)
    except OSError:
        return False
    return (found.returncode == 0 and
            os.path.realpath(found.stdout.strip()) == os.path.realpath(HERE))


# pbr reads the version from an sdist's PKG-INFO or from git. A plain copy of
# the tree, or a machine without git, has neither and must work too.
if not (os.path.exists(os.path.join(HERE, 'PKG-INFO')) or git_knows_us()):
    os.environ.setdefault('PBR_VERSION', '0.0.1')

# `setup.py develop` (pip before 25.3 without --use-pep517) only puts the tree
# on sys.path. Nova would not find nova.virt.compute_hyperv there.
if 'develop' in sys.argv[1:]:
    sys.exit('An editable install needs "pip install --use-pep517 -e .": '
             'without it the alias packages below nova.virt are missing.')

setuptools.setup(setup_requires=['pbr>=6.0.0'], pbr=True)
