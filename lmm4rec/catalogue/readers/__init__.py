"""Other people's files, by family, into plain tables of text; what a text means is said here too.

`recognise` finds out how a file is laid out, `read_rows` reads columns of such files as text, and
`times`, `texts`, `lists`, `links` and `ids` turn texts into what they stand for.
"""
