"""What Airflow 2.11 accepts in a query or a body, and the words in which it refuses.

Imports: the vocabulary and the tools.
"""
