"""Every interleaving of two controllers, their store and a vendor: what can become of a flag.

``automaton`` turns the real controller into a function from what it was answered to what it asks
next; ``worlds`` says what the store, the vendor and the network may do between two questions;
``search`` goes through all of it.
"""
