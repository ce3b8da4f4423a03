"""The process around a model: recording it with py-spy and memray, and making sense of what they wrote."""
