"""From a file or a live model to a frozen graph and its truth. The only place that imports keras and tf_keras."""
