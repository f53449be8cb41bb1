"""What the words of a caption mean: parts, appearance, sides, views, colours."""
