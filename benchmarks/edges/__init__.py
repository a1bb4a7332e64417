"""What artifacts give at the edges of operators, beside what TensorFlow gives."""
