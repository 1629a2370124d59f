"""From raw files to a corpus and its pictures: what a catalogue is before any model sees it."""
