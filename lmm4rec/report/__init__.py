"""The report: what the runs of one dataset say, in one HTML file."""
