"""One file a family of layouts: the names of a file's columns, and the columns as text."""
