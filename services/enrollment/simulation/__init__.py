"""Sequences played forward on a world in memory: dry run, forecast, backtest. Pure, and without rules of its own.

Every decision is made by ``domain.handling.handle``; here time passes, and the outside (dispatchers, leads, people)
answers.
"""
