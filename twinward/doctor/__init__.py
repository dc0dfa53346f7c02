"""What the doctors of all roles share: findings, their table, and checks of any machine."""
