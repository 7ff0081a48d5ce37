# SPDX-License-Identifier: Apache-2.0
"""Sphinx settings of the documentation."""

import os
import runpy
import sys

from docutils import nodes
from docutils.parsers import rst
from docutils import statemachine

sys.path.insert(0, os.path.abspath('../..'))

# Nova decides about eventlet before anything of it is imported, and os-win is
# found only through our loader: show-options below imports the options.
os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', '1')

_LESSONS = os.path.join(os.path.dirname(__file__), '../../tools/lessons')

extensions = ['oslo_config.sphinxext']

project = 'compute-hyperv'
copyright = 'the authors of compute-hyperv'
html_theme = 'alabaster'
version = release = ''
master_doc = 'index'
html_theme_options = {'page_width': '70em'}
add_module_names = False


class Lessons(rst.Directive):
    """The table of field lessons and their tests."""

    def run(self):
        table = runpy.run_path(_LESSONS)['table']()
        lines = statemachine.StringList(table.splitlines(), 'tools/lessons')
        holder = nodes.Element()
        self.state.nested_parse(lines, self.content_offset, holder)
        return holder.children


def setup(app):
    app.add_directive('lessons', Lessons)
