"""Pictures and captions: found, checked, repeated, bucketed, prepared and cached."""
