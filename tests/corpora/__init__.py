"""Attack corpora as plain JSON, and a runner that sends them to any server. See README.md."""
