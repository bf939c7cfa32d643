"""Storage that outlives a process: SQL tables, migrations, backup and restore, Redis.

A new table: its columns and constraints go to `schema`, the same to a new module of `migrations.versions`, and what reads and
writes its rows to a module of `tables`.

Imports: the vocabulary, `config` and the tools.
"""
