"""The harness: runs experiments. Plug-ins import the public names from `alignboard`."""

__version__ = "0.1.0"
