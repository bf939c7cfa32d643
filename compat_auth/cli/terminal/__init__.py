"""How a command shows much to a person: a table with a header, and progress of long work.

A program that reads the output gets neither: `table` prints plain lines there, and `progress` nothing.

Imports: no other room.
"""
