"""Measuring videos: the paper's metrics, and what a machine can check beyond them."""
