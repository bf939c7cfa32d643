"""`compat-auth migrate`: finds calls of the old API and old logins in scripts, and shows a patch for each.

`old_paths` knows the new address of an old one, `shell_logins` and `python_logins` replace a login where it is certain who
gets it, `marks` finds all other logins, `scan` goes through files and folders.

Imports: `airflow.v1`, and the rest of `cli`.
"""
