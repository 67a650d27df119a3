"""``headrace trace``: one request, recorded: who waits for the data, and who copies them."""
