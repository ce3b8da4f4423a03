"""What `profile` gives back. Data alone: who measures, counts, diagnoses or draws lies above."""
