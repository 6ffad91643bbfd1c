"""What is tried for minutes or hours, not before every change: `make nightly` or `python -m nightly`.

A part is a module of this folder with a function `run(quick: bool) -> Part`, named in `frame.PARTS`.
"""
