"""`python -m zfnet`: the same as the `zfnet` command."""

from zfnet.cli import main

if __name__ == "__main__":
    main()
