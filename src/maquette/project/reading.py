"""Names that moved to `maquette.reading`."""

from maquette.reading import FileKind as FileKind
from maquette.reading import read_table as read_table
from maquette.reading import read_yaml as read_yaml
from maquette.reading import shown as shown
