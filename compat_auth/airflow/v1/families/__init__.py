"""The operations of `/api/v1`, family by family."""
