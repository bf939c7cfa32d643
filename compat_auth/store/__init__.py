"""Storage that outlives a process: SQL tables, migrations, backup and restore, Redis.

Imports: the vocabulary, `config` and the tools.
"""
