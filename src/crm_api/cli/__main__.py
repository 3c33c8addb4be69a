"""``python -m crm_api.cli``: the same as ``crm-api``."""

from crm_api.cli import main

if __name__ == "__main__":
    main()
