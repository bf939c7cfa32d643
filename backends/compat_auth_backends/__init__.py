"""The backends that come with compat_auth, one file each."""
