"""The business logic, one package per area of ARCHITECTURE.md; it uses neither FastAPI nor arq."""
