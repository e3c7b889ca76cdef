"""What a run reports while it works, besides records: notices, and the stages that it enters."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """Something that the user should know although the run continues."""

    text: str


@dataclass(frozen=True)
class Stage:
    """What the run does next, and how many records that gives."""

    text: str
    total: int
