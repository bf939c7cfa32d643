"""`compat-auth completion`, `docs`, `man` and `--version`: what the program says about itself.

`man_page` writes the tree of commands as a manual page, `pages` answers with the built documentation, `build` knows the
git revision. The pages themselves are put into the folder `pages` when a release is built (.ci/release.py).

Imports: `gateway.server`, `concurrency`, `errors`, and the rest of `cli`.
"""
