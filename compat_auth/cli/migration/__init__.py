"""`compat-auth import`: the configuration of an Airflow 1.10 or 2.x as ours, with what becomes of each setting.

`sources` reads files, `webserver_config` reads Python without running it, `options` and `fab_options` know what each
setting becomes, `translation` collects it, `writing` makes the file, `difference` compares it.

Imports: `compat_auth.config`, `airflow2_config`, and the rest of `cli`.
"""
