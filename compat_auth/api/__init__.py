"""JSON endpoints of our own, as Flask blueprints."""
