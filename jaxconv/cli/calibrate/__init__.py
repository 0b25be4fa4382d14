"""Calibrate the engine's estimates: sample layers, measure every method, fit the model."""
