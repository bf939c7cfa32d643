"""Our own pages for browsers, which work without JavaScript."""
