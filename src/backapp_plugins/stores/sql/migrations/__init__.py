"""Migrations, run by alembic from inside the installed package."""
