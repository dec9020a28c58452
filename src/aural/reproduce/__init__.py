"""Reproduce published claims: train each arm with each seed, compare the arms, and report an effect with an interval."""
