"""Where answers come from: the engine, a standby, clouds that the owner lets in, and passages."""
