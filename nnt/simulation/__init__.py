"""A stand-alone simulation: tracks -> the inputs of a chain, no BASF2 needed."""

from nnt.simulation.parameters import Simulation
from nnt.simulation.simulate import check_choice, simulate, simulate_with

__all__ = ["Simulation", "check_choice", "simulate", "simulate_with"]
