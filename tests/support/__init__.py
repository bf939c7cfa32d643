"""What tests share: stand-ins, servers, peers and their starters."""
