"""Passwords: hashes in every format of Airflow and Apache, verified in a pool of threads; changes of the htpasswd file.

`checker` asks the directories in turn, `hashes` compares a password with one hash, `hash_pool` bounds the work. The public
names are in `compat_auth.passwords`.

Imports: what `authn` may import.
"""
