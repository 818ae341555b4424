"""`python -m shopstream` is the command `shopstream`."""

from shopstream.cli import main

if __name__ == "__main__":
    main()
