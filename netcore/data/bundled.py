"""Data sets that come with scikit-learn: small, always there, and never downloaded.

Each is a function without arguments that returns `RawData`; `BUNDLED` lists them with their origin.
"""

from functools import partial

import numpy as np

from netcore.data.raw import RawData


def _load(name: str, image_shape: tuple[int, int, int] | None = None) -> RawData:
    """Return scikit-learn's data set of this name."""
    from sklearn import datasets  # noqa: PLC0415  # heavy: only where data are loaded

    bunch = getattr(datasets, f"load_{name}")()
    return RawData(
        name=name,
        X=bunch.data,
        y=bunch.target.astype(np.intp),
        class_names=tuple(str(label) for label in bunch.target_names),
        feature_names=tuple(str(feature) for feature in bunch.feature_names),
        image_shape=image_shape,
    )


BUNDLED = {
    # 1,797 handwritten digits, 8 x 8 pixels of 17 grey levels, 10 classes (E. Alpaydin and C. Kaynak, UCI, 1998)
    "digits": partial(_load, "digits", (8, 8, 1)),
    # 150 irises, 4 measurements in centimetres, 3 species (R. A. Fisher, 1936): the data set of the course notes
    "iris": partial(_load, "iris"),
    # 178 wines of three growers, 13 chemical measurements (S. Aeberhard and M. Forina, UCI, 1992)
    "wine": partial(_load, "wine"),
    # 569 cell samples, 30 measurements of their nuclei, malignant or benign (W. Wolberg et al., UCI, 1995)
    "breast_cancer": partial(_load, "breast_cancer"),
}
"""By name: the function that loads the data set."""
