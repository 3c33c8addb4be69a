"""Run the command line with ``python -m crm_api.cli``, which does the same as ``crm-api``."""

from crm_api.cli import main

if __name__ == "__main__":
    main()
