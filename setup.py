# SPDX-License-Identifier: Apache-2.0
"""Everything about the package is in setup.cfg; this file runs pbr."""

import os
import sys

import setuptools

HERE = os.path.dirname(os.path.abspath(__file__))

# pbr reads the version from git tags or from an sdist's PKG-INFO. A plain copy
# of the tree has neither, and must be installable too.
if not any(os.path.exists(os.path.join(HERE, name))
           for name in ('.git', 'PKG-INFO')):
    os.environ.setdefault('PBR_VERSION', '0.0.1')

# `setup.py develop` (pip before 25.3 without --use-pep517) only puts the tree
# on sys.path. Nova would not find nova.virt.compute_hyperv there.
if 'develop' in sys.argv[1:]:
    sys.exit('An editable install needs "pip install --use-pep517 -e .": '
             'without it the alias packages below nova.virt are missing.')

setuptools.setup(setup_requires=['pbr>=6.0.0'], pbr=True)
