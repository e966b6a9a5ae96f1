"""A trial as Ray runs it: how much of a card it is given and when, and what each result, loss and failure means."""
