"""All plots of a study, drawn into its folder: plots/<name>.png and .svg.

In: the tables, the settings of resolved.json and the reading of the test set. Out: one figure per entry of the table
below, or None where the study has nothing to show. Equal tables give equal bytes.
"""

from pathlib import Path

from netcore.files import make_folder, write_atomically
from netcore.question.hyperparameters import HYPERPARAMETERS
from netcore.records.folder import StudyFolder
from netcore.results.canvas import file_of, scale_of
from netcore.results.confirmation_plots import confirmation_plot, confusion_matrix
from netcore.results.net_plots import first_layer, training_plot
from netcore.results.search_plots import importance_plot, loss_curves, progress, slice_plot
from netcore.results.space_review import searched_importances
from netcore.results.tables import StudyTables
from netcore.results.test_set import reading_of


def draw_all(tables: StudyTables, folder: StudyFolder) -> dict[str, Path]:
    """Write every plot that the study has something to show in; remove the others. Return the PNG files by name.

    Raises:
        InputError: the folder has no settings.
        WorkError: the system refuses.
    """
    resolved = folder.resolved_settings()
    space, classes = resolved["settings"]["space"], resolved["data"]["class_names"]
    figures = {
        "loss_curves": loss_curves(tables),
        "best_trial": training_plot(tables),
        "first_layer": first_layer(tables),
        **{f"slice_{name}": slice_plot(tables, name, scale_of(space[name])) for name in HYPERPARAMETERS},
        "importance": importance_plot(searched_importances(tables, resolved["settings"]), tables),
        "progress": progress(tables),
        "confirmation": confirmation_plot(tables),
        "confusion": confusion_matrix(reading_of(tables, folder.test_result(), classes), tables.name),
    }
    make_folder(folder.plots)
    drawn = {}
    for name, figure in figures.items():
        for kind in ("svg", "png"):
            file = folder.plots / f"{name}.{kind}"
            if figure is None:
                file.unlink(missing_ok=True)  # drawn earlier, but no longer part of the study
            else:
                write_atomically(file, file_of(figure, kind))
                drawn[name] = file
    return drawn
