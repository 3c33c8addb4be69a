"""Measures, such as the reply rate.

A measure has one definition. Its figures, intervals, records, CSV files and the sentence that
explains it are all derived from this definition.
"""
