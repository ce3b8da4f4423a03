"""What the trials and records of a tuning belong to."""

STOCK, PROFILE, PRECISION = "stock", "profile", "precision"
SCREEN, RACE, CONFIRM = "screen", "race", "confirm"
