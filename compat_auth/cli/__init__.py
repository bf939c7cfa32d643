"""The command `compat-auth`: thin, every verb in a module of its own."""
