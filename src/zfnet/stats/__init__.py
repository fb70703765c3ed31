"""Estimates with their intervals, and the tests behind them. Needs no torch."""
