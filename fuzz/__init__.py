"""Damaged and hostile files by the thousand, for every reader: see README.md in this folder."""
