"""The demo marketplace: invented products, drawn and listed as sellers do, to run the matcher on without any data."""

from shared.demo.market import make_demo

__all__ = ["make_demo"]
