"""`compat-auth proxy-config`: whole configurations of front proxies, from the settings of the site.

`site` reads what all proxies need from the settings and options, and `lane_plan` which requests may go straight to the
upstream. Each proxy's module turns that into text, and `removal` has
the names of the headers that no caller may send.

Imports: what `cli` may import.
"""
