"""[data] in a study file: the data set. Each source has the keys it needs and no others.

The sections define the keys; `netcore.data` reads the files that they name. docs/data.md shows each source.
"""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Lt
from pydantic import Discriminator, Field, Tag, model_validator

from netcore.question.reading import Section, rule


def _form_of_part(value: object) -> str:
    """Return in which form a part is given; pydantic then checks it in this form alone."""
    return "rows" if isinstance(value, int) and not isinstance(value, bool) else "share"


Part = Annotated[
    Annotated[int, Ge(1), Tag("rows")] | Annotated[float, Gt(0), Lt(1), Tag("share")], Discriminator(_form_of_part)
]
"""A share of the rows (below 1), or a number of rows (a whole number)."""
Text = Annotated[str, Field(min_length=1)]


class _Split(Section):
    """The split, if the data set has an official test set."""

    validation: Part = 0.2
    """Share or number of the rows for validation; of the training rows, if the test set is official."""
    folds: Annotated[int, Ge(2)] | None = None
    """Number of folds of cross-validation, in place of `validation`."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Seed of the split, independent of the study's seed."""

    @model_validator(mode="after")
    def _one_way_to_validate(self) -> Self:
        if self.folds and self.validation != type(self).model_fields["validation"].default:
            raise rule(
                "`validation` and `folds` exclude one another",
                f"validation={self.validation}, folds={self.folds}",
                "leave one of them out",
            )
        return self


class _SplitWithTest(_Split):
    """The split, if the data set has no official test set."""

    test: Part = 0.2
    """Share or number of the rows of the test set, which only the final model reads."""

    @model_validator(mode="after")
    def _rows_are_left(self) -> Self:
        if not self.folds and self.validation < 1 and self.test < 1 and self.validation + self.test >= 1:
            raise rule("`validation + test < 1` must hold", f"validation={self.validation}, test={self.test}")
        return self


class _Standardized(Section):
    """The preparation of numeric features."""

    standardize: Literal["feature", "pixel-mean", "none"] = "feature"
    """How the features are scaled, fitted on the training part."""


class BundledDataSection(_SplitWithTest, _Standardized):
    """[data] of a data set that comes with scikit-learn."""

    source: Literal["digits", "iris", "wine", "breast_cancer"]
    """Which data set."""


class IdxDataSection(_Split, _Standardized):
    """[data] of MNIST and data sets in its format; the official test files are the test set."""

    source: Literal["idx"]
    """The IDX format."""
    path: Text
    """Folder with the four official files, .gz or plain."""


class Cifar10DataSection(_Split, _Standardized):
    """[data] of CIFAR-10; the official test batch is the test set."""

    source: Literal["cifar10"]
    """CIFAR-10."""
    path: Text
    """Folder cifar-10-batches-py or cifar-10-batches-bin."""
    train_limit: Annotated[int, Ge(1)] | None = None
    """Number of training rows to use, from the first on; all if left out."""


class ArraysDataSection(_SplitWithTest, _Standardized):
    """[data] of NumPy's own files."""

    source: Literal["arrays"]
    """An .npz, or a folder of .npy files."""
    path: Text
    """The .npz file, or the folder."""
    features: Text = "X"
    """Name of the array with the features."""
    labels: Text = "y"
    """Name of the array with the labels."""


class TableDataSection(_SplitWithTest):
    """[data] of a table of columns."""

    source: Literal["table"]
    """CSV or Parquet."""
    path: Text
    """The .csv or .parquet file."""
    target: Text
    """The column that holds the classes."""
    drop: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Columns to leave out."""

    @model_validator(mode="after")
    def _target_stays(self) -> Self:
        if self.target in self.drop:
            raise rule("the target cannot be in `drop`", repr(self.target), "take it out of `drop`")
        return self


DataSection = Annotated[
    BundledDataSection | IdxDataSection | Cifar10DataSection | ArraysDataSection | TableDataSection,
    Field(discriminator="source"),
]
"""[data]: the data set."""
