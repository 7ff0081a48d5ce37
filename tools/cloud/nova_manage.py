# SPDX-License-Identifier: Apache-2.0
"""What four runs of nova-manage do, in one process of the cloud's venv.

``nova_manage.py CONF tables`` makes the tables of the API's database and of
the cell's; ``nova_manage.py CONF cells CELL0_URL CELL1_URL BUS_URL`` enters
both cells. Each start of nova-manage alone takes two seconds.
"""

from __future__ import annotations

import sys

from nova.cmd import manage
from nova import config


def make_tables() -> None:
    """As "api_db sync" and "db sync --local_cell" do."""
    manage.ApiDbCommands().sync()
    manage.DbCommands().sync(local_cell=True)


def make_cells(cell0_url: str, cell1_url: str, bus_url: str) -> None:
    """As "cell_v2 map_cell0" and "cell_v2 create_cell" do.

    :raises SystemExit: Nova refuses one of them.
    """
    cells = manage.CellV2Commands()
    failed = (cells.map_cell0(cell0_url) or
              cells.create_cell('cell1', cell1_url, bus_url))
    if failed:
        sys.exit(f'Nova refuses the cells with code {failed}')


def main(argv: list[str]) -> None:
    """Do one of the two."""
    config.parse_args(['nova-manage', '--config-file', argv[1]])
    if argv[2] == 'tables':
        make_tables()
    else:
        make_cells(*argv[3:])


if __name__ == '__main__':
    main(sys.argv)
