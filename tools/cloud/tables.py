# SPDX-License-Identifier: Apache-2.0
"""Keep the tables of a new database, and make another of them at once.

``tables.py new|save|load PORT DATABASE=FILE...``, with the password in
``DEMO_PASSWORD``; runs in the cloud's venv. The services' migrations replay
years of history, most of a new cloud's time; their result for one version is
always the same.
"""

from __future__ import annotations

import gzip
import json
import os
import pathlib
import sys
from typing import Any

import pymysql


#: Fewer tables than any service has: its migrations did not run.
_FEWEST = 5


def connect(port: int, password: str) -> Any:
    """A connection to the cloud's server."""
    return pymysql.connect(host='127.0.0.1', port=port, user='demo',
                           password=password, charset='utf8mb4',
                           autocommit=True)


def new(cursor: Any, database: str) -> None:
    """An empty database in place of one that may be half done."""
    cursor.execute(f'DROP DATABASE IF EXISTS `{database}`')
    cursor.execute(f'CREATE DATABASE `{database}` CHARACTER SET utf8mb4')
    cursor.execute(f'USE `{database}`')


def save(cursor: Any, database: str, path: pathlib.Path) -> None:
    """Write the statements that make the tables with their rows.

    :raises ValueError: there is more than tables; nothing is written.
    """
    for kind, column in (('triggers', 'trigger'), ('views', 'table'),
                         ('routines', 'routine')):
        cursor.execute(f'SELECT count(*) FROM information_schema.{kind} '
                       f'WHERE {column}_schema = %s', (database,))
        if cursor.fetchone() != (0,):
            raise ValueError(f'{database} has {kind}')
    cursor.execute(f'USE `{database}`')
    cursor.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
    tables = cursor.fetchall()
    if len(tables) < _FEWEST:
        raise ValueError(f'{database} has {len(tables)} tables after its '
                         f'migrations')
    statements = []
    for table, _kind in tables:
        cursor.execute(f'SHOW CREATE TABLE `{table}`')
        statements.append(cursor.fetchone()[1])
        cursor.execute(f'SELECT * FROM `{table}`')
        for row in cursor.fetchall():
            marks = ', '.join(['%s'] * len(row))
            statements.append(cursor.mogrify(
                f'INSERT INTO `{table}` VALUES ({marks})', row))
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.with_suffix('.part')
    with gzip.open(begun, 'wt', encoding='ascii') as out:
        json.dump(statements, out)
    begun.replace(path)


def load(cursor: Any, database: str, path: pathlib.Path) -> None:
    """Make a database of what :func:`save` wrote."""
    with gzip.open(path, 'rt', encoding='ascii') as text:
        statements = json.load(text)
    new(cursor, database)
    cursor.execute('SET FOREIGN_KEY_CHECKS = 0')
    for statement in statements:
        cursor.execute(statement)


def main(argv: list[str]) -> None:
    """Do one of the three, for each database."""
    actions = {'save': save, 'load': load,
               'new': lambda cursor, database, _path: new(cursor, database)}
    act = actions[argv[1]]
    connection = connect(int(argv[2]), os.environ['DEMO_PASSWORD'])
    with connection, connection.cursor() as cursor:
        for pair in argv[3:]:
            database, _, path = pair.partition('=')
            act(cursor, database, pathlib.Path(path))


if __name__ == '__main__':
    main(sys.argv)
