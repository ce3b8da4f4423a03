"""What the trials and records of a tuning belong to."""

STOCK, PRECISION, SCREEN, RACE, CONFIRM = "stock", "precision", "screen", "race", "confirm"
