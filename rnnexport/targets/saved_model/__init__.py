"""TensorFlow SavedModel: one signature, `serving_default`, with constant weights."""
