"""`compat-auth settings` and `compat-auth init`: what can be set, an example file, and the first file of a site.

`described` says everything about a setting; the reference in the documentation is made from it, too.

Imports: `airflow` and below, and the rest of `cli`.
"""
