"""The provider's stop list: numbers that it refuses because the person opted out there."""
