"""The rules that :func:`art_denoise.testing.check_defence` holds preprocessors to; they know none of our defences.

A rule is a function that is given a preprocessor on trial and yields what breaks the rule, each with its remedy.
"""
