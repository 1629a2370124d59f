"""The pictures of a catalogue: packed, told whose they are, fetched, and stored small.

`archive` packs what lies on this machine, `matching` and `listed` say which picture is whose,
`links` fetches one, `reencoding` makes it small, `collection` does so for a whole corpus, and
`images` is the format of what comes out.
"""
