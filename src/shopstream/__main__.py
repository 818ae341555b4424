"""The command `shopstream`, also as `python -m shopstream`."""

from shopstream.stopping import ended_by_ctrl_c


def main() -> None:
    """Run the command line of `sys.argv`; raises SystemExit with the exit code."""
    with ended_by_ctrl_c():
        from shopstream.cli import main as run  # takes a while, in which Ctrl-C may come

        run()


if __name__ == "__main__":
    main()
