"""The program whose commands the page of the commands shows: the directive takes a program, not what makes one."""

from art_denoise.cli.program import app

program = app()
