"""Reproduce published claims: train each arm with each seed, compare the arms, report an effect with an interval."""
