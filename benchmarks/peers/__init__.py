"""Other tools doing the same job on the same input, each a program of its own.

They run in an environment of their own (`environment`), so that the project depends on none.
"""
