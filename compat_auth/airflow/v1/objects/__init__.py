"""Every object of `/api/v1`, as it is made of one of `/api/v2`."""
