"""What a run or a check reports while it works, besides records: findings, and the stages that it enters.

A run yields records, notices and stages; a check yields findings. `netcore.terminal` shows them; from Python, they are
values like any other. Nothing here prints.
"""

from dataclasses import dataclass

from netcore.errors import Problem


@dataclass(frozen=True)
class Notice:
    """Something that the user should know although nothing is wrong."""

    text: str

    def __str__(self) -> str:
        """Return the line that the user reads."""
        return self.text


Finding = Problem | Notice
"""What one check of a study found."""


@dataclass(frozen=True)
class Stage:
    """What the run does next, and how many records that gives."""

    text: str
    """`confirming`, `auditing`: what follows the search."""
    total: int
    """The number of records that the stage yields."""
