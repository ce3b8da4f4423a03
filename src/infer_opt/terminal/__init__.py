"""The terminal's screen of a monitor: graphs, meters, processes and findings, drawn with Textual."""
