"""`python -m netcore` is the command `netcore`."""

from netcore.cli import main

if __name__ == "__main__":
    main()
