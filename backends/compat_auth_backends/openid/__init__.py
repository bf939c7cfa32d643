"""What the backends for OpenID Connect share."""
