"""What must outlive a process: SQL tables, their migrations, and one module for each thing that is kept."""
