"""Forward-auth: pages where a front proxy asks for a decision, who may ask, and the tokens that it gets.

Imports: what `gateway` may import, and its modules.
"""
