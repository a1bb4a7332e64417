"""Scripts that measure rnnexport against its peers. They print; no test asserts a time."""

import os

import rnnexport.source  # noqa: F401  sets the backend of Keras, which has to be done before the scripts import it

# TensorFlow reads this when it is imported, which the scripts do before they can lead its chatter away.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
