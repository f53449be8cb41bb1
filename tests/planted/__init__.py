"""The planted-fault suite: clean material, one copy per fault with exactly that fault, and close calls that stay silent."""
