"""TensorFlow SavedModel: `serving_default`, and where there are states `step` and `initial_state`; constant weights."""
