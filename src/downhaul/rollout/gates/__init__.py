"""What else must be so before exposure rises: people, lists, times and services of others.

A gate is the last condition of a raise, and of nothing else: no pause, kill, lowering or way back
asks for one. What a plan says of them is :mod:`.model`, what is known of them :mod:`.facts`, and
whether each is open one pure function, :func:`downhaul.rollout.gates.standing.gates_at`.
"""
