"""A page on trainings and on how good models are: figures, charts, and the HTML around them."""
