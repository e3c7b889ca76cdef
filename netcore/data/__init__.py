"""FILES -> Dataset: what a study trains on, split, standardised, and identified by its digest."""

from netcore.data.dataset import Dataset
from netcore.data.preparation import prepare
from netcore.data.preprocessing import Preprocessing
from netcore.data.sources import SOURCES, load_dataset

__all__ = ["SOURCES", "Dataset", "Preprocessing", "load_dataset", "prepare"]
