"""What was measured, kept: the only SQL of infer-opt.

`infer_opt.store.database.Store` opens the database, and loads SQLAlchemy when it does.
"""
