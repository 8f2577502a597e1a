"""What providers share that are made of a vendor's SDK and its REST API.

``life`` runs the SDK, ``managing`` has the verbs, ``rest`` asks the API, whose answers have
``shapes``. For providers, ours and third parties'; nothing else of Downhaul imports it.
"""
