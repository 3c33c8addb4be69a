"""Erasure: a person's data goes, what was decided and counted stays, and the number is barred."""
