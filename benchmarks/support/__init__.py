"""Every layer of Keras and every function of `keras.ops` through every target: what converts?"""
