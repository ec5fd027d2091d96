"""Numbers of the pieces that are no text."""

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
