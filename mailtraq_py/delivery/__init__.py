"""
The one door by which mail enters, and what a 250 promises.

settings, routing (pure: who gets it), journal (copies of everything), reports (delivery status notifications), accept
(IAccept: trace fields, one transaction).
"""
