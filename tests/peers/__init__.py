"""Real peers for the tests: started on first use, stopped by their own process id."""
