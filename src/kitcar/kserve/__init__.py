"""KServe's control logic as pure functions, and running an InferenceService on this machine."""
