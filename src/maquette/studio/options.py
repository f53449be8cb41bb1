"""What the studio is asked for."""

from __future__ import annotations

from pydantic import Field

from maquette.project.fields import Options

DEFAULT_PORT = 7711


class StudioOptions(Options):
    """Where the page is served, and to whom."""

    port: int = Field(DEFAULT_PORT, ge=0, le=65535, description="Port to listen at; 0: any free one.")
    host: str = Field(
        "127.0.0.1",
        description="Address to listen at. Any but this computer's own (loopback) asks every visitor for a token.",
    )
    browser: bool = Field(True, description="Open the page in the browser.")
