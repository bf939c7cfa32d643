"""The configuration of HAProxy.

`configuration` writes the file that HAProxy is started with. `lane` writes what it needs to send requests straight to the
upstream: more lines for that file, a Lua program, and the file of a map.

Imports: what `cli` may import.
"""
