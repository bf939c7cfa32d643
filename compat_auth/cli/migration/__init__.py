"""`compat-auth import`: the configuration of an Airflow 1.10 or 2.x as ours, with what becomes of each setting.

`sources` reads files, `helm` and `compose` what is in YAML, `variables` those of the environment, `webserver_config` Python
without running it; `options`, `backend_list` and `fab_options` know what each setting becomes, `translation` collects it, `writing` makes the file.

Imports: `compat_auth.config`, `airflow2_config`, and the rest of `cli`.
"""
