"""Connections of clients: uvicorn's protocol, made strict and bounded in number and time.

Imports: `http`, the vocabulary and the tools.
"""
