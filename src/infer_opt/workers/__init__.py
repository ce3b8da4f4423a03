"""One fresh process per session, and everything that keeps one trial from harming another or the tuner."""
