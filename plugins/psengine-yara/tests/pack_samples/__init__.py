"""For every rule of the pack a sample that it must match and a benign look-alike that it must not.

All of it is inert: hosts are under ``example.invalid``, payloads are filler, and words that scanners look for are split
by a mark that :func:`making.text` removes, so that these files trip none.
"""
