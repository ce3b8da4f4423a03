"""What is out of the ordinary in a series of samples: physical rules, shifts of level, trends and where they lead."""
