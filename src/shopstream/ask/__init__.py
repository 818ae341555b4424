"""Asking the lake: SQL that only reads, in a box; exports; the live tables.

`box` opens the connection, `guard` judges each statement, `files` lets DuckDB read what the tables
are made of and nothing else. DuckDB is loaded only when something is asked.
"""
