"""Zeiler & Fergus (2014), reproduced claim by claim."""

__version__ = "0.1.0"
MAIN_NET = "zfnet"  # the net under study; it keeps a snapshot of every epoch
