"""Where passwords and users live, one file each."""
