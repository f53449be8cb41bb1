"""Masks made for pictures: of the subject, of faces, of what is opaque; and shown over them."""
