"""Offline work on data and models: data sets, drawings, training, evaluation."""
