"""The demo marketplace: invented products, drawn and listed as sellers do, to try the matcher without any data."""

from shared.demo.market import make_demo

__all__ = ["make_demo"]
