"""The commands of `netcore`: one module for each small family, loaded when one of its commands runs."""

from netcore.cli.app import commands, main

__all__ = ["commands", "main"]
