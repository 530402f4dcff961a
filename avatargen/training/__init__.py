"""How the shipped prior and judges are trained and measured."""
