# SPDX-License-Identifier: Apache-2.0
"""Sphinx settings of the documentation."""

import os
import sys

sys.path.insert(0, os.path.abspath('../..'))

# Nova decides about eventlet before anything of it is imported, and os-win is
# found only through our loader: show-options below imports the options.
os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', '1')

extensions = ['oslo_config.sphinxext']

project = 'compute-hyperv'
copyright = 'the authors of compute-hyperv'
html_theme = 'alabaster'
version = release = ''
master_doc = 'index'
html_theme_options = {'page_width': '70em'}
add_module_names = False
