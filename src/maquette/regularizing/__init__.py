"""Pictures of the class, so that a trained subject stays in its trigger word."""
