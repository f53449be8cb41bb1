"""Where captions come from: one class a source (`source.py`), opened by its name (`opening.py`)."""
