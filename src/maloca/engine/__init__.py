"""The inference service: text layer, scheduler, model store and model workers."""
