"""Results as one HTML file that opens from disk and calls nobody: see `pages`."""
