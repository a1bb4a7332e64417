"""Right models of all kinds through every target: is one of them called wrong?"""
