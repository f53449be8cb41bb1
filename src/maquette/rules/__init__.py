"""The rules, a file per group, and what they share."""
