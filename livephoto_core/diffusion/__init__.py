"""Noise schedules, DDIM inversion and the prior mix."""
