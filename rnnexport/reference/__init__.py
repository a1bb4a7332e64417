"""What the truth is: a source run in eager Keras and in float64, and how certain each is."""
