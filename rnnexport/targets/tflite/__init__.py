"""TFLite: unrolled, built-in operators only, run by LiteRT."""
