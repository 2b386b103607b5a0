"""Records what many clients do and see while servers fail, and looks for a wrong answer."""
