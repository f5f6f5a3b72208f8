"""Who used what, and how long it took; never what was said."""
