"""What a monitor gives back: readings with their units and definitions, samples of them, and what was found in them."""
