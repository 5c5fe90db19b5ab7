"""An answer in which the model looks for its sources itself: by tools, within a budget, with a trace of every step."""
