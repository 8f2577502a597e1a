"""Strategies as a person makes them at Unleash's console."""


def rollout(share="100", *constraints, stickiness="default", **fields):
    parameters = {"rollout": share, "stickiness": stickiness, "groupId": "g"}
    return {
        "name": "flexibleRollout",
        "parameters": parameters,
        "constraints": list(constraints),
        **fields,
    }


def users(operator, *values, name="userId"):
    return {"contextName": name, "operator": operator, "values": list(values)}


def variant(name, weight=1000, payload=None):
    made = {"name": name, "weight": weight, "weightType": "variable", "stickiness": "default"}
    return made | ({"payload": {"type": payload[0], "value": payload[1]}} if payload else {})
