"""What is measured of a rollout: where counts come from, and what they prove.

A source returns counts for a half-open window of time, never a rate; evidence adds them up; a judge
says of each check whether it regressed, is clean, or is undecided. The judge is pure.
"""
