"""The bench suite: scenarios, contenders, rounds, and the page of results."""
