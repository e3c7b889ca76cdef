"""What a run or a check reports while it works, besides records: findings, and the stages that it enters."""

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
    total: int
