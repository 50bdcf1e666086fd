"""A stand-alone simulation: tracks -> the 27 inputs, no BASF2 needed."""

from nnt.simulation.parameters import Simulation
from nnt.simulation.simulate import simulate, simulate_with

__all__ = ["Simulation", "simulate", "simulate_with"]
