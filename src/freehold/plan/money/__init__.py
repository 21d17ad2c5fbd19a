"""The money: setups, what each costs over all draws, break-evens, and what would change the advice."""
