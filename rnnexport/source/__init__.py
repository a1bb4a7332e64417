"""From a file or a live model to a frozen graph and its truth. The only place that imports keras and tf_keras."""

import os
import sys

if "keras" not in sys.modules:
    # The backend whose graphs are exported, whatever trained the model. TensorFlow may import Keras before we do.
    os.environ["KERAS_BACKEND"] = "tensorflow"
