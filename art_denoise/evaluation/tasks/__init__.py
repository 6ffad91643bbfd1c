"""One file for each kind of work: train, craft, attack, fit, score, check. Each says what it is made of."""
