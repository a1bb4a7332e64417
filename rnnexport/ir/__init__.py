"""The program in the middle: a converted graph as functions in terms, that every writer and every lowering reads."""
