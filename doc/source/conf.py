# SPDX-License-Identifier: Apache-2.0
"""Sphinx settings of the documentation."""

import os
import sys

sys.path.insert(0, os.path.abspath('../..'))

# Nova decides about eventlet before anything of it is imported, and os-win is
# found only through our loader: show-options below imports the options.
os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', '1')

extensions = ['openstackdocstheme', 'oslo_config.sphinxext']

project = 'compute-hyperv'
copyright = 'the authors of compute-hyperv'
html_theme = 'openstackdocs'
openstackdocs_auto_name = False
openstackdocs_repo_name = ''
openstackdocs_auto_version = False
version = release = ''
master_doc = 'index'
pygments_style = 'native'
add_module_names = False
