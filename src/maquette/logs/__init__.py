"""Logs and metrics of any trainer: what they show, and which failure they end in."""
