"""Moves a source's parts into a directory, once for every scheme: concurrency, verification, resume, publish."""

from kitcar.deliver.delivery import deliver
from kitcar.deliver.kit import unpack
from kitcar.deliver.options import DeliverOptions, Limits, PartReport, Report, patience
from kitcar.files.draft import Existing

__all__ = ["DeliverOptions", "Existing", "Limits", "PartReport", "Report", "deliver", "patience", "unpack"]
