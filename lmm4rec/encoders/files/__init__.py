"""An encoder's files: where they come from, how they are read, and what a folder of them holds."""
