"""Curation: from a heap of pictures to those worth training on; nothing is ever deleted."""
